//! The senders that are known, as data. What a preset says is in its vendor's own page, which it names; where the page is
//! silent, the comment says so. The form is [`Descriptor`]'s own, so that each is also an example for `custom`.

use std::time::Duration;

use super::descriptor::Descriptor;

/// A sender that is known.
#[derive(Debug)]
pub struct Preset {
    /// Its name: `?sender=`, and the variable `secret_<name>` with `_` for `-`.
    pub name: &'static str,
    /// Another name of it.
    pub alias: Option<&'static str>,
    /// Where its vendor says how it signs.
    pub page: &'static str,
    /// It is known by any of these headers.
    pub detect_headers: &'static [&'static str],
    /// The ways in which it signs; none if it never does.
    pub schemes: &'static [&'static str],
    /// What it makes of an answer.
    pub response_policy: ResponsePolicy,
}

/// What a sender makes of an answer. `docs/senders.md` has the pages that say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponsePolicy {
    /// How long it waits for one, in seconds, where that is published.
    pub deadline: Option<u8>,
    /// What it takes for success.
    pub success: Success,
}

/// What a sender takes for success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// Any 2xx, whatever its body.
    Any,
    /// 200 and no other; whatever its body.
    Ok,
    /// 200, and it would show a body to its user.
    OkEmpty,
    /// A body would be taken for a program of its own.
    NoContent,
}

impl ResponsePolicy {
    /// Those of one of whom nothing is known.
    pub const UNKNOWN: Self = Self::of(None, Success::Any);

    /// How long the engine may be waited for: a second is left for the way, and to store what it has not answered.
    pub fn patience(&self) -> Option<Duration> {
        self.deadline.map(|seconds| Duration::from_secs(u64::from(seconds)).saturating_sub(Duration::from_secs(1)))
    }

    const fn of(deadline: Option<u8>, success: Success) -> Self {
        Self { deadline, success }
    }
}

impl Preset {
    /// The ways in which it signs.
    pub fn descriptors(&self) -> impl Iterator<Item = Descriptor> + use<> {
        // A test reads them all. One that could not be read would let nobody in.
        self.schemes.iter().filter_map(|json| Descriptor::parse(json).ok())
    }
}

