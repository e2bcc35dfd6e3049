//! The known senders, as data. Each preset lists the vendor's own pages that it follows; a comment says where they
//! leave something open. The schemes are [`Descriptor`]s in JSON, so each is also an example for `sender_custom`.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};

use super::descriptor::Descriptor;

/// A known sender.
#[derive(Debug)]
pub struct Preset {
    /// Name in `?sender=`, in routes and in the log.
    pub name: &'static str,
    /// Another name that is accepted for it.
    pub alias: Option<&'static str>,
    /// Name as the vendor writes it.
    pub title: &'static str,
    /// The vendor's pages about its signatures.
    pub pages: &'static [&'static str],
    /// Headers that identify the sender: one of them is enough.
    pub detect_headers: &'static [&'static str],
    /// The variable with its secrets. `None` if the sender signs nothing.
    pub secret_variable: Option<SecretVariable>,
    /// Its signature schemes, as [`Descriptor`]s in JSON. Empty if the sender signs nothing.
    pub schemes: &'static [&'static str],
    /// The response that the sender expects.
    pub response_policy: ResponsePolicy,
}

/// The variable with the secrets of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretVariable {
    /// Name of the variable: `secret_` and the preset's name, with `_` for `-`.
    pub name: &'static str,
    /// The secret, as the vendor calls it. Completes a sentence such as "set …".
    pub description: &'static str,
}

/// The response that a sender expects. `docs/senders.md` links the pages that describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponsePolicy {
    /// How long the sender waits for a response, in seconds, if the vendor says so.
    pub deadline: Option<u8>,
    /// The responses that the sender takes for success.
    pub success: SuccessCriterion,
}

/// The responses that a sender takes for success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SuccessCriterion {
    /// Any 2xx, with any body.
    #[default]
    #[serde(rename = "2xx")]
    Any2xx,
    /// Only 200, with any body.
    #[serde(rename = "200")]
    Only200,
    /// Only 200, without a body: the sender would show it to its user.
    #[serde(rename = "200-empty")]
    Empty200,
    /// Only 204: the sender would execute a body as a program.
    #[serde(rename = "204")]
    Only204,
}

impl ResponsePolicy {
    /// The policy for a sender that publishes none: no deadline, and any 2xx is a success.
    pub const UNKNOWN: Self = Self::new(None, SuccessCriterion::Any2xx);

    const fn new(deadline: Option<u8>, success: SuccessCriterion) -> Self {
        Self { deadline, success }
    }

    /// Maximum time to wait for the engine, if the sender has a deadline. One second of it is left for the network, and
    /// for storing the delivery if the engine does not answer in time.
    pub fn max_engine_wait(&self) -> Option<Duration> {
        self.deadline.map(|seconds| Duration::from_secs(u64::from(seconds)).saturating_sub(Duration::from_secs(1)))
    }
}

impl Preset {
    /// The sender with this name or alias.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name || preset.alias == Some(name))
    }

    /// The first sender that these headers identify.
    pub fn by_headers(headers: &HeaderMap) -> Option<&'static Self> {
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        let is_present = |header: &&str| names.contains(header);
        PRESETS.iter().find(|preset| preset.detect_headers.iter().any(is_present))
    }

    /// The signature schemes. Each call parses them again.
    pub fn descriptors(&self) -> impl Iterator<Item = Descriptor> + use<> {
        // A test parses all of them. An invalid one would be skipped, and verify nothing.
        self.schemes.iter().filter_map(|json| Descriptor::parse(json).ok())
    }
}

