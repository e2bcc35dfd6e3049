//! Prepares three things at compile time:
//!
//! - `docs/openapi.yaml` as compressed JSON, which `/openapi.json` serves. With LZ4 the component is smaller than with
//!   deflate, because the decoder is a sixth of the size.
//! - The index of the presets in `src/sender/presets/` (see `src/sender/preset.rs`), so that neither names nor headers
//!   are parsed at run time, and none can differ from its file. `setup` and `notes` are for documents, and left out.
//! - The engines' profiles in `src/engine/profiles/`, split into their members (see `src/engine/profile.rs`), without the
//!   white space between their values. `start`, `run` and `limits`, which each start of a run needs, are read as well.
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

/// The members of a profile that stay JSON and may be missing.
const OPTIONAL: [&str; 15] = [
    "settings",
    "required",
    "scope",
    "auth",
    "workflow",
    "run_names",
    "mark",
    "reserved_params",
    "find",
    "look",
    "resume",
    "cancel",
    "describe",
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
    let answers = members.remove("answers").ok_or("`answers` is missing")?;
    write!(literal, "answers: Part::of_build({:?}), ", compact(answers.get()))?;
    write!(literal, "answered: Some(&{:?}), ", Vec::from_iter(statuses(answers)?))?;
    let mut form = |name: &str| members.remove(name).map(|json| serde_json::from_str::<Form>(json.get())).transpose();
    let start = form("start")?.ok_or("`start` is missing")?;
    write!(literal, "start: Lazy::Read(&{}), ", start_form(start)?)?;
    let run = form("run")?.map(run_form).transpose()?;
    write!(literal, "run: {}, ", option(run.map(|run| format!("Lazy::Read(&{run})"))))?;
    let limits = form("limits")?.map(limits_form).transpose()?;
    write!(literal, "limits: {}, ", option(limits.map(|limits| format!("Lazy::Read(&{limits})"))))?;
    let headers = form("headers")?.map(|headers| texts_form(&headers)).transpose()?;
    write!(literal, "headers: {}, ", option(headers))?;
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

/// The members of a form, in their order. Each is removed when it is read.
type Form = Map<String, Value>;

/// An `Option` as an expression in Rust.
fn option(expression: Option<String>) -> String {
    expression.map_or_else(|| "None".to_owned(), |it| format!("Some({it})"))
}

/// An expression of the type `Text`.
fn text_form(text: &Value) -> Result<String, Box<dyn Error>> {
    Ok(format!("Text::of_build({:?})", text.as_str().ok_or("a text is of another type")?))
}

/// An expression of the type `Texts`.
fn texts_form(texts: &Form) -> Result<String, Box<dyn Error>> {
    let pair = |(name, text): (&String, &Value)| Ok(format!("(Text::of_build({name:?}), {}), ", text_form(text)?));
    let pairs: Result<String, Box<dyn Error>> = texts.iter().map(pair).collect();
    Ok(format!("Lazy::Read(&[{}])", pairs?))
}

/// Removes a text that may be missing: an expression of the type `Option<Text>`.
fn take_text(form: &mut Form, name: &str) -> Result<String, Box<dyn Error>> {
    Ok(option(form.remove(name).as_ref().map(text_form).transpose()?))
}

/// Removes a list of texts: an expression of the type `List<Text>`.
fn take_texts(form: &mut Form, name: &str) -> Result<String, Box<dyn Error>> {
    let texts: Result<Vec<String>, _> =
        texts(form.remove(name).as_ref()).iter().map(|it| text_form(&(*it).into())).collect();
    Ok(format!("List::Read(&[{}])", texts?.join(", ")))
}

/// Removes an object that may be missing.
fn take_object(form: &mut Form, name: &str) -> Result<Option<Form>, Box<dyn Error>> {
    Ok(form.remove(name).map(serde_json::from_value).transpose()?)
}

/// Checks that each member was read.
fn end(form: &Form) -> Result<(), String> {
    form.keys().next().map_or(Ok(()), |name| Err(format!("unknown member `{name}`")))
}

/// The name of a variant of an enumeration: `NotStarted` for `not-started`.
fn variant(name: &str) -> String {
    let word = |word: &str| word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default();
    name.split('-').map(word).collect()
}

/// An expression of the type `StartForm`.
fn start_form(mut start: Form) -> Result<String, Box<dyn Error>> {
    let mut request = take_object(&mut start, "request")?.ok_or("`start/request` is missing")?;
    let mut required = |name| text_form(&request.remove(name).ok_or("`method` or `path` is missing")?);
    let (method, path) = (required("method")?, required("path")?);
    let mut texts =
        |name| Ok::<_, Box<dyn Error>>(option(take_object(&mut request, name)?.as_ref().map(texts_form).transpose()?));
    let (query, headers) = (texts("query")?, texts("headers")?);
    let body = match request.remove("form").as_ref().and_then(Value::as_str) {
        Some("cloudevent") => "CloudEvent",
        form => &variant(form.unwrap_or("json")),
    };
    let template = format!(
        "Template {{ method: {method}, path: {path}, query: {query}, headers: {headers}, form: BodyForm::{body}, body: {} }}",
        option(request.remove("body").map(|body| node(&body)).transpose()?.map(|node| format!("Lazy::Read(&{node})"))),
    );
    end(&request)?;
    let proof = match start.remove("proof").ok_or("`start/proof` is missing")? {
        Value::Object(mut proof) => {
            let at = proof.remove("at").ok_or("`start/proof` has no `at`")?;
            let at = format!("Proof::At({}, {})", text_form(&at)?, take_text(&mut proof, "equals")?);
            end(&proof)?;
            at
        }
        name => format!("Proof::{}", variant(name.as_str().unwrap_or_default())),
    };
    let reference = take_text(&mut start, "reference")?;
    end(&start)?;
    Ok(format!("StartForm {{ request: {template}, proof: Lazy::Read(&{proof}), reference: {reference} }}"))
}

/// A value in a body, as an expression of the type `Node`.
fn node(value: &Value) -> Result<String, Box<dyn Error>> {
    match value {
        Value::Array(elements) => {
            let elements: Result<Vec<_>, _> = elements.iter().map(node).collect();
            Ok(format!("Node::Array(List::Read(&[{}]))", elements?.join(", ")))
        }
        Value::Object(members) if members.contains_key("$") => {
            let mut hole = members.clone();
            let name = text_form(&hole.remove("$").unwrap_or_default())?;
            let filter =
                hole.remove("as").map(|filter| format!("Filter::{}", variant(filter.as_str().unwrap_or_default())));
            let otherwise = hole.remove("or").map(|json| format!("{:?}", json.to_string()));
            end(&hole)?;
            let (filter, otherwise) = (option(filter), option(otherwise));
            Ok(format!("Node::Hole(BodyHole {{ name: {name}, filter: {filter}, otherwise: {otherwise} }})"))
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| match (name.as_str(), members.len()) {
                ("$text", 1) => Ok(format!("Node::Text({})", text_form(value)?)),
                ("$json", 1) => Ok(format!("Node::Json(Lazy::Read(&{}))", node(value)?)),
                _ => Ok(format!("({:?}, {})", Value::from(name.as_str()).to_string(), node(value)?)),
            };
            let parts: Result<Vec<String>, Box<dyn Error>> = members.iter().map(member).collect();
            let parts = parts?.join(", ");
            Ok(if parts.starts_with("Node::") { parts } else { format!("Node::Object(List::Read(&[{parts}]))") })
        }
        scalar => Ok(format!("Node::Scalar({:?})", scalar.to_string())),
    }
}

/// An expression of the type `EngineLimits`.
fn limits_form(mut limits: Form) -> Result<String, Box<dyn Error>> {
    let mut literal = "EngineLimits { ".to_owned();
    for name in ["max_body_bytes", "retention_hours", "unpaired_surrogates"] {
        write!(literal, "{name}: {}, ", option(limits.remove(name).map(|value| value.to_string())))?;
    }
    end(&limits)?;
    Ok(literal + "}")
}

/// An expression of the type `RunForm`.
fn run_form(mut run: Form) -> Result<String, Box<dyn Error>> {
    let mut literal = "RunForm { ".to_owned();
    for name in ["id", "status", "phase", "trigger", "workflow_name"] {
        write!(literal, "{name}: {}, ", take_text(&mut run, name)?)?;
    }
    write!(literal, "child_triggers: {}, ", take_texts(&mut run, "child_triggers")?)?;
    let workflow_id = take_object(&mut run, "workflow_id")?.map(|mut id| {
        let at = text_form(&id.remove("at").unwrap_or_default())?;
        let hex = option(id.remove("hex").map(|hex| hex.to_string()));
        end(&id)?;
        Ok::<_, Box<dyn Error>>(format!("WorkflowId {{ at: {at}, hex: {hex} }}"))
    });
    write!(literal, "workflow_id: {}, states: Lazy::Read(&[", option(workflow_id.transpose()?))?;
    let rules: Vec<Form> = run.remove("states").map(serde_json::from_value).transpose()?.unwrap_or_default();
    for mut rule in rules {
        let (status, phase) = (take_texts(&mut rule, "status")?, take_texts(&mut rule, "phase")?);
        let state = variant(rule.remove("state").as_ref().and_then(Value::as_str).unwrap_or_default());
        end(&rule)?;
        write!(literal, "StateRule {{ status: {status}, phase: {phase}, state: RunState::{state} }}, ")?;
    }
    end(&run)?;
    Ok(literal + "]) }")
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
