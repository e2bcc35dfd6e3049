//! The table in docs/senders.md, the pages in docs/senders/ and their list in docs/SUMMARY.md are made from the presets.
//!
//! After a change of a preset, `INSTA_UPDATE=always cargo test --test it docs::senders` rewrites them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};
use sluice::config::MOVED;
use sluice::sender::{
    Algorithm, Descriptor, Encoding, HeaderFormat, KeySource, PRESETS, Part, Preset, Repeat, RequiredRule, Sender,
    SuccessCriterion, TimestampLocation, ValueLocation,
};

use super::read;

/// Maximum length of a line outside tables, in bytes.
const WIDTH: usize = 120;

/// The comments around the table.
const BEGIN: &str = "<!-- Made from src/sender/presets by tests/it/docs/senders.rs. -->\n\n";
const END: &str = "\n<!-- End of the table. -->\n";

/// The item of docs/SUMMARY.md under which the pages of senders are listed.
const PARENT: &str = "- [Senders](senders.md)\n";

fn by_name() -> Vec<&'static Preset> {
    let mut presets: Vec<_> = PRESETS.iter().collect();
    presets.sort_by_key(|preset| preset.name);
    presets
}

fn file(preset: &Preset) -> Value {
    serde_json::from_str(&read(format!("src/sender/presets/{}.json", preset.name))).unwrap()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap())
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A header's name as it is usually written: `X-Hub-Signature`.
fn header(name: &str) -> String {
    let words = name.split('-').map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]));
    code(&words.collect::<Vec<_>>().join("-"))
}

/// A location in words.
fn place(location: &ValueLocation) -> String {
    match location {
        ValueLocation::Header(name) => format!("the header {}", header(name)),
        ValueLocation::Pointer(pointer) => {
            format!("the member {} of the body", code(&pointer.trim_start_matches('/').replace('/', ".")))
        }
        ValueLocation::Form(name) => format!("the form's field {}", code(name)),
        ValueLocation::Query(name) => format!("the parameter {}", code(name)),
        ValueLocation::Field(name) => format!("the part {} of the signature", code(name)),
        ValueLocation::Claim(name) => format!("the claim {}", code(name)),
    }
}

/// The same, for a narrow cell.
fn short(location: &ValueLocation) -> String {
    match location {
        ValueLocation::Header(name) => header(name),
        ValueLocation::Pointer(pointer) => code(&pointer.trim_start_matches('/').replace('/', ".")),
        other => place(other),
    }
}

fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HmacSha1 => "HMAC-SHA1",
        Algorithm::HmacSha256 => "HMAC-SHA256",
        Algorithm::HmacSha384 => "HMAC-SHA384",
        Algorithm::HmacSha512 => "HMAC-SHA512",
        Algorithm::Sha1 => "SHA-1 with the secret",
        Algorithm::Sha256 => "SHA-256 with the secret",
        Algorithm::Sha384 => "SHA-384 with the secret",
        Algorithm::Sha512 => "SHA-512 with the secret",
        Algorithm::Ed25519 => "Ed25519",
        Algorithm::EcdsaP256 => "ECDSA with P-256 and SHA-256",
        Algorithm::RsaSha1 => "RSA with SHA-1",
        Algorithm::RsaSha256 => "RSA with SHA-256",
        Algorithm::JwtHs256 => "a JSON Web Token, HS256",
        Algorithm::JwtHs384 => "a JSON Web Token, HS384",
        Algorithm::JwtHs512 => "a JSON Web Token, HS512",
        Algorithm::JwtRs256 => "a JSON Web Token, RS256",
        Algorithm::JwtEs256 => "a JSON Web Token, ES256",
        Algorithm::Token => "none: the secret itself",
        Algorithm::Basic => "none: user and password",
    }
}

/// The signed parts, in words.
fn signed(descriptor: &Descriptor) -> String {
    if descriptor.algorithm.is_bearer() {
        return "nothing".to_owned();
    }
    if let Some(rules) = descriptor.jwt.as_ref().filter(|_| descriptor.algorithm.is_jwt()) {
        let parts: Vec<_> =
            [rules.body.as_ref().map(|_| "body"), rules.url.as_ref().map(|_| "URL")].into_iter().flatten().collect();
        return if parts.is_empty() { "the token alone".to_owned() } else { parts.join(", ") };
    }
    fn name(part: &Part) -> Option<String> {
        Some(match part {
            Part::Body => "body".to_owned(),
            Part::BodyCrc32 => "CRC-32 of the body".to_owned(),
            Part::BodySha256 => "SHA-256 of the body".to_owned(),
            Part::Timestamp => "time".to_owned(),
            Part::Id => "id".to_owned(),
            Part::Url => "URL".to_owned(),
            Part::Method => "method".to_owned(),
            Part::Params => "the form's fields, or the body by its digest".to_owned(),
            Part::Value(location) => short(location),
            Part::Constant(name) => code(name),
            Part::If(_, parts) => {
                let parts: Vec<_> = parts.iter().filter_map(name).collect();
                format!("{} if there", parts.join(", "))
            }
            Part::Secret | Part::Signature | Part::Text(_) => return None,
        })
    }
    descriptor.signed.parts().iter().filter_map(name).collect::<Vec<_>>().join(", ")
}

