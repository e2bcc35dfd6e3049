//! Application variables and the `{{ templates }}` that use them.

use std::collections::BTreeMap;
use std::env::VarError;

use anyhow::{Result, ensure};

use crate::spin::manifest;

/// An error of a variable or a template, with the reason. The reason contains names only, never a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Error {
    InvalidName(String),
    InvalidTemplate(String),
    Undefined(String),
    Provider(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::InvalidName(reason) => write!(f, "invalid variable name: {reason}"),
            Error::InvalidTemplate(reason) => write!(f, "invalid variable template: {reason}"),
            Error::Undefined(reason) => write!(f, "undefined variable: {reason}"),
            Error::Provider(reason) => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// The application's variables.
///
/// Their values don't change while the host runs, so each is looked up once, unless it is to cost what it costs in Spin
/// ([`Costs::variables`](crate::spin::costs::Costs::variables)). Spin asks its providers each time, because some of them
/// are remote services.
#[derive(Debug)]
pub(crate) struct Variables {
    declared: BTreeMap<String, Variable>,
    /// The values of the command line; `None` unless each use looks its variable up.
    look_up: Option<BTreeMap<String, String>>,
}

/// A declared variable, with its value or the reason why it has none.
#[derive(Debug)]
struct Variable {
    default: Option<String>,
    value: Result<String, Error>,
}

impl Variables {
    /// Resolves the declared variables: `given` overrides the environment, which overrides the defaults. A required
    /// variable without a value is an error, and so is a given one that isn't declared.
    pub(crate) fn new(
        declared: &BTreeMap<String, manifest::Variable>,
        given: BTreeMap<String, String>,
    ) -> Result<Variables> {
        for name in declared.keys() {
            check_name(name)?;
        }
        for name in given.keys() {
            ensure!(declared.contains_key(name), "the manifest doesn't declare a variable {name}");
        }
        let mut missing = Vec::new();
        let mut variables = BTreeMap::new();
        for (name, declared) in declared {
            let value = match (given.get(name).cloned(), std::env::var(environment_name(name))) {
                (Some(given), _) => Ok(given),
                (None, Ok(value)) => Ok(value),
                (None, Err(VarError::NotUnicode(_))) => Err(not_utf8(name)),
                (None, Err(VarError::NotPresent)) => declared.default.clone().ok_or_else(|| no_value(name)),
            };
            if value.is_err() {
                missing.push(format!("{name} (--variable {name}=… or {})", environment_name(name)));
            }
            variables.insert(name.clone(), Variable { default: declared.default.clone(), value });
        }
        ensure!(missing.is_empty(), "required variables have no value: {}", missing.join(", "));
        Ok(Variables { declared: variables, look_up: None })
    }

    /// Looks a variable up each time that it is used: `given`, then the environment, then the default.
    pub(crate) fn look_up_each_time(&mut self, given: BTreeMap<String, String>) {
        self.look_up = Some(given);
    }

    /// The value of a variable.
    pub(crate) fn value(&self, name: &str) -> Result<String, Error> {
        let variable = self.declared.get(name).ok_or_else(|| Error::InvalidName(name.to_owned()))?;
        let Some(given) = &self.look_up else {
            return variable.value.clone();
        };
        if let Some(given) = given.get(name) {
            return Ok(given.clone());
        }
        let _span = tracing::debug_span!("spin_variables.get_from_env", key = name).entered();
        match tokio::task::block_in_place(|| std::env::var(environment_name(name))) {
            Ok(value) => Ok(value),
            Err(VarError::NotPresent) => variable.default.clone().ok_or_else(|| no_value(name)),
            Err(VarError::NotUnicode(_)) => Err(not_utf8(name)),
        }
    }

    /// The variables with the values that they have now.
    pub(crate) fn resolve_all(&self) -> Result<Variables, Error> {
        let resolved = |name: &String| {
            let variable = Variable { default: None, value: Ok(self.value(name)?) };
            Ok((name.clone(), variable))
        };
        Ok(Variables { declared: self.declared.keys().map(resolved).collect::<Result<_, _>>()?, look_up: None })
    }

    /// Parses a template, which may refer to declared variables only.
    pub(crate) fn template(&self, text: &str) -> Result<Template, Error> {
        let template = Template::parse(text)?;
        for part in &template.0 {
            if let Part::Variable(name) = part
                && !self.declared.contains_key(name)
            {
                return Err(Error::InvalidTemplate(format!("unknown variable {name:?}")));
            }
        }
        Ok(template)
    }

    /// The value of a template.
    pub(crate) fn resolve(&self, template: &Template) -> Result<String, Error> {
        template.fill(|name| self.value(name))
    }

    /// The value of a template with the variables' defaults; `None` if one of them has no default.
    pub(crate) fn resolve_defaults(&self, template: &Template) -> Option<String> {
        let default = |name: &str| self.declared.get(name).and_then(|variable| variable.default.clone()).ok_or(());
        template.fill(default).ok()
    }
}

fn no_value(name: &str) -> Error {
    Error::Provider(format!("no provider resolved required variable {name:?}"))
}

fn not_utf8(name: &str) -> Error {
    Error::Provider(format!("{} isn't UTF-8", environment_name(name)))
}

fn environment_name(name: &str) -> String {
    format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())
}

