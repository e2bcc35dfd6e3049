//! Prepares three things at compile time:
//!
//! - `docs/openapi.yaml` as compressed JSON, which `/openapi.json` serves. With LZ4 the component is smaller than with
//!   deflate, because the decoder is a sixth of the size.
//! - The index of the presets in `src/sender/presets/` (see `src/sender/preset.rs`), so that neither names nor headers
//!   are parsed at run time, and none can differ from its file. `setup` and `notes` are for documents, and left out.
//! - The engines' profiles in `src/engine/profiles/`, split into their members (see `src/engine/profile.rs`), without the
//!   white space between their values.
#![allow(clippy::disallowed_methods, reason = "cargo passes the output directory in the environment")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use serde_json::value::RawValue;
use serde_json::{Map, Value};

const SOURCE: &str = "docs/openapi.yaml";
const PRESETS: &str = "src/sender/presets";
const PROFILES: &str = "src/engine/profiles";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed={PRESETS}");
    println!("cargo::rerun-if-changed={PROFILES}");
    println!("cargo::rerun-if-changed=build.rs");
    let output = env::var("OUT_DIR")?;
    let output = Path::new(&output);
    let mut document: yaml_serde::Value = yaml_serde::from_str(&fs::read_to_string(SOURCE)?)?;
    document.apply_merge()?;
    let json = serde_json::to_vec(&document)?;
    fs::write(output.join("openapi.json.lz4"), lz4_flex::compress_prepend_size(&json))?;
    let Tables { presets, names, detection } = presets()?;
    fs::write(output.join("presets.rs"), presets)?;
    fs::write(output.join("preset_names.rs"), names)?;
    fs::write(output.join("preset_detection.rs"), detection)?;
    fs::write(output.join("profiles.rs"), profiles()?)?;
    Ok(())
}

/// The members of a profile that are always there.
const REQUIRED: [&str; 2] = ["start", "answers"];
/// Those that may be missing.
const OPTIONAL: [&str; 18] = [
    "settings",
    "required",
    "scope",
    "auth",
    "headers",
    "workflow",
    "run_names",
    "mark",
    "limits",
    "reserved_params",
    "find",
    "look",
    "resume",
    "cancel",
    "describe",
    "run",
    "tasks",
    "wait",
];

/// The profiles by name, as an expression in Rust.
fn profiles() -> Result<String, Box<dyn Error>> {
    let mut profiles = BTreeMap::new();
    for entry in fs::read_dir(PROFILES)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a file without a name")?.to_owned();
        let document = document(&name, &fs::read_to_string(&path)?).map_err(|error| format!("{name}: {error}"))?;
        profiles.insert(name, document);
    }
    Ok(format!("&[{}]", profiles.into_values().collect::<String>()))
}

/// The profile of a file with this name as an expression in Rust: a `Document`.
fn document(file: &str, profile: &str) -> Result<String, Box<dyn Error>> {
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_str(profile)?;
    members.remove("$schema");
    let mut literal = "Document { _schema: None, ".to_owned();
    let answered = statuses(members.get("answers").ok_or("`answers` is missing")?)?;
    write!(literal, "answered: Some(&{:?}), ", Vec::from_iter(answered))?;
    for name in REQUIRED {
        let json = members.remove(name).ok_or_else(|| format!("`{name}` is missing"))?;
        write!(literal, "{name}: Part::of_build({:?}), ", compact(json.get()))?;
    }
    for name in OPTIONAL {
        match members.remove(name) {
            Some(json) => write!(literal, "{name}: Some(Part::of_build({:?})), ", compact(json.get()))?,
            None => write!(literal, "{name}: None, ")?,
        }
    }
    let mut text = |name: &str| members.remove(name).map(|json| serde_json::from_str::<String>(json.get())).transpose();
    if text("name")?.as_deref() != Some(file) {
        return Err("`name` must be that of the file".into());
    }
    let title = text("title")?.ok_or("`title` is missing")?;
    write!(literal, "name: Text::of_build({file:?}), title: Text::of_build({title:?}), ")?;
    for name in ["error_code", "page"] {
        match text(name)? {
            Some(text) => write!(literal, "{name}: Some(Text::of_build({text:?})), ")?,
            None => write!(literal, "{name}: None, ")?,
        }
    }
    let doubt = match text("doubt")?.as_deref() {
        Some("find") => "Find",
        Some("resend") => "Resend",
        Some("hold") => "Hold",
        Some("resend-anyway") => "ResendAnyway",
        _ => return Err("`doubt` is unknown".into()),
    };
    let answer = match text("answer")?.as_deref() {
        None => "None",
        Some("own") => "Some(AnswerForm::Own)",
        Some(_) => return Err("`answer` is unknown".into()),
    };
    if let Some(name) = members.keys().next() {
        return Err(format!("unknown member `{name}`").into());
    }
    writeln!(literal, "doubt: Doubt::{doubt}, answer: {answer} }},")?;
    Ok(literal)
}

