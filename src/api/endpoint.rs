//! The endpoints: one table of paths and methods.

use http::Method;

macro_rules! endpoints {
    ($($(#[$doc:meta])* $endpoint:ident $(($param:ident))? $template:literal $methods:literal;)*) => {
        /// An endpoint of the API. A parameter is one path segment, still percent-encoded.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Endpoint {
            $(
                $(#[$doc])*
                #[doc = concat!(" `", $template, "`")]
                $endpoint $({
                    #[doc = concat!("The segment `{", stringify!($param), "}`.")]
                    $param: String,
                })?,
            )*
        }

        impl Endpoint {
            /// The path templates of all endpoints, with their methods in the format of the `Allow` header.
            pub const ALL: &[(&str, &str)] = &[$(($template, $methods),)*];

            /// Returns the endpoint at a path.
            pub fn of(path: &str) -> Option<Self> {
                $(
                    if let Some(_segment) = matched(path, $template) {
                        return Some(Self::$endpoint $({ $param: _segment.to_owned() })?);
                    }
                )*
                None
            }

            /// Returns the path template, which the log contains instead of the path. A template has the names of
            /// parameters, but not their values.
            pub fn template(&self) -> &'static str {
                match self { $(Self::$endpoint { .. } => $template,)* }
            }

            /// Returns the methods in the format of the `Allow` header.
            pub fn methods(&self) -> &'static str {
                match self { $(Self::$endpoint { .. } => $methods,)* }
            }
        }
    };
}

endpoints! {
    Event "/api/v2/event" "POST";
    Callback "/api/v2/callback" "GET, HEAD, POST";
    Webhook "/api/v2/webhook" "GET, HEAD, POST";
    CallbackLinks "/api/v2/callback-links" "POST";
    CallbackLink "/api/v2/callback/link" "GET, HEAD, POST";
    Callbacks(run) "/api/v2/callbacks/{run}" "GET, HEAD";
    Deliveries "/api/v2/deliveries" "GET, HEAD";
    // These must precede `Delivery`, whose template matches their paths as well.
    Drain "/api/v2/deliveries/drain" "POST";
    Doubt "/api/v2/deliveries/doubt" "POST";
    Replay "/api/v2/deliveries/replay" "POST";
    RedeliverAll "/api/v2/deliveries/redeliver" "POST";
    DeleteAll "/api/v2/deliveries/delete" "POST";
    Delivery(id) "/api/v2/deliveries/{id}" "DELETE, GET, HEAD";
    Redeliver(id) "/api/v2/deliveries/{id}/redeliver" "POST";
    Move "/api/v2/move" "POST";
    Preflight "/api/v2/preflight" "GET, HEAD";
    Sources "/api/v2/sources" "GET, HEAD";
    Console "/console" "GET, HEAD";
    ConsoleDrain "/console/drain" "POST";
    ConsoleDeliveries "/console/deliveries" "GET, HEAD";
    // These must precede `ConsoleDelivery`.
    ConsoleRedeliverAll "/console/deliveries/redeliver" "GET, HEAD, POST";
    ConsoleDeleteAll "/console/deliveries/delete" "GET, HEAD, POST";
    ConsoleDelivery(id) "/console/deliveries/{id}" "GET, HEAD";
    ConsoleRedeliver(id) "/console/deliveries/{id}/redeliver" "POST";
    ConsoleDelete(id) "/console/deliveries/{id}/delete" "GET, HEAD, POST";
    ConsoleReplay "/console/replay" "GET, HEAD, POST";
    ConsoleCallbacks "/console/callbacks" "GET, HEAD";
    ConsolePreflight "/console/preflight" "GET, HEAD";
    ConsoleSources "/console/sources" "GET, HEAD";
    Metrics "/metrics" "GET, HEAD";
    OpenApi "/openapi.json" "GET, HEAD";
    Health "/healthz" "GET, HEAD";
    Ready "/readyz" "GET, HEAD";
}

impl Endpoint {
    /// Returns whether senders deliver to it.
    pub(super) fn is_for_senders(&self) -> bool {
        matches!(self, Self::Event | Self::Webhook | Self::Callback)
    }

    /// Returns whether this is a page or an action of the console.
    pub(super) fn is_console(&self) -> bool {
        let template = self.template();
        template == "/console" || template.starts_with("/console/")
    }

    /// Returns whether the endpoint allows a method.
    pub fn allows(&self, method: &Method) -> bool {
        self.methods().split(", ").any(|allowed| allowed == method.as_str())
    }
}

/// Matches a path against a template. Returns the path segment of the parameter, which is never empty. Returns the
/// empty string if the template has no parameter.
fn matched<'p>(path: &'p str, template: &str) -> Option<&'p str> {
    let Some((before, rest)) = template.split_once('{') else { return (path == template).then_some("") };
    let (_, after) = rest.split_once('}')?;
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}
