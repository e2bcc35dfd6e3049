//! Settings that authenticate requests: access tokens, the secrets of senders and links, and allowed origins.

use super::{ConfigError, parse};
use crate::ports::Variables;
use crate::secret::Secret;
use crate::sender::{CUSTOM, Descriptor, DescriptorError, PRESETS, Preset};

/// `access_tokens`: any one of them authenticates a request.
pub fn access_tokens(variables: &impl Variables) -> Result<Vec<Secret>, ConfigError> {
    parse(variables, "access_tokens", tokens)
}

/// The variable with the secrets of a preset. Other presets have their secrets only in `sources`.
pub fn secret_variable(preset: &Preset) -> Option<&'static str> {
    Some(match preset.name {
        "bitbucket" => "secret_bitbucket",
        "gitea" => "secret_gitea",
        "github" => "secret_github",
        "gitlab" => "secret_gitlab",
        "linear" => "secret_linear",
        "paddle" => "secret_paddle",
        "shopify" => "secret_shopify",
        "slack" => "secret_slack",
        "standard-webhooks" => "secret_standard_webhooks",
        "stripe" => "secret_stripe",
        "svix" => "secret_svix",
        "twilio" => "secret_twilio",
        "twitch" => "secret_twitch",
        "vercel" => "secret_vercel",
        "zoom" => "secret_zoom",
        _ => return None,
    })
}

/// The secrets of a preset: a signature made with any of them is valid. Empty if none is set, or if the sender doesn't
/// sign.
pub fn preset_secrets(variables: &impl Variables, preset: &Preset) -> Result<Vec<Secret>, ConfigError> {
    let Some(variable) = secret_variable(preset) else { return Ok(Vec::new()) };
    parse(variables, variable, |text| {
        // Most of these variables are empty, and parsing the descriptors costs more than the rest of a small request.
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let descriptors: Vec<_> = preset.descriptors().collect();
        let secret = preset.secret.unwrap_or("its secret");
        signing_secrets(text, &descriptors)?
            .ok_or_else(|| format!("has a secret that is not in {}'s form: set {secret}", preset.title))
    })
}

/// `sender_custom`, if set: the descriptor of a sender that has no preset.
pub fn custom_descriptor(variables: &impl Variables) -> Result<Option<Descriptor>, ConfigError> {
    parse(variables, "sender_custom", |text| {
        if text.is_empty() {
            return Ok(None);
        }
        Descriptor::parse(text).map(Some).map_err(|error| match error {
            DescriptorError::Rule { .. } => format!("is not a valid descriptor: {error}"),
            // Only the position in the parser's message is kept: the rest may contain a secret that was set in the
            // wrong place.
            DescriptorError::Json(message) => {
                let location = message.rfind(" at line ").and_then(|at| message.get(at..)).unwrap_or_default();
                format!("is not a valid descriptor: its JSON is malformed, or a member is unknown or invalid{location}")
            }
        })
    })
}

/// `secret_custom`: the secrets of the sender that `descriptor` describes. Must not be set without a descriptor.
pub fn custom_secrets(variables: &impl Variables, descriptor: Option<&Descriptor>) -> Result<Vec<Secret>, ConfigError> {
    parse(variables, "secret_custom", |text| match descriptor {
        None if text.is_empty() => Ok(Vec::new()),
        None => Err("is set, but sender_custom, which describes its sender, is not".to_owned()),
        Some(descriptor) => signing_secrets(text, std::slice::from_ref(descriptor))?
            .ok_or_else(|| "has a secret that is not in the form of the member `secret` of sender_custom".to_owned()),
    })
}

