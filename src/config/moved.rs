//! The variables of version 0.1.0 that are gone, and what takes their place. The changelog has this table, and an error
//! for an old name in `settings` says where its value belongs.

/// A variable that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The variable.
    pub variable: &'static str,
    /// Its place now.
    pub to: Place,
}

/// The place of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A member of `settings`.
    Settings(&'static str),
    /// The member `secrets` of a source that has this sender.
    SecretsOf(&'static str),
    /// The member `secrets` of the source with the descriptor.
    SecretsOfDescriptor,
    /// The member `sender` of a source.
    Sender,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Settings(member) => write!(f, "`{member}` in `settings`"),
            Self::SecretsOf(sender) => write!(f, "`secrets` of a source with the sender `{sender}`, in `sources`"),
            Self::SecretsOfDescriptor => f.write_str("`secrets` of the source with the descriptor, in `sources`"),
            Self::Sender => f.write_str("`sender` of a source, in `sources`"),
        }
    }
}

const fn settings(variable: &'static str, member: &'static str) -> Moved {
    Moved { variable, to: Place::Settings(member) }
}

const fn secrets(variable: &'static str, sender: &'static str) -> Moved {
    Moved { variable, to: Place::SecretsOf(sender) }
}

/// The variables that are gone.
pub static MOVED: [Moved; 38] = [
    settings("engine_settings", "engine"),
    settings("engine_start", "engine_start"),
    settings("engine_connect_ms", "engine_connect_ms"),
    settings("engine_timeout_ms", "engine_timeout_ms"),
    settings("engine_wait_ms", "engine_wait_ms"),
    settings("max_body_bytes", "max_body_bytes"),
    settings("move_from", "move_from"),
    settings("retention_hours", "retention_hours"),
    settings("retry_max_hours", "retry_max_hours"),
    settings("retry_max_attempts", "retry_max_attempts"),
    settings("drain_width_max", "drain_width_max"),
    settings("store_doors", "doors"),
    settings("store_max_keys", "max_keys"),
    settings("callback_early_ms", "callback_early_ms"),
    settings("callback_wait_hours", "callback_wait_hours"),
    settings("orphan_after_ms", "orphan_after_ms"),
    settings("webhook_any_json", "webhook_any_json"),
    settings("public_url", "public_url"),
    settings("link_secret", "link_secrets"),
    settings("callback_get", "callback_get"),
    settings("allowed_origins", "allowed_origins"),
    Moved { variable: "sender_custom", to: Place::Sender },
    Moved { variable: "secret_custom", to: Place::SecretsOfDescriptor },
    secrets("secret_gitlab", "gitlab"),
    secrets("secret_gitea", "gitea"),
    secrets("secret_github", "github"),
    secrets("secret_bitbucket", "bitbucket"),
    secrets("secret_slack", "slack"),
    secrets("secret_stripe", "stripe"),
    secrets("secret_shopify", "shopify"),
    secrets("secret_svix", "svix"),
    secrets("secret_twilio", "twilio"),
    secrets("secret_zoom", "zoom"),
    secrets("secret_twitch", "twitch"),
    secrets("secret_paddle", "paddle"),
    secrets("secret_linear", "linear"),
    secrets("secret_vercel", "vercel"),
    secrets("secret_standard_webhooks", "standard-webhooks"),
];
