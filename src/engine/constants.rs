//! The operator's constants for a profile: the member `engine` of `settings`, a JSON object.

use std::collections::{BTreeMap, BTreeSet};

use http::Uri;
use serde_json::value::RawValue;

use super::form::{Setting, SettingForm};
use super::profile::{Profile, ProfileError};
use crate::json;
use crate::reference::path_segment;

/// The constants that are set. Each has the form that the profile demands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constants {
    values: BTreeMap<String, Vec<String>>,
    /// The names of those that are numbers.
    numbers: BTreeSet<String>,
}

/// The reason why a text is not a set of constants. The message completes the sentence "`/engine` …".
#[derive(Debug, thiserror::Error)]
pub enum ConstantsError {
    /// Not a JSON object.
    #[error("must be a JSON object, such as {{\"base_path\":\"/flow\"}}")]
    NotObject,
    /// A constant that the profile doesn't have.
    #[error("has a member `{name}`, which the engine profile `{profile}` doesn't know: it takes {known}")]
    Unknown {
        /// The member, shortened.
        name: String,
        /// The profile's name.
        profile: String,
        /// The constants of the profile.
        known: String,
    },
    /// A constant that the profile needs.
    #[error("must have a member `{name}`, which the engine profile `{profile}` needs")]
    Missing {
        /// The constant.
        name: String,
        /// The profile's name.
        profile: String,
    },
    /// A value of another form.
    #[error("has a member `{name}` that {rule}")]
    Value {
        /// The constant.
        name: String,
        /// The broken rule, such as "must be a text".
        rule: String,
    },
    /// The profile doesn't follow the form.
    #[error("can't be checked: the engine's profile {0}")]
    Profile(#[from] ProfileError),
}

impl Constants {
    /// Parses the variable's text. An empty text sets nothing.
    pub fn parse(text: &str, profile: &Profile<'_>) -> Result<Self, ConstantsError> {
        if text.is_empty() && profile.needs_no_constants() {
            return Ok(Self::default());
        }
        let document = profile.document();
        let profile = || document.name.to_string();
        let settings = document.settings()?;
        let members = match text {
            "" => Vec::new(),
            text => json::object(text.as_bytes()).ok().and_then(json::members).ok_or(ConstantsError::NotObject)?,
        };
        let mut constants = BTreeMap::new();
        for (name, value) in members {
            let name = json::text(name).unwrap_or_else(|| name.get().to_owned());
            let Some(setting) = settings.get(&name) else {
                let known = settings.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(ConstantsError::Unknown {
                    name: name.chars().take(64).collect(),
                    profile: profile(),
                    known: if known.is_empty() { "none".to_owned() } else { known },
                });
            };
            let value = setting.form.parse(value).map_err(|rule| ConstantsError::Value { name: name.clone(), rule })?;
            constants.insert(name, value);
        }
        let is_number =
            |(name, setting): (&String, &Setting<'_>)| (setting.form == SettingForm::Number).then(|| name.clone());
        let numbers = settings.iter().filter_map(is_number).collect();
        for (name, setting) in settings {
            if let Some(default) = setting.default {
                constants.entry(name).or_insert_with(|| vec![default.to_string()]);
            }
        }
        match document.required()?.into_iter().find(|name| !constants.contains_key(&**name)) {
            Some(name) => Err(ConstantsError::Missing { name: name.to_string(), profile: profile() }),
            None => Ok(Self { values: constants, numbers }),
        }
    }

    /// Returns the value of a constant.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    /// Whether a constant is a number.
    pub(super) fn is_number(&self, name: &str) -> bool {
        self.numbers.contains(name)
    }

    /// Returns the values of a constant that has several.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }
}

impl SettingForm {
    /// Parses a value. The error completes the sentence "the member …".
    fn parse(self, value: &RawValue) -> Result<Vec<String>, String> {
        let texts = match self {
            Self::Segments => json::elements(value).and_then(|all| all.into_iter().map(json::text).collect()),
            // A number may be given as one.
            Self::Number => Some(vec![json::text(value).unwrap_or_else(|| value.get().to_owned())]),
            Self::Path | Self::Segment | Self::Text | Self::Url => json::text(value).map(|text| vec![text]),
        };
        let texts: Vec<String> = texts.ok_or_else(|| {
            if self == Self::Segments { "must be an array of texts".to_owned() } else { "must be a text".to_owned() }
        })?;
        texts.iter().try_for_each(|text| self.check(text))?;
        Ok(texts)
    }