/// The ranges of statuses in the rules of a profile, each once.
fn statuses(rules: &RawValue) -> Result<BTreeSet<(u16, u16)>, Box<dyn Error>> {
    let rules: Vec<Map<String, Value>> = serde_json::from_str(rules.get())?;
    let mut ranges = BTreeSet::new();
    for rule in rules {
        let list = rule.get("status").and_then(Value::as_str).ok_or("a rule in `answers` has no `status`")?;
        for item in list.split(',') {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            ranges.insert((first.parse()?, last.parse()?));
        }
    }
    Ok(ranges)
}

/// A JSON text without the white space between its values. The order of members stays, unlike in a [`Value`].
fn compact(json: &str) -> String {
    let (mut in_string, mut is_escaped) = (false, false);
    let mut keeps = |c: &char| {
        let is_kept = in_string || !c.is_ascii_whitespace();
        in_string ^= *c == '"' && !is_escaped;
        is_escaped = in_string && *c == '\\' && !is_escaped;
        is_kept
    };
    json.chars().filter(|c| keeps(c)).collect()
}

/// The presets by name.
type Presets = BTreeMap<String, Map<String, Value>>;

/// The members of a file, as `src/sender/preset.rs` lists them.
const MEMBERS: [&str; 9] = ["title", "aliases", "pages", "setup", "secret", "notes", "detect", "before", "sender"];

/// The table of presets, with its indices, as expressions in Rust.
struct Tables {
    presets: String,
    /// The names and aliases, sorted, each with its preset's index.
    names: String,
    /// The first header of each set by which presets are detected, sorted, with their indices.
    detection: String,
}

fn presets() -> Result<Tables, Box<dyn Error>> {
    let mut presets = Presets::new();
    for entry in fs::read_dir(PRESETS)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a file without a name")?.to_owned();
        let preset: Map<String, Value> =
            serde_json::from_str(&fs::read_to_string(&path)?).map_err(|error| format!("{name}: {error}"))?;
        if let Some(member) = preset.keys().find(|member| !MEMBERS.contains(&member.as_str())) {
            return Err(format!("{name}: unknown member `{member}`").into());
        }
        presets.insert(name, preset);
    }
    let (mut table, mut names) = ("&[\n".to_owned(), BTreeMap::new());
    let mut detection: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (at, name) in order(&presets)?.into_iter().enumerate() {
        entry(&mut table, &name, &presets).map_err(|error| format!("{name}: {error}"))?;
        for first in detect(&presets[&name]).iter().filter_map(|set| set.first()) {
            detection.entry(first).or_default().insert(at);
        }
        for own in std::iter::once(&*name).chain(texts(presets[&name].get("aliases"))) {
            if names.insert(own.to_owned(), at).is_some() {
                return Err(format!("{name}: `{own}` is also another sender's name").into());
            }
        }
    }
    table.push(']');
    let detection =
        detection.into_iter().map(|(first, presets)| format!("({first:?}, &{:?}),", Vec::from_iter(presets)));
    Ok(Tables {
        presets: table,
        names: format!("&{:?}", Vec::from_iter(names)),
        detection: format!("&[{}]", detection.collect::<String>()),
    })
}

/// The names in the order of detection.
fn order(presets: &Presets) -> Result<Vec<String>, String> {
    let mut rest: Vec<&String> = presets.keys().collect();
    let mut order = Vec::new();
    while !rest.is_empty() {
        let is_before = |one: &str, other: &str| texts(presets[one].get("before")).contains(&other);
        let is_next = |name: &&String| !rest.iter().any(|other| is_before(other, name));
        let next = rest.iter().position(is_next).ok_or("`before` is circular")?;
        order.push(rest.remove(next).clone());
    }
    Ok(order)
}

