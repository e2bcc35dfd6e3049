//! Who may deliver: access tokens, and the signing secrets of senders.

use super::{ConfigError, parse};
use crate::ports::Variables;
use crate::secret::Secret;
use crate::sender::{Descriptor, DescriptorError, PRESETS, Preset, fits};

pub use crate::sender::CUSTOM;

/// The variable with the secrets of each preset, in its order.
const SECRETS: &[(&str, &str)] = &[
    ("gitlab", "secret_gitlab"),
    ("gitea", "secret_gitea"),
    ("github", "secret_github"),
    ("bitbucket", "secret_bitbucket"),
    ("slack", "secret_slack"),
    ("stripe", "secret_stripe"),
    ("shopify", "secret_shopify"),
    ("svix", "secret_svix"),
    ("twilio", "secret_twilio"),
    ("zoom", "secret_zoom"),
    ("twitch", "secret_twitch"),
    ("paddle", "secret_paddle"),
    ("linear", "secret_linear"),
    ("vercel", "secret_vercel"),
    ("standard-webhooks", "secret_standard_webhooks"),
    (CUSTOM, "secret_custom"),
];

/// `access_tokens`: each lets in.
pub fn access_tokens(variables: &impl Variables) -> Result<Vec<Secret>, ConfigError> {
    parse(variables, "access_tokens", |text| list(text, |byte| byte.is_ascii_graphic()))
}

/// The signing secrets of a preset; each verifies.
pub fn secrets(variables: &impl Variables, preset: &Preset) -> Result<Vec<Secret>, ConfigError> {
    let Some((_, variable)) = SECRETS.iter().find(|(name, _)| *name == preset.name) else { return Ok(Vec::new()) };
    parse(variables, variable, |text| match text {
        // Most are not set, and to read descriptors costs more than all else of a small request.
        "" => Ok(Vec::new()),
        text => usable(text, &preset.descriptors().collect::<Vec<_>>()),
    })
}

/// `sender_custom`: the sender that no preset describes.
pub fn custom(variables: &impl Variables) -> Result<Option<Descriptor>, ConfigError> {
    parse(variables, "sender_custom", |text| match text {
        "" => Ok(None),
        json => Descriptor::parse(json).map(Some).map_err(|error| match error {
            DescriptorError::Rule { .. } => format!("is no descriptor: {error}"),
            // The parser's own words repeat what it found, which may be a secret in the wrong place.
            DescriptorError::Json(words) => match words.rfind(" at line ").and_then(|at| words.get(at..)) {
                Some(place) => format!("is no descriptor: its JSON is not understood{place}"),
                None => "is no descriptor: its JSON is not understood".to_owned(),
            },
        }),
    })
}

/// `secret_custom`.
pub fn custom_secrets(variables: &impl Variables, descriptor: Option<&Descriptor>) -> Result<Vec<Secret>, ConfigError> {
    parse(variables, "secret_custom", |text| match descriptor {
        None if !text.is_empty() => Err("is of no use without sender_custom".to_owned()),
        None => Ok(Vec::new()),
        Some(descriptor) => usable(text, std::slice::from_ref(descriptor)),
    })
}

/// Has an operator said who may deliver? From then on it is asked of all.
pub fn is_asked(variables: &impl Variables) -> Result<bool, ConfigError> {
    let custom = custom(variables)?;
    // A secret without its sender is a fault, and lets nobody in.
    custom_secrets(variables, custom.as_ref())?;
    if !access_tokens(variables)?.is_empty() || custom.is_some() {
        return Ok(true);
    }
    for preset in PRESETS {
        if !secrets(variables, preset)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The senders that have secrets, and how many; those that can't be read are left to [`check`](super::check).
pub fn signing_senders(variables: &impl Variables) -> Vec<(&'static str, usize)> {
    let presets = PRESETS.iter().map(|preset| (preset.name, secrets(variables, preset)));
    let custom = custom(variables).ok().map(|custom| (CUSTOM, custom_secrets(variables, custom.as_ref())));
    let counted = presets.chain(custom).map(|(name, secrets)| (name, secrets.map_or(0, |secrets| secrets.len())));
    counted.filter(|(_, count)| *count > 0).collect()
}

/// `link_secret`: the first signs callback links, each verifies them.
pub fn link_secrets(variables: &impl Variables) -> Result<Vec<Secret>, ConfigError> {
    parse(variables, "link_secret", |text| list(text, |byte| byte.is_ascii_graphic()))
}

/// The origins that may deliver CloudEvents (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl Origins {
    /// None is named, so that none is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// May it deliver? Names of hosts have no case.
    pub fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

/// `allowed_origins`.
pub fn allowed_origins(variables: &impl Variables) -> Result<Origins, ConfigError> {
    let is_name = |item: &str| item.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
    parse(variables, "allowed_origins", |text| {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items
            .map(|item| match item == "*" || is_name(item) {
                true => Ok(item.to_owned()),
                false => Err("must be names of hosts without a scheme, with commas between, or *".to_owned()),
            })
            .collect::<Result<_, _>>()
            .map(Origins)
    })
}

/// The faults of all of these.
pub(super) fn faults(variables: &impl Variables) -> Vec<ConfigError> {
    let custom = custom(variables);
    let descriptor = custom.as_ref().ok().and_then(Option::as_ref);
    let mut faults: Vec<_> = access_tokens(variables).err().into_iter().collect();
    faults.extend(PRESETS.iter().filter_map(|preset| secrets(variables, preset).err()));
    faults.extend(custom_secrets(variables, descriptor).err());
    faults.extend(custom.err());
    faults.extend(link_secrets(variables).err());
    faults.extend(allowed_origins(variables).err());
    faults
}

/// Visible ASCII, with commas between.
fn list(text: &str, may_have: fn(u8) -> bool) -> Result<Vec<Secret>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| match item.bytes().all(may_have) {
            true => Ok(Secret::new(item)),
            false => Err("must be visible ASCII, with commas between several".to_owned()),
        })
        .collect()
}

/// A list of secrets, each of which some way of signing can use. Unlike a token, which goes into a header, one may have
/// blanks within: senders take any text (GitHub's example is `It's a Secret to Everybody`).
fn usable(text: &str, descriptors: &[Descriptor]) -> Result<Vec<Secret>, String> {
    let secrets = list(text, |byte| byte.is_ascii_graphic() || byte == b' ')?;
    match secrets.iter().all(|secret| descriptors.iter().any(|descriptor| fits(descriptor, secret))) {
        true => Ok(secrets),
        false => Err("has a secret of another form than this sender's".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_preset_that_signs_has_a_variable() {
        for preset in PRESETS {
            let variable = SECRETS.iter().find(|(name, _)| *name == preset.name).map(|(_, variable)| *variable);
            let expected = format!("secret_{}", preset.name.replace('-', "_"));
            assert_eq!(variable, (!preset.schemes.is_empty()).then_some(expected.as_str()), "{}", preset.name);
        }
    }

    #[test]
    fn a_list_may_have_blanks_between_and_not_within() {
        let list = |text: &str| list(text, |byte| byte.is_ascii_graphic());
        assert_eq!(list("").unwrap().len(), 0);
        assert_eq!(list(" a , b,").unwrap().len(), 2);
        assert!(list("a b").is_err() && list("é").is_err());
    }
}