/// In the order in which they are looked for: who also sends another's headers (Gitea sends GitHub's, GitLab those of
/// Standard Webhooks) comes first.
pub static PRESETS: &[Preset] = &[
    // GitLab. The signing token signs as Standard Webhooks does (merge requests 230944 and 231325); the secret token is
    // sent as it is. Where both are set, name the signing token only: each secret here lets in. No tolerance is named;
    // five minutes is what the Standard Webhooks libraries take.
    Preset {
        name: "gitlab",
        alias: None,
        page: "https://docs.gitlab.com/user/project/integrations/webhooks/",
        detect_headers: &["x-gitlab-event", "x-gitlab-token"],
        schemes: &[
            r#"{"algorithm":"hmac-sha256","encoding":"base64","headers":["webhook-signature"],
                "grammar":{"list":" "},"prefix":"v1,","signed":"{id}.{timestamp}.{body}",
                "secret":{"encoding":"base64","prefix":"whsec_"},
                "timestamp":{"from":{"header":"webhook-timestamp"},"tolerance":300},
                "id":{"header":"webhook-id"},"type":{"pointer":"/object_kind"}}"#,
            r#"{"algorithm":"token","headers":["x-gitlab-token"],
                "id":{"header":"idempotency-key"},"type":{"pointer":"/object_kind"}}"#,
        ],
        response_policy: ResponsePolicy::of(Some(10), Success::Any),
    },
    // Gitea, and Forgejo, which sends its own header and Gitea's. The page shows the headers; that the signature is the
    // hex digest of the payload is in Gitea's services/webhook/deliver.go. A hook that posts a form is signed over the
    // payload in it, not over the body: such a hook is refused here.
    Preset {
        name: "gitea",
        alias: Some("forgejo"),
        page: "https://docs.gitea.com/usage/webhooks https://forgejo.org/docs/latest/user/webhooks/",
        detect_headers: &["x-gitea-event", "x-forgejo-event", "x-gitea-signature", "x-forgejo-signature"],
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["x-gitea-signature","x-forgejo-signature"],
                "id":{"header":"x-gitea-delivery"},"type":{"header":"x-gitea-event"}}"#],
        response_policy: ResponsePolicy::of(Some(5), Success::Any),
    },
    // The id and the type are in headers that aren't signed.
    Preset {
        name: "github",
        alias: None,
        page: "https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries",
        detect_headers: &["x-github-event", "x-hub-signature-256"],
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["x-hub-signature-256"],"prefix":"sha256=",
                "id":{"header":"x-github-delivery"},"type":{"header":"x-github-event"}}"#],
        response_policy: ResponsePolicy::of(Some(10), Success::Any),
    },
    // Bitbucket Cloud, and Data Center where it names the id `X-Request-Id`. The prefix may name another algorithm in
    // Data Center; only the default is taken.
    Preset {
        name: "bitbucket",
        alias: None,
        page: "https://bitbucket.org/blog/enhanced-webhook-security https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/",
        detect_headers: &["x-event-key"],
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["x-hub-signature"],"prefix":"sha256=",
                "id":{"header":"x-request-uuid"},"type":{"header":"x-event-key"}}"#],
        response_policy: ResponsePolicy::UNKNOWN,
    },
    // Slash commands and interactive messages are forms: they have no event id, and each carries a fresh trigger. What a
    // 200 has in its body is shown to the user, and keeps a modal open.
    Preset {
        name: "slack",
        alias: None,
        page: "https://docs.slack.dev/authentication/verifying-requests-from-slack",
        detect_headers: &["x-slack-signature", "x-slack-request-timestamp"],
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["x-slack-signature"],"prefix":"v0=",
                "signed":"v0:{timestamp}:{body}",
                "timestamp":{"from":{"header":"x-slack-request-timestamp"},"tolerance":300},
                "id":{"pointer":"/event_id"},"type":{"pointer":"/event/type"}}"#],
        response_policy: ResponsePolicy::of(Some(3), Success::OkEmpty),
    },
    // The secret starts with `whsec_` but is taken as it is, prefix and all. `v0` is a test mode's fake scheme.
    Preset {
        name: "stripe",
        alias: None,
        page: "https://docs.stripe.com/webhooks#verify-manually",
        detect_headers: &["stripe-signature"],
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["stripe-signature"],
                "grammar":{"pairs":{"separator":",","signature":"v1"}},"signed":"{timestamp}.{body}",
                "timestamp":{"from":{"field":"t"},"tolerance":300},
                "id":{"pointer":"/id"},"type":{"pointer":"/type"}}"#],
        response_policy: ResponsePolicy::UNKNOWN,
    },
    Preset {
        name: "shopify",
        alias: None,
        page: "https://shopify.dev/docs/apps/build/webhooks/verify-deliveries",
        detect_headers: &["x-shopify-hmac-sha256", "x-shopify-topic"],
        schemes: &[r#"{"algorithm":"hmac-sha256","encoding":"base64","headers":["x-shopify-hmac-sha256"],
                "id":{"header":"x-shopify-webhook-id"},"type":{"header":"x-shopify-topic"}}"#],
        response_policy: ResponsePolicy::of(Some(5), Success::Any),
    },
    Preset {
        name: "svix",
        alias: None,
        page: "https://docs.svix.com/receiving/verifying-payloads/how-manual",
        detect_headers: &["svix-id", "svix-signature"],
        schemes: &[r#"{"algorithm":"hmac-sha256","encoding":"base64","headers":["svix-signature"],
                "grammar":{"list":" "},"prefix":"v1,","signed":"{id}.{timestamp}.{body}",
                "secret":{"encoding":"base64","prefix":"whsec_"},
                "timestamp":{"from":{"header":"svix-timestamp"},"tolerance":300},
                "id":{"header":"svix-id"},"type":{"pointer":"/type"}}"#],
        response_policy: ResponsePolicy::of(Some(15), Success::Any),
    },
    // No timestamp: what is replayed is known by its digest only. A matching Webhooks Rule makes it SHA-256 with a shared
    // key (twilio-node, examples/WebhookSignatureValidation.md). The URL must be the one that Twilio calls. A body must be
    // TwiML.
    Preset {
        name: "twilio",
        alias: None,
        page: "https://www.twilio.com/docs/usage/webhooks/webhooks-security",
        detect_headers: &["x-twilio-signature"],
        schemes: &[
            r#"{"algorithm":"hmac-sha1","encoding":"base64","headers":["x-twilio-signature"],"signed":"{url}{params}"}"#,
            r#"{"algorithm":"hmac-sha256","encoding":"base64","headers":["x-twilio-signature"],"signed":"{url}{params}"}"#,
        ],
        response_policy: ResponsePolicy::of(Some(15), Success::NoContent),
    },
    // No tolerance is named; five minutes is ours.
    Preset {
        name: "zoom",
        alias: None,
        page: "https://developers.zoom.us/docs/api/webhooks/#verify-webhook-events",
        detect_headers: &["x-zm-signature", "x-zm-request-timestamp"],
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["x-zm-signature"],"prefix":"v0=",
                "signed":"v0:{timestamp}:{body}",
                "timestamp":{"from":{"header":"x-zm-request-timestamp"},"tolerance":300},
                "type":{"pointer":"/event"}}"#],
        response_policy: ResponsePolicy::of(Some(3), Success::Ok),
    },
    // Ten minutes is the vendor's advice (https://dev.twitch.tv/docs/eventsub/#guarding-against-replay-attacks). Its deadline is
    // "a few seconds".
    Preset {
        name: "twitch",
        alias: None,
        page: "https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#verifying-the-event-message",
        detect_headers: &["twitch-eventsub-message-id", "twitch-eventsub-message-signature"],
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["twitch-eventsub-message-signature"],"prefix":"sha256=",
                "signed":"{id}{timestamp}{body}",
                "timestamp":{"from":{"header":"twitch-eventsub-message-timestamp"},"unit":"rfc3339","tolerance":600},
                "id":{"header":"twitch-eventsub-message-id"},"type":{"pointer":"/subscription/type"}}"#],
        response_policy: ResponsePolicy::of(Some(3), Success::Any),
    },
    // The vendor's libraries take five seconds. A cold start and a clock that is a little off need more; the event's id is
    // signed, so that what comes twice within it is a duplicate.
    Preset {
        name: "paddle",
        alias: None,
        page: "https://developer.paddle.com/webhooks/about/signature-verification",
        detect_headers: &["paddle-signature"],
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["paddle-signature"],
                "grammar":{"pairs":{"separator":";","signature":"h1"}},"signed":"{timestamp}:{body}",
                "timestamp":{"from":{"field":"ts"},"tolerance":60},
                "id":{"pointer":"/event_id"},"type":{"pointer":"/event_type"}}"#],
        response_policy: ResponsePolicy::of(Some(5), Success::Ok),
    },
    // The timestamp is in the body, which is signed; the header `Linear-Timestamp` isn't. A minute is the vendor's advice.
    Preset {
        name: "linear",
        alias: None,
        page: "https://linear.app/developers/webhooks#securing-webhooks",
        detect_headers: &["linear-signature", "linear-event"],
        schemes: &[r#"{"algorithm":"hmac-sha256","headers":["linear-signature"],
                "timestamp":{"from":{"pointer":"/webhookTimestamp"},"unit":"milliseconds","tolerance":60},
                "id":{"header":"linear-delivery"},"type":{"pointer":"/type"}}"#],
        response_policy: ResponsePolicy::of(Some(5), Success::Ok),
    },
    // `createdAt` is when it happened, not when it was sent, so that a late retry is no replay.
    Preset {
        name: "vercel",
        alias: None,
        page: "https://vercel.com/docs/webhooks/webhooks-api#securing-webhooks",
        detect_headers: &["x-vercel-signature"],
        schemes: &[r#"{"algorithm":"hmac-sha1","headers":["x-vercel-signature"],
                "id":{"pointer":"/id"},"type":{"pointer":"/type"}}"#],
        response_policy: ResponsePolicy::UNKNOWN,
    },
    // Signs nothing and sends no header of its own: only an access token in the URL lets it in.
    Preset {
        name: "docker-hub",
        alias: None,
        page: "https://docs.docker.com/docker-hub/repos/manage/webhooks/",
        detect_headers: &[],
        schemes: &[],
        response_policy: ResponsePolicy::UNKNOWN,
    },
    // `whpk_` is a public key: which scheme a secret is for, its prefix says, so that no one can sign with a public key.
    // The tolerance is left to the receiver; five minutes is what the reference libraries take.
    Preset {
        name: "standard-webhooks",
        alias: None,
        page: "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
        detect_headers: &["webhook-id", "webhook-signature"],
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
        response_policy: ResponsePolicy::of(Some(15), Success::Any),
    },
];
