//! Variables of `spin.toml`, checked for misspelled names before anything is built.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// Prefix of Spin's environment variables.
const ENVIRONMENT: &str = "SPIN_VARIABLE_";

/// Parses `name=value`, as `sluice-host` does: sharing these lines would make this program depend on wasmtime.
pub(super) fn parse(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The names of the variables that a manifest declares.
pub(super) fn declared(manifest: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(manifest).with_context(|| format!("can't read {}", manifest.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| format!("in {}", manifest.display()))?;
    let variables = manifest.get("variables").and_then(toml::Value::as_table);
    Ok(variables.map(|table| table.keys().cloned().collect()).unwrap_or_default())
}

/// Rejects names that aren't declared.
pub(super) fn check<'a>(mut given: impl Iterator<Item = &'a str>, declared: &[String]) -> Result<()> {
    match given.find(|name| !is_declared(name, declared)) {
        None => Ok(()),
        Some(name) => bail!("unknown variable {name}{}; spin.toml lists all variables", suggestion(name, declared)),
    }
}

/// A warning for each environment variable that sets an undeclared variable.
pub(super) fn unused(environment: impl Iterator<Item = String>, declared: &[String]) -> Vec<String> {
    let names = environment.filter_map(|name| Some(name.strip_prefix(ENVIRONMENT)?.to_lowercase()));
    let unused = names.filter(|name| !is_declared(name, declared));
    let warning = |name: String| {
        let suggestion = suggestion(&name, declared);
        format!("{} has no effect: spin.toml declares no such variable{suggestion}", in_environment(&name))
    };
    unused.map(warning).collect()
}

/// The environment variable that sets a variable.
pub(super) fn in_environment(name: &str) -> String {
    format!("{ENVIRONMENT}{}", name.to_uppercase())
}

fn is_declared(name: &str, declared: &[String]) -> bool {
    declared.iter().any(|known| known == name)
}

/// ` (did you mean …?)` with the most similar name; empty if no name is similar.
fn suggestion(name: &str, declared: &[String]) -> String {
    let similarity = |known: &&String| strsim::jaro_winkler(name, known);
    let nearest = declared.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    match nearest.filter(|known| similarity(known) > 0.8) {
        Some(nearest) => format!(" (did you mean {nearest}?)"),
        None => String::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn declared_by_sluice() -> Vec<String> {
        declared(&xtask::shell::root().join("spin.toml")).unwrap()
    }

    #[test]
    fn value_may_contain_an_equals_sign() {
        assert_eq!(parse("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(parse("a").is_err());
    }

    #[test]
    fn misspelled_name_is_reported_with_the_nearest_one() {
        check(declared_by_sluice().iter().map(String::as_str), &declared_by_sluice()).unwrap();
        let error = |name| check(["engine_url", name].into_iter(), &declared_by_sluice()).unwrap_err().to_string();
        let nearest = [("engine_ulr", "engine_url"), ("setings", "settings"), ("operatr_token", "operator_token")];
        for (name, meant) in nearest {
            assert!(
                error(name).contains(&format!("unknown variable {name} (did you mean {meant}?)")),
                "{}",
                error(name)
            );
        }
        assert!(error("zzz").starts_with("unknown variable zzz;"), "{}", error("zzz"));
    }

    #[test]
    fn environment_variable_without_effect_is_a_warning() {
        let names = ["HOME", "SPIN_VARIABLE_ENGINE_URL", "SPIN_VARIABLE_ENGIN_URL"].map(str::to_owned);
        let expected =
            ["SPIN_VARIABLE_ENGIN_URL has no effect: spin.toml declares no such variable (did you mean engine_url?)"];
        assert_eq!(unused(names.into_iter(), &declared_by_sluice()), expected);
    }
}
