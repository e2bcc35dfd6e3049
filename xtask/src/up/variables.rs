//! Variables of `spin.toml`: what is misspelt is told before anything is built.

use std::path::Path;

use anyhow::{Context, Result, bail};

const ENVIRONMENT: &str = "SPIN_VARIABLE_";

/// A variable's name and value, from `name=value`.
pub(super) fn parse(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a variable is given as name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The names in a manifest.
pub(super) fn declared(manifest: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(manifest).with_context(|| format!("can't read {}", manifest.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| format!("in {}", manifest.display()))?;
    let variables = manifest.get("variables").and_then(toml::Value::as_table);
    Ok(variables.map(|table| table.keys().cloned().collect()).unwrap_or_default())
}

/// Refuses a name that isn't declared.
pub(super) fn check<'a>(mut given: impl Iterator<Item = &'a str>, declared: &[String]) -> Result<()> {
    match given.find(|name| !is_declared(name, declared)) {
        None => Ok(()),
        Some(name) => bail!("there is no variable {name}{}; spin.toml has them all", suggestion(name, declared)),
    }
}

/// A warning for each variable of the environment that nothing reads.
pub(super) fn unread(environment: impl Iterator<Item = String>, declared: &[String]) -> Vec<String> {
    let names = environment.filter_map(|name| Some(name.strip_prefix(ENVIRONMENT)?.to_lowercase()));
    let unread = names.filter(|name| !is_declared(name, declared));
    unread.map(|name| format!("nothing reads {}{}", in_environment(&name), suggestion(&name, declared))).collect()
}

/// What sets it in the environment.
pub(super) fn in_environment(name: &str) -> String {
    format!("{ENVIRONMENT}{}", name.to_uppercase())
}

fn is_declared(name: &str, declared: &[String]) -> bool {
    declared.iter().any(|known| known == name)
}

fn suggestion(name: &str, declared: &[String]) -> String {
    let likeness = |known: &&String| strsim::jaro_winkler(name, known);
    let nearest = declared.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|known| likeness(known) > 0.8) {
        Some(nearest) => format!(" (did you mean {nearest}?)"),
        None => String::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn ours() -> Vec<String> {
        declared(&crate::shell::root().join("spin.toml")).unwrap()
    }

    #[test]
    fn a_value_may_have_anything_in_it() {
        assert_eq!(parse("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(parse("a").is_err());
    }

    #[test]
    fn a_name_that_is_misspelt_is_told_with_the_nearest() {
        check(ours().iter().map(String::as_str), &ours()).unwrap();
        let error = |name| check(["engine_url", name].into_iter(), &ours()).unwrap_err().to_string();
        let nearest =
            [("engine_ulr", "engine_url"), ("secret_githb", "secret_github"), ("retenton_hours", "retention_hours")];
        for (name, meant) in nearest {
            assert!(error(name).contains(&format!("no variable {name} (did you mean {meant}?)")), "{}", error(name));
        }
        assert!(error("zzz").starts_with("there is no variable zzz;"), "{}", error("zzz"));
    }

    #[test]
    fn what_nothing_reads_is_a_warning() {
        let names = ["HOME", "SPIN_VARIABLE_ENGINE_URL", "SPIN_VARIABLE_ENGIN_URL"].map(str::to_owned);
        let expected = ["nothing reads SPIN_VARIABLE_ENGIN_URL (did you mean engine_url?)"];
        assert_eq!(unread(names.into_iter(), &ours()), expected);
    }
}
