//! The tables of docs/senders.md say what [`PRESETS`] says.

use sluice::sender::{
    Algorithm, Descriptor, PRESETS, Part, Preset, ResponsePolicy, SuccessCriterion, TimestampLocation, ValueLocation,
};

use super::read;

/// The rows of a table below a heading of the page, without its own heading.
fn rows(heading: &str, table: usize) -> Vec<String> {
    let page = read("docs/senders.md");
    let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let mut tables: Vec<Vec<String>> = vec![Vec::new()];
    for line in section.lines() {
        match (line.starts_with('|'), tables.last_mut().unwrap()) {
            (true, rows) => rows.push(line.to_owned()),
            (false, rows) if !rows.is_empty() => tables.push(Vec::new()),
            (false, _) => {}
        }
    }
    tables.swap_remove(table).split_off(2)
}

fn presets_by_name() -> Vec<&'static Preset> {
    let mut presets: Vec<_> = PRESETS.iter().collect();
    presets.sort_by_key(|preset| preset.name);
    presets
}

/// Compares a table, and shows the expected one if they differ.
#[track_caller]
fn assert_rows(table: &str, found: &[String], expected: &[String]) {
    let expected = expected.join("\n");
    assert!(found.join("\n") == expected, "docs/senders.md: the rows of {table} must be:\n{expected}\n");
}

/// `gitea`, `forgejo`
fn names(preset: &Preset) -> String {
    preset.names().map(code).collect::<Vec<_>>().join(", ")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A header's name as it is usually written: `X-Hub-Signature`.
fn header(name: &str) -> String {
    let words = name.split('-').map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]));
    code(&words.collect::<Vec<_>>().join("-"))
}

/// The member that a JSON Pointer finds: `event.type`.
fn member(pointer: &str) -> String {
    code(&pointer.trim_start_matches('/').replace('/', "."))
}

/// The cells of a scheme, but for the first, which names the sender.
fn scheme_cells(descriptor: &Descriptor) -> String {
    let headers = descriptor.headers.iter().map(|name| header(name)).collect::<Vec<_>>().join(", ");
    let (headers, signed) = match descriptor.algorithm {
        Algorithm::Token => (format!("{headers}, which contains the secret itself"), "nothing".to_owned()),
        _ => (headers, signed(descriptor)),
    };
    let tolerance = descriptor.timestamp.as_ref().map_or(String::new(), |spec| format!(" {} s", spec.tolerance));
    format!("{headers} | {signed} |{tolerance} | {}", identity(descriptor))
}

fn signed(descriptor: &Descriptor) -> String {
    let body = match descriptor.timestamp.as_ref().map(|spec| &spec.location) {
        Some(TimestampLocation::Pointer(pointer)) => format!("body, which contains {}", member(pointer)),
        _ => "body".to_owned(),
    };
    let parts = descriptor.signed.parts().iter().filter_map(|part| match part {
        Part::Body => Some(body.as_str()),
        Part::Timestamp => Some("timestamp"),
        Part::Id => Some("id"),
        Part::Url => Some("URL"),
        Part::Params => Some("the form's fields or the body's digest"),
        Part::Text(_) => None,
        other => panic!("{other}: say what it is, in words"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The recognition of duplicates.
fn identity(descriptor: &Descriptor) -> String {
    let digest = if descriptor.signed.contains(&Part::Params) { "signed content" } else { "body" };
    let digest = format!("digest of the {digest}");
    match &descriptor.id {
        // A request without the id has no valid signature.
        Some(ValueLocation::Header(name)) if descriptor.signed.contains(&Part::Id) => header(name),
        Some(ValueLocation::Header(name)) if descriptor.id_is_covered() => {
            format!("{}, otherwise {digest}", header(name))
        }
        Some(ValueLocation::Pointer(pointer)) => format!("{}, otherwise {digest}", member(pointer)),
        _ => digest,
    }
}

/// The rows of a sender: one for the schemes that differ only in algorithm and secret.
fn signature_rows(preset: &Preset) -> Vec<String> {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for descriptor in preset.descriptors() {
        let cells = scheme_cells(&descriptor);
        let prefix = descriptor.key_format.prefix;
        match rows.iter_mut().find(|(row, _)| *row == cells) {
            Some((_, prefixes)) => prefixes.push(prefix),
            None => rows.push((cells, vec![prefix])),
        }
    }
    let has_prefixes = rows.iter().any(|(_, prefixes)| prefixes.iter().any(|prefix| !prefix.is_empty()));
    let row = |(cells, prefixes): (String, Vec<String>)| {
        let prefixes: Vec<_> =
            prefixes.iter().filter(|prefix| !prefix.is_empty()).map(|prefix| code(&format!("{prefix}…"))).collect();
        let secret = match (has_prefixes, prefixes.is_empty()) {
            (false, _) => String::new(),
            (true, false) => format!(", secret {}", prefixes.join(" or ")),
            (true, true) => ", other secrets".to_owned(),
        };
        format!("| {}{secret} | {cells} |", names(preset))
    };
    if rows.is_empty() {
        return vec![format!("| {} | none: give it a URL with an access token | | | |", names(preset))];
    }
    rows.into_iter().map(row).collect()
}

#[test]
fn signature_table_is_complete() {
    let expected: Vec<_> = presets_by_name().into_iter().flat_map(signature_rows).collect();
    assert_rows("signatures", &rows("Signatures", 0), &expected);
}

/// The columns on retries and pages are the vendors' own.
#[test]
fn response_table_follows_the_policies() {
    let mut rows = rows("What senders make of an answer", 0);
    for preset in presets_by_name() {
        let ResponsePolicy { deadline, success } = preset.response_policy;
        let response = match success {
            SuccessCriterion::Any2xx => "| 200 with the run, 202 |",
            SuccessCriterion::Only200 => "| 200 with the run; 200 if stored |",
            SuccessCriterion::Empty200 => "| 200, empty |",
            SuccessCriterion::Only204 => "| 204 |",
        };
        let deadline = deadline.map_or("| – |".to_owned(), |seconds| format!("{seconds} s"));
        let is_of_preset = |row: &mut String| {
            row.strip_prefix(&format!("| {}", names(preset))).is_some_and(|rest| rest.starts_with([',', ' ']))
        };
        let of_preset: Vec<_> = rows.extract_if(.., is_of_preset).collect();
        assert!(!of_preset.is_empty(), "{} has no row", preset.name);
        for row in of_preset {
            assert!(row.contains(response) && row.contains(&deadline), "expected {response} and {deadline}: {row}");
        }
    }
    let unknown: Vec<_> = rows.iter().filter(|row| row.starts_with("| `")).collect();
    assert!(unknown.is_empty(), "no preset has this name: {unknown:?}");
}