/// The place of the signature.
fn carried(descriptor: &Descriptor) -> String {
    match &descriptor.location {
        Some(location) => place(location),
        None => descriptor.headers.iter().map(|name| header(name)).collect::<Vec<_>>().join(", "),
    }
}

/// The recognition of repeated events: in a cell, and in a sentence.
fn identity(descriptor: &Descriptor) -> (String, String) {
    match (&descriptor.id, descriptor.repeat) {
        (Some(id), _) if descriptor.id_is_covered() => (
            short(id),
            format!("An event is known by {}: a request that repeats it is a duplicate, whatever else it contains.", place(id)),
        ),
        (Some(id), repeat) => {
            let without = match repeat {
                Some(Repeat::Body) => " Without it, a request that repeats the signed content is a duplicate.",
                None => "",
            };
            (
                format!("{} with the body", short(id)),
                format!(
                    "An event is known by {} together with the signed content, since the id is not signed.{without}",
                    place(id)
                ),
            )
        }
        (None, Some(Repeat::Body)) => (
            "the body".to_owned(),
            "There is no id: a request that repeats the signed content is a duplicate.".to_owned(),
        ),
        (None, None) => (
            "none".to_owned(),
            "Nothing tells a repeated event from another one, unless the request has an `Idempotency-Key`: each request \
             starts a run. Set `\"repeat\":\"body\"` in the source if two events never have the same body."
                .to_owned(),
        ),
    }
}

fn unsigned() -> (String, String) {
    let sentence = "Nothing tells a repeated event from another one, unless the request has an `Idempotency-Key`: each \
                    request starts a run.";
    ("none".to_owned(), sentence.to_owned())
}

fn success(criterion: SuccessCriterion) -> &'static str {
    match criterion {
        SuccessCriterion::Any2xx => "2xx",
        SuccessCriterion::Only200 => "200",
        SuccessCriterion::Empty200 => "200, empty",
        SuccessCriterion::Only204 => "204",
    }
}

fn deadline(preset: &Preset) -> String {
    preset.response_policy.deadline.map_or("–".to_owned(), |seconds| format!("{seconds} s"))
}

/// Texts without repetition, in order.
fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts.filter(|text| seen.insert(text.clone())).collect()
}

fn row(preset: &Preset) -> String {
    let sender = Sender::of(preset);
    let signs =
        distinct(sender.schemes.iter().map(|scheme| format!("{}: {}", algorithm(scheme.algorithm), signed(scheme))));
    let ids = distinct(sender.schemes.iter().map(|scheme| identity(scheme).0));
    let join = |texts: Vec<String>, without: &str| if texts.is_empty() { without.to_owned() } else { texts.join("; ") };
    let names: Vec<_> = preset.names().map(code).collect();
    format!(
        "| [{}](senders/{}.md) | {} | {} | {} | {} | {} |\n",
        preset.title,
        preset.name,
        names.join(", "),
        join(signs, "nothing"),
        join(ids, "none"),
        deadline(preset),
        success(preset.response_policy.success)
    )
}

fn table() -> String {
    let mut table =
        "| Sender | `sender` | Signature | Event known by | Deadline | Success |\n|---|---|---|---|---|---|\n"
            .to_owned();
    table.extend(by_name().into_iter().map(row));
    table
}

/// Breaks a text into lines. Those after the first are indented.
fn wrapped(first: &str, indent: &str, text: &str) -> String {
    let mut lines = vec![first.to_owned()];
    let mut is_empty = true;
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if is_empty || line.len() + 1 + word.len() <= WIDTH {
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
        } else {
            lines.push(format!("{indent}{word}"));
        }
        is_empty = false;
    }
    lines.join("\n") + "\n"
}