    /// Checks one text. The error completes the sentence "the member …".
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Segment | Self::Segments => path_segment(text).map(drop).map_err(|error| error.to_string()),
            Self::Text if text.is_empty() => Err("is empty".to_owned()),
            Self::Text => Ok(()),
            Self::Number => match text.parse::<u64>() {
                Ok(_) => Ok(()),
                Err(_) => Err("must be a whole number".to_owned()),
            },
            Self::Url => match text.parse::<Uri>() {
                Ok(url) if matches!(url.scheme_str(), Some("http" | "https")) && !text.contains(['{', '}', '?']) => {
                    if text.ends_with('/') {
                        Err("must not end with a slash".to_owned())
                    } else {
                        Ok(())
                    }
                }
                _ => Err("must be an address such as https://engine.example.com".to_owned()),
            },
            Self::Path => {
                let is_segment = |segment: &str| path_segment(segment).is_ok_and(|encoded| encoded == segment);
                match text.strip_prefix('/') {
                    Some(path) if path.split('/').all(is_segment) => Ok(()),
                    _ => Err("must be a path such as /flow, without a slash at the end".to_owned()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(profile: &str, text: &str) -> Result<Constants, String> {
        Constants::parse(text, &Profile::built_in(profile).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn constants_are_checked_against_the_profile() {
        assert_eq!(parse("boomerang", "").unwrap(), Constants::default());
        let flow = parse("flow", r#"{"team":"acme","base_path":"/a/flow","teams":["b","acme"]}"#).unwrap();
        assert_eq!(flow.all("teams"), ["b", "acme"]);
        assert_eq!((flow.get("team"), flow.get("base_path"), flow.get("other")), (Some("acme"), Some("/a/flow"), None));
        let image = "boomerangio/worker-flow:2.11.15";
        let boomerang = parse("boomerang", &format!(r#"{{"default_image":"{image}"}}"#)).unwrap();
        assert_eq!(boomerang.get("default_image"), Some(image));
    }

    #[test]
    fn error_names_the_member_and_the_fix() {
        for (profile, text, expected) in [
            ("flow", "", "must have a member `team`, which the engine profile `flow` needs"),
            ("flow", "acme", "must be a JSON object, such as"),
            ("flow", "[]", "must be a JSON object, such as"),
            ("flow", r#"{"team":7}"#, "has a member `team` that must be a text"),
            ("flow", r#"{"team":"a","teams":"b"}"#, "has a member `teams` that must be an array of texts"),
            ("flow", r#"{"team":"a","teams":["b","c/d"]}"#, "has a member `teams` that must not contain '/'"),
            (
                "flow",
                r#"{"teem":"acme"}"#,
                "has a member `teem`, which the engine profile `flow` doesn't know: it takes base_path, team, teams",
            ),
            ("flow", r#"{"team":"a/b"}"#, "has a member `team` that must not contain '/'"),
            (
                "flow",
                r#"{"team":"acme","base_path":"flow"}"#,
                "has a member `base_path` that must be a path such as /flow",
            ),
            ("flow", r#"{"team":"acme","base_path":"/flow/"}"#, "has a member `base_path` that must be a path"),
            ("flow", r#"{"team":"acme","base_path":"/../x"}"#, "has a member `base_path` that must be a path"),
            ("boomerang", r#"{"default_image":""}"#, "has a member `default_image` that is empty"),
        ] {
            let error = parse(profile, text).unwrap_err();
            assert!(error.starts_with(expected), "{profile} {text}: {error}");
        }
    }
}
