//! Method and path → one enum.

use http::Method;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/api/v2/event`
    Event,
    /// `/api/v2/callback`
    Callback,
    /// `/api/v2/webhook`
    Webhook,
    /// `/api/v2/callbacks/{run}`
    Callbacks {
        /// The path segment, still percent-encoded.
        run: String,
    },
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
            "/healthz" => Some(Self::Health),
            "/readyz" => Some(Self::Ready),
            _ => {
                let run = path.strip_prefix("/api/v2/callbacks/")?;
                (!run.is_empty() && !run.contains('/')).then(|| Self::Callbacks { run: run.to_owned() })
            }
        }
    }

    /// Its methods, as `Allow` lists them.
    pub fn methods(&self) -> &'static str {
        match self {
            Self::Event | Self::Webhook => "POST",
            Self::Callback => "GET, HEAD, POST",
            Self::Callbacks { .. } | Self::Health | Self::Ready => "GET, HEAD",
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
            Self::Callbacks { .. } => "/api/v2/callbacks/{run}",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
        }
    }
}