/// Appends a preset to the table.
fn entry(table: &mut String, name: &str, presets: &Presets) -> Result<(), Box<dyn Error>> {
    let preset = &presets[name];
    let sender = preset.get("sender").and_then(Value::as_object).ok_or("`sender` must be an object")?;
    let base = match sender.get("like").and_then(Value::as_str) {
        None => None,
        Some(base) => {
            let base = presets.get(base).and_then(|base| base["sender"].as_object()).ok_or("`like` is unknown")?;
            if base.contains_key("like") {
                return Err("`like` must not name a preset that is like another one".into());
            }
            Some(base)
        }
    };
    let member = |member| sender.get(member).or_else(|| base?.get(member));
    let schemes = schemes(sender, base);
    let marks = match member("marks") {
        Some(marks) => texts(Some(marks)),
        None => schemes.iter().flat_map(|scheme| headers(scheme)).collect(),
    };
    let success = match member("success").and_then(Value::as_str) {
        None | Some("2xx") => "Any2xx",
        Some("200") => "Only200",
        Some("200-empty") => "Empty200",
        Some("204") => "Only204",
        Some(_) => return Err("`success` is unknown".into()),
    };
    let detect = detect(preset);
    if detect.iter().any(Vec::is_empty) {
        return Err("`detect` must be an array of arrays of headers".into());
    }
    writeln!(
        table,
        "Preset {{ name: {name:?}, aliases: &{:?}, title: {:?}, pages: &{:?}, secret: {:?}, marks: &{marks:?}, \
         detect: &[{}], response_policy: ResponsePolicy {{ deadline: {:?}, success: SuccessCriterion::{success} }}, \
         like: {:?}, signs: {:?}, hands_over: {:?}, sender: {:?} }},",
        texts(preset.get("aliases")),
        preset.get("title").and_then(Value::as_str).ok_or("`title` is missing")?,
        texts(preset.get("pages")),
        preset.get("secret").and_then(Value::as_str),
        detect.iter().map(|set| format!("&{set:?}")).collect::<Vec<_>>().join(", "),
        member("deadline").and_then(Value::as_u64),
        sender.get("like").and_then(Value::as_str),
        !schemes.is_empty(),
        member("questions").and_then(Value::as_array).is_some_and(|all| all.iter().any(|it| it.get("keep").is_some())),
        serde_json::to_string(sender)?,
    )?;
    Ok(())
}

/// The sets of headers by which a preset is detected.
fn detect(preset: &Map<String, Value>) -> Vec<Vec<&str>> {
    preset.get("detect").and_then(Value::as_array).into_iter().flatten().map(|set| texts(Some(set))).collect()
}

/// The schemes of a sender: its own, or those of the one that it is like, with the members that it has instead.
fn schemes(sender: &Map<String, Value>, base: Option<&Map<String, Value>>) -> Vec<Map<String, Value>> {
    let listed = |sender: &Map<String, Value>| {
        let schemes = sender.get("schemes")?.as_array()?.iter();
        Some(schemes.filter_map(Value::as_object).cloned().collect::<Vec<_>>())
    };
    let inline = |sender: &Map<String, Value>| sender.contains_key("algorithm").then(|| vec![sender.clone()]);
    if let Some(own) = listed(sender) {
        return own;
    }
    let mut schemes = match base {
        Some(base) => listed(base).or_else(|| inline(base)).unwrap_or_default(),
        None => inline(sender).unwrap_or_default(),
    };
    for scheme in &mut schemes {
        scheme.extend(
            ["headers", "algorithm"].iter().filter_map(|name| Some(((*name).to_owned(), sender.get(*name)?.clone()))),
        );
    }
    schemes
}

/// The headers in which a scheme has the signature.
fn headers(scheme: &Map<String, Value>) -> Vec<&str> {
    let algorithm = scheme.get("algorithm").and_then(Value::as_str).unwrap_or_default();
    let has_default = algorithm == "basic" || algorithm.starts_with("jwt-");
    match texts(scheme.get("headers")) {
        own if !own.is_empty() => own,
        _ if has_default && !scheme.contains_key("signature") => vec!["authorization"],
        _ => Vec::new(),
    }
}

/// The strings in an array.
fn texts(array: Option<&Value>) -> Vec<&str> {
    array.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}