/// The known senders, in the order of detection. A sender that also sends the headers of another one (Gitea those of
/// GitHub, GitLab those of Standard Webhooks) comes before it.
pub static PRESETS: &[Preset] = &[
    // The signing token signs as Standard Webhooks does (GitLab's merge requests 230944 and 231325); the secret token
    // is sent as it is. If both are set in GitLab, only the signing token belongs in `secret_gitlab`: a request with
    // either of them would be accepted. The pages name no tolerance; the libraries of Standard Webhooks use five
    // minutes.
    Preset {
        name: "gitlab",
        alias: None,
        title: "GitLab",
        pages: &["https://docs.gitlab.com/user/project/integrations/webhooks/"],
        detect_headers: &["x-gitlab-event", "x-gitlab-token"],
        secret_variable: Some(SecretVariable {
            name: "secret_gitlab",
            description: "the signing token (`whsec_…`) or the secret token",
        }),
        schemes: &[
            r#"{"algorithm":"hmac-sha256","encoding":"base64","headers":["webhook-signature"],
                "grammar":{"list":" "},"prefix":"v1,","signed":"{id}.{timestamp}.{body}",
                "secret":{"encoding":"base64","prefix":"whsec_"},
                "timestamp":{"from":{"header":"webhook-timestamp"},"tolerance":300},
                "id":{"header":"webhook-id"},"type":{"pointer":"/object_kind"}}"#,
            r#"{"algorithm":"token","headers":["x-gitlab-token"],
                "id":{"header":"idempotency-key"},"type":{"pointer":"/object_kind"}}"#,
        ],
        response_policy: ResponsePolicy::new(Some(10), SuccessCriterion::Any2xx),
    },
    // Also Forgejo, which sends its own headers and Gitea's. The page shows the headers; Gitea's
    // services/webhook/deliver.go shows that the signature is the hex digest of the payload. A hook that posts a form
    // is signed over the payload in the form, not over the body, so it is rejected here.
    Preset {
        name: "gitea",
        alias: Some("forgejo"),
        title: "Gitea",
        pages: &["https://docs.gitea.com/usage/webhooks", "https://forgejo.org/docs/latest/user/webhooks/"],
        detect_headers: &["x-gitea-event", "x-forgejo-event", "x-gitea-signature", "x-forgejo-signature"],
        secret_variable: Some(SecretVariable {
            name: "secret_gitea",
            description: "the webhook's secret, of Gitea or Forgejo",
        }),
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["x-gitea-signature","x-forgejo-signature"],
                "id":{"header":"x-gitea-delivery"},"type":{"header":"x-gitea-event"}}"#],
        response_policy: ResponsePolicy::new(Some(5), SuccessCriterion::Any2xx),
    },
    // The headers with the id and the type are not signed.
    Preset {
        name: "github",
        alias: None,
        title: "GitHub",
        pages: &["https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries"],
        detect_headers: &["x-github-event", "x-hub-signature-256"],
        secret_variable: Some(SecretVariable { name: "secret_github", description: "the webhook's secret" }),
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["x-hub-signature-256"],"prefix":"sha256=",
                "id":{"header":"x-github-delivery"},"type":{"header":"x-github-event"}}"#],
        response_policy: ResponsePolicy::new(Some(10), SuccessCriterion::Any2xx),
    },
    // Bitbucket Cloud, and Data Center, which calls the id `X-Request-Id`. In Data Center the prefix may name another
    // algorithm; only the default is supported.
    Preset {
        name: "bitbucket",
        alias: None,
        title: "Bitbucket",
        pages: &[
            "https://bitbucket.org/blog/enhanced-webhook-security",
            "https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/",
        ],
        detect_headers: &["x-event-key"],
        secret_variable: Some(SecretVariable { name: "secret_bitbucket", description: "the webhook's secret" }),
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["x-hub-signature"],"prefix":"sha256=",
                "id":{"header":"x-request-uuid"},"type":{"header":"x-event-key"}}"#],
        response_policy: ResponsePolicy::UNKNOWN,
    },
    // Slash commands and interactive messages are forms: they have no event id, and each contains a new trigger id.
    // Slack shows the body of a 200 to the user, and a body keeps a modal open.
    Preset {
        name: "slack",
        alias: None,
        title: "Slack",
        pages: &["https://docs.slack.dev/authentication/verifying-requests-from-slack"],
        detect_headers: &["x-slack-signature", "x-slack-request-timestamp"],
        secret_variable: Some(SecretVariable { name: "secret_slack", description: "the app's signing secret" }),
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["x-slack-signature"],"prefix":"v0=",
                "signed":"v0:{timestamp}:{body}",
                "timestamp":{"from":{"header":"x-slack-request-timestamp"},"tolerance":300},
                "id":{"pointer":"/event_id"},"type":{"pointer":"/event/type"},"repeat":"body"}"#],
        response_policy: ResponsePolicy::new(Some(3), SuccessCriterion::Empty200),
    },
    // The whole text of the secret is the key, including `whsec_`. `v0` is the scheme of Stripe's test mode, not a
    // signature.
    Preset {
        name: "stripe",
        alias: None,
        title: "Stripe",
        pages: &["https://docs.stripe.com/webhooks#verify-manually"],
        detect_headers: &["stripe-signature"],
        secret_variable: Some(SecretVariable {
            name: "secret_stripe",
            description: "the endpoint's secret, `whsec_…`",
        }),
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["stripe-signature"],
                "grammar":{"pairs":{"separator":",","signature":"v1"}},"signed":"{timestamp}.{body}",
                "timestamp":{"from":{"field":"t"},"tolerance":300},
                "id":{"pointer":"/id"},"type":{"pointer":"/type"}}"#],
        response_policy: ResponsePolicy::UNKNOWN,
    },
    Preset {
        name: "shopify",
        alias: None,
        title: "Shopify",
        pages: &["https://shopify.dev/docs/apps/build/webhooks/verify-deliveries"],
        detect_headers: &["x-shopify-hmac-sha256", "x-shopify-topic"],
        secret_variable: Some(SecretVariable {
            name: "secret_shopify",
            description: "the app's client secret; after a rotation, Shopify signs with the old one for up to an hour, \
                          so set both",
        }),
        schemes: &[r#"{"algorithm":"hmac-sha256","encoding":"base64","headers":["x-shopify-hmac-sha256"],
                "id":{"header":"x-shopify-webhook-id"},"type":{"header":"x-shopify-topic"}}"#],
        response_policy: ResponsePolicy::new(Some(5), SuccessCriterion::Any2xx),
    },
    Preset {
        name: "svix",
        alias: None,
        title: "Svix",
        pages: &["https://docs.svix.com/receiving/verifying-payloads/how-manual"],
        detect_headers: &["svix-id", "svix-signature"],
        secret_variable: Some(SecretVariable {
            name: "secret_svix", description: "the endpoint's secret, `whsec_…`"
        }),
        schemes: &[r#"{"algorithm":"hmac-sha256","encoding":"base64","headers":["svix-signature"],
                "grammar":{"list":" "},"prefix":"v1,","signed":"{id}.{timestamp}.{body}",
                "secret":{"encoding":"base64","prefix":"whsec_"},
                "timestamp":{"from":{"header":"svix-timestamp"},"tolerance":300},
                "id":{"header":"svix-id"},"type":{"pointer":"/type"}}"#],
        response_policy: ResponsePolicy::new(Some(15), SuccessCriterion::Any2xx),
    },
    // There is no timestamp, so a replay is recognized only by its digest, and by a token that a retry keeps and a second
    // event with the same fields does not: the same key pressed twice in a call. With a matching Webhooks Rule, Twilio signs
    // with SHA-256 and a shared key (twilio-node, examples/WebhookSignatureValidation.md). The URL must be the one that
    // Twilio calls. A response's body must be TwiML.
    Preset {
        name: "twilio",
        alias: None,
        title: "Twilio",
        pages: &["https://www.twilio.com/docs/usage/webhooks/webhooks-security"],
        detect_headers: &["x-twilio-signature"],
        secret_variable: Some(SecretVariable { name: "secret_twilio", description: "the account's auth token" }),
        schemes: &[
            r#"{"algorithm":"hmac-sha1","encoding":"base64","headers":["x-twilio-signature"],"signed":"{url}{params}",
                "id":{"header":"i-twilio-idempotency-token"},"repeat":"body"}"#,
            r#"{"algorithm":"hmac-sha256","encoding":"base64","headers":["x-twilio-signature"],"signed":"{url}{params}",
                "id":{"header":"i-twilio-idempotency-token"},"repeat":"body"}"#,
        ],
        response_policy: ResponsePolicy::new(Some(15), SuccessCriterion::Only204),
    },
    // The page names no tolerance; five minutes is Sluice's choice.
    Preset {
        name: "zoom",
        alias: None,
        title: "Zoom",
        pages: &["https://developers.zoom.us/docs/api/webhooks/#verify-webhook-events"],
        detect_headers: &["x-zm-signature", "x-zm-request-timestamp"],
        secret_variable: Some(SecretVariable { name: "secret_zoom", description: "the app's secret token" }),
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["x-zm-signature"],"prefix":"v0=",
                "signed":"v0:{timestamp}:{body}",
                "timestamp":{"from":{"header":"x-zm-request-timestamp"},"tolerance":300},
                "type":{"pointer":"/event"},"repeat":"body"}"#],
        response_policy: ResponsePolicy::new(Some(3), SuccessCriterion::Only200),
    },
    // The vendor recommends ten minutes (https://dev.twitch.tv/docs/eventsub/#guarding-against-replay-attacks). Its
    // deadline is "a few seconds".
    Preset {
        name: "twitch",
        alias: None,
        title: "Twitch",
        pages: &["https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#verifying-the-event-message"],
        detect_headers: &["twitch-eventsub-message-id", "twitch-eventsub-message-signature"],
        secret_variable: Some(SecretVariable { name: "secret_twitch", description: "the subscription's secret" }),
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["twitch-eventsub-message-signature"],"prefix":"sha256=",
                "signed":"{id}{timestamp}{body}",
                "timestamp":{"from":{"header":"twitch-eventsub-message-timestamp"},"unit":"rfc3339","tolerance":600},
                "id":{"header":"twitch-eventsub-message-id"},"type":{"pointer":"/subscription/type"}}"#],
        response_policy: ResponsePolicy::new(Some(3), SuccessCriterion::Any2xx),
    },
    // The vendor's libraries allow five seconds. A cold start and a clock that is slightly off need more. The signature
    // covers the event's id, so a replay within the tolerance is a duplicate.
    Preset {
        name: "paddle",
        alias: None,
        title: "Paddle",
        pages: &["https://developer.paddle.com/webhooks/about/signature-verification"],
        detect_headers: &["paddle-signature"],
        secret_variable: Some(SecretVariable {
            name: "secret_paddle",
            description: "the secret of the notification destination",
        }),
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["paddle-signature"],
                "grammar":{"pairs":{"separator":";","signature":"h1"}},"signed":"{timestamp}:{body}",
                "timestamp":{"from":{"field":"ts"},"tolerance":60},
                "id":{"pointer":"/event_id"},"type":{"pointer":"/event_type"}}"#],
        response_policy: ResponsePolicy::new(Some(5), SuccessCriterion::Only200),
    },
    // The timestamp is in the body, which is signed; the header `Linear-Timestamp` is not. The vendor recommends a
    // minute.
    Preset {
        name: "linear",
        alias: None,
        title: "Linear",
        pages: &["https://linear.app/developers/webhooks#securing-webhooks"],
        detect_headers: &["linear-signature", "linear-event"],
        secret_variable: Some(SecretVariable { name: "secret_linear", description: "the signing secret" }),
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["linear-signature"],
                "timestamp":{"from":{"pointer":"/webhookTimestamp"},"unit":"milliseconds","tolerance":60},
                "id":{"header":"linear-delivery"},"type":{"pointer":"/type"}}"#],
        response_policy: ResponsePolicy::new(Some(5), SuccessCriterion::Only200),
    },
    // `createdAt` is the time of the event, not of sending, so it can't tell a late retry from a replay.
    Preset {
        name: "vercel",
        alias: None,
        title: "Vercel",
        pages: &["https://vercel.com/docs/webhooks/webhooks-api#securing-webhooks"],
        detect_headers: &["x-vercel-signature"],
        secret_variable: Some(SecretVariable {
            name: "secret_vercel",
            description: "the webhook's secret; for an integration, its client secret",
        }),
        schemes: &[r#"{"algorithm":"hmac-sha1","headers":["x-vercel-signature"],
                "id":{"pointer":"/id"},"type":{"pointer":"/type"}}"#],
        response_policy: ResponsePolicy::UNKNOWN,
    },
    // Signs nothing and sends no header of its own: only an access token in the URL authenticates it.
    Preset {
        name: "docker-hub",
        alias: None,
        title: "Docker Hub",
        pages: &["https://docs.docker.com/docker-hub/repos/manage/webhooks/"],
        detect_headers: &[],
        secret_variable: None,
        schemes: &[],
        response_policy: ResponsePolicy::UNKNOWN,
    },
    // The prefix of a secret selects the scheme: a public key (`whpk_`) is never a key for HMAC. The specification
    // leaves the tolerance to the receiver; the reference libraries use five minutes.
    Preset {
        name: "standard-webhooks",
        alias: None,
        title: "Standard Webhooks",
        pages: &["https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"],
        detect_headers: &["webhook-id", "webhook-signature"],
        secret_variable: Some(SecretVariable {
            name: "secret_standard_webhooks",
            description: "`whsec_…`, or a public key `whpk_…`",
        }),
        schemes: &[
            r#"{"algorithm":"hmac-sha256","encoding":"base64","headers":["webhook-signature"],
                "grammar":{"list":" "},"prefix":"v1,","signed":"{id}.{timestamp}.{body}",
                "secret":{"encoding":"base64","prefix":"whsec_"},
                "timestamp":{"from":{"header":"webhook-timestamp"},"tolerance":300},
                "id":{"header":"webhook-id"},"type":{"pointer":"/type"}}"#,
            r#"{"algorithm":"ed25519","encoding":"base64","headers":["webhook-signature"],
                "grammar":{"list":" "},"prefix":"v1a,","signed":"{id}.{timestamp}.{body}",
                "secret":{"encoding":"base64","prefix":"whpk_"},
                "timestamp":{"from":{"header":"webhook-timestamp"},"tolerance":300},
                "id":{"header":"webhook-id"},"type":{"pointer":"/type"}}"#,
        ],
        response_policy: ResponsePolicy::new(Some(15), SuccessCriterion::Any2xx),
    },
];
