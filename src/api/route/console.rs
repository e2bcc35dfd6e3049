//! The console's pages and actions.

/// What a path below `/console` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Console {
    /// `/console`
    Overview,
    /// `/console/drain`
    Drain,
    /// `/console/deliveries`
    Deliveries,
    /// `/console/deliveries/{id}`
    Delivery {
        /// The path segment.
        id: String,
    },
    /// `/console/deliveries/{id}/redeliver`
    Redeliver {
        /// The path segment.
        id: String,
    },
    /// `/console/deliveries/{id}/delete`
    Delete {
        /// The path segment.
        id: String,
    },
    /// `/console/callbacks`
    Callbacks,
}

impl Console {
    /// The page or action of what follows `/console` in a path.
    pub(super) fn of(rest: &str) -> Option<Self> {
        let segments: Vec<_> = rest.split('/').collect();
        let id = |id: &str| id.to_owned();
        match *segments.as_slice() {
            [""] | ["", ""] => Some(Self::Overview),
            ["", "drain"] => Some(Self::Drain),
            ["", "callbacks"] => Some(Self::Callbacks),
            ["", "deliveries"] => Some(Self::Deliveries),
            ["", "deliveries", one] if !one.is_empty() => Some(Self::Delivery { id: id(one) }),
            ["", "deliveries", one, "redeliver"] if !one.is_empty() => Some(Self::Redeliver { id: id(one) }),
            ["", "deliveries", one, "delete"] if !one.is_empty() => Some(Self::Delete { id: id(one) }),
            _ => None,
        }
    }

    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Overview | Self::Deliveries | Self::Delivery { .. } | Self::Callbacks => "GET, HEAD",
            Self::Drain | Self::Redeliver { .. } => "POST",
            Self::Delete { .. } => "GET, HEAD, POST",
        }
    }

    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::Overview => "/console",
            Self::Drain => "/console/drain",
            Self::Deliveries => "/console/deliveries",
            Self::Delivery { .. } => "/console/deliveries/{id}",
            Self::Redeliver { .. } => "/console/deliveries/{id}/redeliver",
            Self::Delete { .. } => "/console/deliveries/{id}/delete",
            Self::Callbacks => "/console/callbacks",
        }
    }
}