/// The source of an example.
fn source(preset: &Preset, sender: &Sender) -> String {
    let name = format!("my-{}", preset.name);
    let mut source = json!({ "name": name, "sender": preset.name });
    let rules: Vec<_> =
        sender.schemes.iter().filter_map(|scheme| scheme.jwt.as_ref()).flat_map(|rules| &rules.required).collect();
    if preset.secret.is_some() {
        source["secrets"] = json!(["SECRET"]);
    }
    for rule in rules {
        match rule {
            RequiredRule::Audience => source["audience"] = json!("AUDIENCE"),
            RequiredRule::Issuer => source["issuer"] = json!("ISSUER"),
        }
    }
    // The members that the preset leaves to the source.
    let constants = sender.schemes.iter().flat_map(|scheme| &scheme.constants);
    let claims = sender.schemes.iter().filter_map(|scheme| scheme.jwt.as_ref()).flat_map(|rules| &rules.claims);
    for (name, _) in constants.filter(|(_, text)| text.is_empty()) {
        source["sender"] = json!({ "like": preset.name, "constants": { name.as_str(): name.to_uppercase() } });
    }
    for (name, _) in claims.filter(|(_, text)| text.is_empty()) {
        source["sender"] = json!({ "like": preset.name, "jwt": { "claims": { name.as_str(): name.to_uppercase() } } });
    }
    if !preset.signs || sender.questions.iter().any(|question| question.token.is_some()) {
        source["tokens"] = json!(["TOKEN"]);
    }
    // The members in the order in which people write them.
    let members = ["name", "sender", "secrets", "audience", "issuer", "tokens"];
    let member = |name: &&str| source.get(*name).map(|value| format!("\"{name}\":{value}"));
    format!("[{{{}}}]", members.iter().filter_map(member).collect::<Vec<_>>().join(","))
}

fn page(preset: &Preset) -> String {
    let file = file(preset);
    let sender = Sender::of(preset);
    let mut page = format!("# {}\n\n", preset.title);
    let names: Vec<_> = preset.names().map(code).collect();
    let _ = writeln!(page, "Sender {}. See [all senders](../senders.md).\n\n## Set-up\n", names.join(" or "));
    for (index, line) in texts(&file["setup"]).enumerate() {
        page.push_str(&wrapped(&format!("{}. ", index + 1), "   ", line));
    }
    let mut query = "ref=WORKFLOW".to_owned();
    let is_shared = |mark: &&str| *mark == "authorization";
    if preset.marks.is_empty() || preset.marks.iter().all(is_shared) {
        let _ = write!(query, "&source=my-{}", preset.name);
    }
    if !preset.signs {
        query.push_str("&access_token=TOKEN");
    }
    let secret = preset.secret.map_or(String::new(), |secret| format!(" As a secret, set {secret}."));
    let url = format!("The URL is `https://YOUR-HOST/api/v2/webhook?{query}`.{secret}");
    let _ = write!(page, "\n{}\n```json\n{}\n```\n\n## Facts\n\n", wrapped("", "", &url), source(preset, &sender));

    page.push_str("| | |\n|---|---|\n");
    let mut fact = |name: &str, values: Vec<String>| {
        if !values.is_empty() {
            let _ = writeln!(page, "| {name} | {} |", values.join("; "));
        }
    };
    let schemes = || sender.schemes.iter();
    fact(
        "Signature",
        distinct(schemes().map(|scheme| {
            let encoding = match (scheme.algorithm.is_bearer() || scheme.algorithm.is_jwt(), scheme.encoding) {
                (true, _) => "",
                (false, Encoding::Hex) => ", in hexadecimal",
                (false, Encoding::Base64) => ", in base64",
                (false, Encoding::Base64Url) => ", in base64url",
            };
            format!("{}{encoding}", algorithm(scheme.algorithm))
        })),
    );
    if !preset.signs {
        fact("Signature", vec!["none: an access token in the URL authenticates it".to_owned()]);
    }
    fact(
        "In",
        distinct(schemes().map(|scheme| {
            let form = match &scheme.header_format {
                HeaderFormat::Single if scheme.prefix.is_empty() => String::new(),
                HeaderFormat::Single => format!(", after {}", code(&scheme.prefix)),
                HeaderFormat::List(_) => format!(", each after {}", code(&scheme.prefix)),
                HeaderFormat::Pairs { signature, .. } => format!(", as {}", code(&format!("{signature}=…"))),
            };
            format!("{}{form}", carried(scheme))
        })),
    );
    fact("Signed", distinct(schemes().map(signed)));
    fact(
        "Time of sending",
        distinct(schemes().filter_map(|scheme| {
            let spec = scheme.timestamp.as_ref()?;
            let place = match &spec.location {
                TimestampLocation::Header(name) => header(name),
                TimestampLocation::Field(name) => format!("{} in the signature", code(name)),
                TimestampLocation::Pointer(pointer) => place(&ValueLocation::Pointer(pointer.clone())),
                TimestampLocation::Claim(name) => place(&ValueLocation::Claim(name.clone())),
            };
            Some(format!("{place}; at most {} seconds from now", spec.tolerance))
        })),
    );
    fact(
        "Keys",
        distinct(schemes().filter_map(|scheme| {
            Some(match scheme.keys.as_ref()? {
                KeySource::Jwks(url) => code(url),
                KeySource::Certificate { urls, .. } => urls.iter().map(|url| code(url)).collect::<Vec<_>>().join(", "),
            })
        })),
    );
    fact("Type of the event", distinct(schemes().filter_map(|scheme| scheme.event_type.as_ref().map(place))));
    fact(
        "Questions",
        sender
            .questions
            .iter()
            .map(|question| {
                let method = serde_json::to_value(question.method).unwrap();
                let terms = match (&question.token, question.signed) {
                    (Some(_), _) => ", with a token of the source",
                    (None, true) => ", once its signature is verified",
                    (None, false) => "",
                };
                format!("{}, answered{terms}", method.as_str().unwrap())
            })
            .collect(),
    );
    fact("Deadline, success", vec![format!("{}, {}", deadline(preset), success(preset.response_policy.success))]);
    page.push('\n');
    let identities = distinct(schemes().map(|scheme| identity(scheme).1));
    let identities = if identities.is_empty() { vec![unsigned().1] } else { identities };
    for sentence in identities {
        page.push_str(&wrapped("", "", &sentence));
    }
    let notes: Vec<_> = texts(&file["notes"]).collect();
    if !notes.is_empty() {
        page.push('\n');
    }
    for note in notes {
        page.push_str(&wrapped("- ", "  ", note));
    }
    page.push_str("\n## Pages\n\n");
    for link in preset.pages {
        let _ = writeln!(page, "- <{link}>");
    }
    page
}

