//! Sources given on the command line, as the JSON of the variable `sources`.

use serde_json::{Value, json};

/// The prefix of a token, in place of a secret.
const TOKEN: &str = "token:";

/// A source: its name, and its secret or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    name: String,
    proof: Proof,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof {
    /// The secret of the known sender that the source has the name of.
    Secret(String),
    Token(String),
}

/// Parses `NAME=SECRET` or `NAME=token:TOKEN`. Sluice itself says whether the name is a sender's.
pub(super) fn parse(text: &str) -> Result<Source, String> {
    let rule = "must be SENDER=SECRET, or NAME=token:TOKEN";
    let (name, proof) = text.split_once('=').ok_or(rule)?;
    let proof = match proof.strip_prefix(TOKEN) {
        Some(token) => Proof::Token(token.to_owned()),
        None => Proof::Secret(proof.to_owned()),
    };
    match &proof {
        Proof::Token(text) | Proof::Secret(text) if name.is_empty() || text.is_empty() => Err(rule.to_owned()),
        _ => Ok(Source { name: name.to_owned(), proof }),
    }
}

/// The value of the variable `sources`. Secrets with the same name are those of one source.
pub(super) fn variable(sources: &[Source]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for source in sources {
        if !names.contains(&source.name.as_str()) {
            names.push(&source.name);
        }
    }
    let of_name = |name: &str| {
        let own = || sources.iter().filter(|source| source.name == name).map(|source| &source.proof);
        let secrets: Vec<_> =
            own().filter_map(|proof| if let Proof::Secret(text) = proof { Some(text) } else { None }).collect();
        let tokens: Vec<_> =
            own().filter_map(|proof| if let Proof::Token(text) = proof { Some(text) } else { None }).collect();
        let mut source = json!({ "name": name });
        if let Some(members) = source.as_object_mut() {
            if !secrets.is_empty() {
                members.insert("sender".to_owned(), name.into());
                members.insert("secrets".to_owned(), json!(secrets));
            }
            if !tokens.is_empty() {
                members.insert("tokens".to_owned(), json!(tokens));
            }
        }
        source
    };
    names.into_iter().map(of_name).collect::<Value>().to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn json_of(texts: &[&str]) -> Value {
        let sources: Vec<_> = texts.iter().map(|text| parse(text).unwrap()).collect();
        serde_json::from_str(&variable(&sources)).unwrap()
    }

    #[test]
    fn source_has_the_secret_of_its_sender_or_a_token() {
        let found = json_of(&["github=new=1", "partner=token:t:1", "github=old", "slack=s"]);
        let expected = json!([
            {"name": "github", "sender": "github", "secrets": ["new=1", "old"]},
            {"name": "partner", "tokens": ["t:1"]},
            {"name": "slack", "sender": "slack", "secrets": ["s"]},
        ]);
        assert_eq!(found, expected);
        for wrong in ["github", "=s", "github=", "partner=token:"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
