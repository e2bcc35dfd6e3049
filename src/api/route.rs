//! Method and path → one enum.

mod console;

use http::Method;

pub use console::Console;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/api/v2/event`
    Event,
    /// `/api/v2/callback`
    Callback,
    /// `/api/v2/webhook`
    Webhook,
    /// `/api/v2/callback-links`
    CallbackLinks,
    /// `/api/v2/callback/link`
    CallbackLink,
    /// `/api/v2/callbacks/{run}`
    Callbacks {
        /// The path segment, still percent-encoded.
        run: String,
    },
    /// `/api/v2/deliveries`
    Deliveries,
    /// `/api/v2/deliveries/{id}`
    Delivery {
        /// The path segment.
        id: String,
    },
    /// `/api/v2/deliveries/{id}/redeliver`
    Redeliver {
        /// The path segment.
        id: String,
    },
    /// `/api/v2/deliveries/drain`
    Drain,
    /// `/console` and what is below it.
    Console(Console),
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
}

impl Route {
    /// The route of a path.
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "/api/v2/event" => Some(Self::Event),
            "/api/v2/callback" => Some(Self::Callback),
            "/api/v2/webhook" => Some(Self::Webhook),
            "/api/v2/callback-links" => Some(Self::CallbackLinks),
            "/api/v2/callback/link" => Some(Self::CallbackLink),
            "/healthz" => Some(Self::Health),
            "/readyz" => Some(Self::Ready),
            "/api/v2/deliveries" => Some(Self::Deliveries),
            "/api/v2/deliveries/drain" => Some(Self::Drain),
            _ => {
                if let Some(rest) = path.strip_prefix("/console") {
                    return Console::of(rest).map(Self::Console);
                }
                let segments: Vec<_> = path.strip_prefix("/api/v2/")?.split('/').collect();
                match *segments.as_slice() {
                    ["callbacks", run] if !run.is_empty() => Some(Self::Callbacks { run: run.to_owned() }),
                    ["deliveries", id] if !id.is_empty() => Some(Self::Delivery { id: id.to_owned() }),
                    ["deliveries", id, "redeliver"] if !id.is_empty() => Some(Self::Redeliver { id: id.to_owned() }),
                    _ => None,
                }
            }
        }
    }

    /// Its methods, as `Allow` lists them.
    pub fn methods(&self) -> &'static str {
        match self {
            Self::Event | Self::Webhook | Self::CallbackLinks | Self::Redeliver { .. } | Self::Drain => "POST",
            Self::Callback | Self::CallbackLink => "GET, HEAD, POST",
            Self::Callbacks { .. } | Self::Deliveries | Self::Health | Self::Ready => "GET, HEAD",
            Self::Delivery { .. } => "DELETE, GET, HEAD",
            Self::Console(place) => place.methods(),
        }
    }

    /// Does it have this method?
    pub fn allows(&self, method: &Method) -> bool {
        self.methods().split(", ").any(|allowed| allowed == method.as_str())
    }

    /// Its path for the log, with the names of its parameters instead of their values.
    pub fn template(&self) -> &'static str {
        match self {
            Self::Event => "/api/v2/event",
            Self::Callback => "/api/v2/callback",
            Self::Webhook => "/api/v2/webhook",
            Self::CallbackLinks => "/api/v2/callback-links",
            Self::CallbackLink => "/api/v2/callback/link",
            Self::Callbacks { .. } => "/api/v2/callbacks/{run}",
            Self::Deliveries => "/api/v2/deliveries",
            Self::Delivery { .. } => "/api/v2/deliveries/{id}",
            Self::Redeliver { .. } => "/api/v2/deliveries/{id}/redeliver",
            Self::Drain => "/api/v2/deliveries/drain",
            Self::Console(place) => place.template(),
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
        }
    }
}