/// Compares a file with what it must contain, or writes it.
fn check(path: &str, expected: &str) {
    let full = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let found = fs::read_to_string(&full).unwrap_or_default();
    if found == expected {
        return;
    }
    assert!(super::is_update(), "{path} is stale: run `INSTA_UPDATE=always cargo test --test it docs::senders`");
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(full, expected).unwrap();
}

#[test]
fn table_of_senders_is_made_from_the_presets() {
    let page = read("docs/senders.md");
    let (before, rest) = page.split_once(BEGIN).expect("docs/senders.md lacks the comment before the table");
    let (_, after) = rest.split_once(END).expect("docs/senders.md lacks the comment after the table");
    check("docs/senders.md", &format!("{before}{BEGIN}{}{END}{after}", table()));
}

#[test]
fn senders_in_the_summary_are_made_from_the_presets() {
    let summary = read("docs/SUMMARY.md");
    let (before, rest) = summary.split_once(PARENT).expect("docs/SUMMARY.md lacks the page of all senders");
    let (_, after) = rest.split_once("\n\n").expect("docs/SUMMARY.md ends with the senders");
    let mut items: Vec<_> =
        PRESETS.iter().map(|preset| format!("  - [{}](senders/{}.md)", preset.title, preset.name)).collect();
    items.sort_by_key(|item| item.to_lowercase());
    check("docs/SUMMARY.md", &format!("{before}{PARENT}{}\n\n{after}", items.join("\n")));
}

#[test]
fn pages_of_senders_are_made_from_the_presets() {
    let mut expected = BTreeSet::new();
    for preset in by_name() {
        check(&format!("docs/senders/{}.md", preset.name), &page(preset));
        expected.insert(format!("{}.md", preset.name));
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/senders");
    let found = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(expected, found);
}

/// Each example is a source that Sluice takes, and nothing of it is an old variable.
#[test]
fn examples_of_sources_are_valid() {
    for preset in PRESETS {
        let text = source(preset, &Sender::of(preset));
        let sources = sluice::source::Sources::parse(&text, Vec::new()).unwrap();
        assert_eq!(sources.stopped(), [], "{text}");
    }
    let text = by_name().into_iter().map(page).collect::<String>() + read("docs/senders.md").as_str();
    for variable in MOVED.iter().map(|moved| moved.variable).filter(|name| name.starts_with("secret_")) {
        assert!(!text.contains(variable), "{variable}");
    }
}

/// The table of answers has the deadlines and the answers of the presets that it lists. The columns on retries and pages
/// are the vendors' own.
#[test]
fn table_of_answers_follows_the_presets() {
    let page = read("docs/senders.md");
    let (_, section) = page.split_once("\n## What senders make of an answer\n").expect("no section on answers");
    let mut rows = 0;
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let name = line.split('`').nth(1).unwrap();
        let preset = Preset::by_name(name).unwrap_or_else(|| panic!("no preset has this name: {line}"));
        let answer = match preset.response_policy.success {
            SuccessCriterion::Any2xx => "| 200 with the run, 202 |",
            SuccessCriterion::Only200 => "| 200 with the run; 200 if stored |",
            SuccessCriterion::Empty200 => "| 200, empty |",
            SuccessCriterion::Only204 => "| 204 |",
        };
        assert!(line.contains(answer) && line.contains(&deadline(preset)), "{answer} {}: {line}", deadline(preset));
        rows += 1;
    }
    assert!(rows > 15, "{rows}");
}