/// Checks that a name is `lower_snake_case`, which maps one-to-one to a name in the environment.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let is_valid = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.ends_with('_')
        && !name.contains("__");
    is_valid.then_some(()).ok_or_else(|| {
        Error::InvalidName(format!(
            "{name:?}: must consist of lower-case letters, digits and single underscores, and start with a letter"
        ))
    })
}

/// Text with `{{ variable }}` placeholders.
#[derive(Debug, PartialEq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Literal(String),
    Variable(String),
}

impl Template {
    fn parse(mut text: &str) -> Result<Template, Error> {
        let mut parts = Vec::new();
        while !text.is_empty() {
            if let Some(rest) = text.strip_prefix("{{") {
                let (name, rest) = rest
                    .split_once("}}")
                    .ok_or_else(|| Error::InvalidTemplate("unmatched '{{' in template".to_owned()))?;
                parts.push(Part::Variable(name.trim().to_owned()));
                text = rest;
            } else {
                let (literal, rest) = text.split_at(text.find("{{").unwrap_or(text.len()));
                parts.push(Part::Literal(literal.to_owned()));
                text = rest;
            }
        }
        Ok(Template(parts))
    }

    pub(crate) fn is_literal(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    fn fill<E>(&self, value: impl Fn(&str) -> Result<String, E>) -> Result<String, E> {
        let part = |part: &Part| match part {
            Part::Literal(literal) => Ok(literal.clone()),
            Part::Variable(name) => value(name),
        };
        self.0.iter().map(part).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn variables(given: &[(&str, &str)]) -> Result<Variables> {
        let declared = toml::from_str("url = { default = 'http://a' }\ntoken = { required = true }").unwrap();
        let given = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Variables::new(&declared, given)
    }

    #[test]
    fn given_values_override_defaults() {
        let variables = variables(&[("token", "t"), ("url", "http://b")]).unwrap();
        let template = variables.template("{{ url }}/x?{{token}}").unwrap();
        assert_eq!(variables.resolve(&template).unwrap(), "http://b/x?t");
        assert_eq!(variables.resolve_defaults(&template), None);
        let template = variables.template("{{ url }}/x").unwrap();
        assert_eq!(variables.resolve_defaults(&template).unwrap(), "http://a/x");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn variables_that_are_looked_up_have_the_same_values() {
        let mut variables = variables(&[("token", "t")]).unwrap();
        let template = variables.template("{{ url }}/{{ token }}").unwrap();
        variables.look_up_each_time([("token".to_owned(), "t2".to_owned())].into());
        assert_eq!(variables.resolve(&template).unwrap(), "http://a/t2");
        assert_eq!(variables.resolve_all().unwrap().resolve(&template).unwrap(), "http://a/t2");
        variables.look_up_each_time(BTreeMap::new());
        assert!(matches!(variables.resolve_all(), Err(Error::Provider(_))));
    }

    #[test]
    fn missing_and_undeclared_variables_are_named_at_the_start() {
        let missing = variables(&[]).unwrap_err().to_string();
        assert!(missing.contains("token") && missing.contains("SPIN_VARIABLE_TOKEN"), "{missing}");
        let unknown = variables(&[("token", "hush"), ("tokne", "hush")]).unwrap_err().to_string();
        assert!(unknown.contains("tokne") && !unknown.contains("hush"), "{unknown}");
    }

    #[test]
    fn templates_must_be_closed_and_refer_to_declared_variables() {
        let variables = variables(&[("token", "t")]).unwrap();
        assert!(matches!(variables.template("{{ url"), Err(Error::InvalidTemplate(_))));
        assert!(matches!(variables.template("{{ nope }}"), Err(Error::InvalidTemplate(_))));
        assert!(variables.template("plain").unwrap().is_literal());
    }

    /// Only the manifest's text is a template. JSON with nested objects has braces side by side. Spin joins the values in
    /// the same way: `ProviderResolver::resolve_template` in its crate `expressions`.
    #[test]
    fn braces_in_a_value_are_not_expanded() {
        let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../spin.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let declared = manifest["variables"].clone().try_into().unwrap();
        let values = [
            ("settings", r#"{"engine":{"team":{{"a":{}}}}}"#),
            ("sources", r#"[{"name":"{{ engine_token }}","sender":{"id":{"pointer":"/a"}}}]"#),
            ("routes", "{{"),
            ("engine_token", "{{ engine_token }}"),
        ];
        let given = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let variables = Variables::new(&declared, given).unwrap();
        let of_component = manifest["component"]["sluice"]["variables"].as_table().unwrap();
        for (name, value) in values {
            let template = variables.template(of_component[name].as_str().unwrap()).unwrap();
            assert_eq!(variables.resolve(&template).unwrap(), value);
        }
        let packed = variables.template(of_component["packed"].as_str().unwrap()).unwrap();
        let packed = variables.resolve(&packed).unwrap();
        for (name, value) in values.iter().filter(|(name, _)| *name != "routes") {
            let pair = format!("{name}={value}");
            assert!(packed.split('\u{1f}').any(|part| part == pair), "{name}: {packed}");
        }
        assert_eq!(packed.split('\u{1f}').count(), 7);
    }

    #[test]
    fn names_are_lower_snake_case() {
        for name in ["a", "engine_url", "a1"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "A", "1a", "a_", "a__b", "a-b", "_a"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
