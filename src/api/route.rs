//! Method and path → one enum.

use http::Method;

macro_rules! routes {
    ($($(#[$doc:meta])* $route:ident $(($param:ident))? $template:literal $methods:literal;)*) => {
        /// What a path names. A parameter is a path segment, still percent-encoded.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Route {
            $(
                $(#[$doc])*
                #[doc = concat!(" `", $template, "`")]
                $route $({
                    #[doc = concat!("The segment `{", stringify!($param), "}`.")]
                    $param: String,
                })?,
            )*
        }

        impl Route {
            /// All of them: path, and methods as `Allow` lists them.
            pub const ALL: &[(&str, &str)] = &[$(($template, $methods),)*];

            /// The route of a path.
            pub fn of(path: &str) -> Option<Self> {
                $(
                    if let Some(_segment) = matched(path, $template) {
                        return Some(Self::$route $({ $param: _segment.to_owned() })?);
                    }
                )*
                None
            }

            /// Its path for the log, with the names of its parameters instead of their values.
            pub fn template(&self) -> &'static str {
                match self { $(Self::$route { .. } => $template,)* }
            }

            /// Its methods, as `Allow` lists them.
            pub fn methods(&self) -> &'static str {
                match self { $(Self::$route { .. } => $methods,)* }
            }
        }
    };
}

routes! {
    Event "/api/v2/event" "POST";
    Callback "/api/v2/callback" "GET, HEAD, POST";
    Webhook "/api/v2/webhook" "POST";
    CallbackLinks "/api/v2/callback-links" "POST";
    CallbackLink "/api/v2/callback/link" "GET, HEAD, POST";
    Callbacks(run) "/api/v2/callbacks/{run}" "GET, HEAD";
    Deliveries "/api/v2/deliveries" "GET, HEAD";
    // Before `{id}`, which it would be too.
    Drain "/api/v2/deliveries/drain" "POST";
    Delivery(id) "/api/v2/deliveries/{id}" "DELETE, GET, HEAD";
    Redeliver(id) "/api/v2/deliveries/{id}/redeliver" "POST";
    Console "/console" "GET, HEAD";
    ConsoleDrain "/console/drain" "POST";
    ConsoleDeliveries "/console/deliveries" "GET, HEAD";
    ConsoleDelivery(id) "/console/deliveries/{id}" "GET, HEAD";
    ConsoleRedeliver(id) "/console/deliveries/{id}/redeliver" "POST";
    ConsoleDelete(id) "/console/deliveries/{id}/delete" "GET, HEAD, POST";
    ConsoleCallbacks "/console/callbacks" "GET, HEAD";
    OpenApi "/openapi.json" "GET, HEAD";
    Health "/healthz" "GET, HEAD";
    Ready "/readyz" "GET, HEAD";
}

impl Route {
    /// Does it have this method?
    pub fn allows(&self, method: &Method) -> bool {
        self.methods().split(", ").any(|allowed| allowed == method.as_str())
    }
}

/// The segment that stands for the template's parameter, which isn't empty; of a template without one, nothing.
fn matched<'p>(path: &'p str, template: &str) -> Option<&'p str> {
    let Some((before, rest)) = template.split_once('{') else { return (path == template).then_some("") };
    let (_, after) = rest.split_once('}')?;
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}