/// Returns whether every request must be authenticated, which is the case as soon as an access token, a sender's secret
/// or `sender_custom` is set.
pub fn requires_authentication(variables: &impl Variables) -> Result<bool, ConfigError> {
    let custom = custom_descriptor(variables)?;
    // `secret_custom` without `sender_custom` is an error, because the gateway must not be open to everyone in that
    // case.
    custom_secrets(variables, custom.as_ref())?;
    if !access_tokens(variables)?.is_empty() || custom.is_some() {
        return Ok(true);
    }
    for preset in PRESETS {
        if !preset_secrets(variables, preset)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The senders that have secrets, and how many secrets each has. Variables with errors are omitted, since
/// [`check`](super::check) reports them.
pub fn senders_with_secrets(variables: &impl Variables) -> Vec<(&'static str, usize)> {
    let presets = PRESETS.iter().map(|preset| (preset.name, preset_secrets(variables, preset)));
    let custom = custom_descriptor(variables).ok();
    let custom = custom.map(|descriptor| (CUSTOM, custom_secrets(variables, descriptor.as_ref())));
    let counts = presets.chain(custom).map(|(name, secrets)| (name, secrets.map_or(0, |secrets| secrets.len())));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// `link_secret`: the first secret signs callback links, and any of the secrets can verify a link.
pub fn link_secrets(variables: &impl Variables) -> Result<Vec<Secret>, ConfigError> {
    parse(variables, "link_secret", tokens)
}

/// The origins that may deliver CloudEvents (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl Origins {
    /// The origins of a list.
    pub(super) fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    /// Returns whether a text is a host name, perhaps with a port, or `*`.
    pub(super) fn is_origin(text: &str) -> bool {
        text == "*" || text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b))
    }

    /// Returns whether no origin is set, in which case deliveries are not restricted by origin.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether an origin may deliver: it is in the list, regardless of case, or the list contains `*`.
    pub fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

/// `allowed_origins`: host names, or `*` for all.
pub fn allowed_origins(variables: &impl Variables) -> Result<Origins, ConfigError> {
    parse(variables, "allowed_origins", |text| {
        let origins: Vec<_> = items(text).map(str::to_owned).collect();
        if origins.iter().all(|origin| Origins::is_origin(origin)) {
            Ok(Origins(origins))
        } else {
            Err("must be host names without a scheme, separated by commas, or `*`".to_owned())
        }
    })
}

/// The errors in all variables that this module reads.
pub(super) fn errors(variables: &impl Variables) -> Vec<ConfigError> {
    let custom = custom_descriptor(variables);
    let descriptor = custom.as_ref().ok().and_then(Option::as_ref);
    let mut errors: Vec<_> = access_tokens(variables).err().into_iter().collect();
    errors.extend(PRESETS.iter().filter_map(|preset| preset_secrets(variables, preset).err()));
    errors.extend(custom_secrets(variables, descriptor).err());
    errors.extend(custom.err());
    errors.extend(link_secrets(variables).err());
    errors.extend(allowed_origins(variables).err());
    errors
}

/// The items of a comma-separated list. White space around an item and empty items are ignored.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Parses tokens in visible ASCII, separated by commas.
fn tokens(text: &str) -> Result<Vec<Secret>, String> {
    if items(text).all(|item| item.bytes().all(|byte| byte.is_ascii_graphic())) {
        Ok(items(text).map(Secret::new).collect())
    } else {
        Err("must be visible ASCII without blanks; separate several by commas".to_owned())
    }
}

/// Parses signing secrets, separated by commas. `None` if one of them has a form that no scheme accepts. Unlike a
/// token, which is sent in a header, a secret may contain blanks: senders accept any text, such as
/// `It's a Secret to Everybody` in GitHub's documentation.
fn signing_secrets(text: &str, schemes: &[Descriptor]) -> Result<Option<Vec<Secret>>, String> {
    if !items(text).all(|item| item.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')) {
        return Err("must be ASCII without control characters; separate several secrets by commas".to_owned());
    }
    let secrets: Vec<_> = items(text).map(Secret::new).collect();
    let is_usable = |secret| schemes.iter().any(|scheme| scheme.accepts_secret(secret));
    Ok(secrets.iter().all(is_usable).then_some(secrets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_separated_by_commas_and_have_no_blanks() {
        assert_eq!(tokens("").unwrap().len(), 0);
        assert_eq!(tokens(" a , b,").unwrap().len(), 2);
        for text in ["a b", "é", "a\u{7f}"] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secret_in_a_form_that_no_scheme_accepts_is_rejected() {
        let schemes: Vec<_> = Preset::by_name("standard-webhooks").unwrap().descriptors().collect();
        let count = |text| signing_secrets(text, &schemes).map(|secrets| secrets.map(|secrets| secrets.len()));
        assert_eq!(count("whsec_AAAA, whsec_BBBB"), Ok(Some(2)));
        assert_eq!(count("whsec_AAAA, AAAA"), Ok(None));
        assert!(count("whsec_AAAA, \u{7f}").is_err());
    }

    #[test]
    fn signing_secret_may_contain_blanks() {
        let schemes: Vec<_> = Preset::by_name("github").unwrap().descriptors().collect();
        assert_eq!(signing_secrets("It's a Secret to Everybody", &schemes).unwrap().unwrap().len(), 1);
    }
}
