//! The conformance cases of CESQL 1.0, run as data. tests/vectors/README.md has their origin. The table of results in
//! docs/routes.md is what `cargo test --test it cesql -- --nocapture` prints.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value as Json, json};
use sluice::routing::sql::{ErrorKind, Evaluation, Expression, Value};
use sluice::routing::{Input, InputKind};

/// The number of cases in the specification at 1.0.0.
const CASES: usize = 275;

/// A file of cases.
#[derive(Deserialize)]
struct Suite {
    tests: Vec<Case>,
}

/// A case: `cesql_tck/README.md` of the specification.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    /// Text also where it is written like a boolean or a number of YAML.
    expression: String,
    result: Option<Json>,
    error: Option<String>,
    event: Option<Json>,
    #[serde(default)]
    event_overrides: Map<String, Json>,
}

impl Case {
    /// The event of the case: its own, or a valid one with the attributes that it sets.
    fn event(&self) -> Json {
        self.event.clone().unwrap_or_else(|| {
            let mut event = json!({ "specversion": "1.0", "id": "1", "source": "/source", "type": "com.example.type" });
            event.as_object_mut().unwrap().extend(self.event_overrides.clone());
            event
        })
    }

    /// The value and the error of the expression. One that can't be parsed has the value `false`.
    fn run(&self) -> (Json, Option<&'static str>) {
        let event = to_raw_value(&self.event()).unwrap();
        let parsed = Expression::parse(&self.expression, InputKind::Event);
        let evaluation = match &parsed {
            Ok(expression) => expression.evaluate(&Input::event(&event, None)),
            Err(error) => Evaluation { value: Value::Boolean(false), error: Some(error.kind()) },
        };
        let value = match evaluation.value {
            Value::Boolean(value) => Json::from(value),
            Value::Integer(value) => Json::from(value),
            Value::String(text) => Json::from(text.into_owned()),
        };
        (value, evaluation.error.map(name))
    }
}

/// The files by name, without the extension.
fn suites() -> Vec<(String, Suite)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/cesql");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let suite = |path: &Path| yaml_serde::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    paths.iter().map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), suite(path))).collect()
}

/// The name of an error in the cases.
fn name(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::Parse => "parse",
        ErrorKind::Math => "math",
        ErrorKind::Cast => "cast",
        ErrorKind::MissingAttribute => "missingAttribute",
        ErrorKind::MissingFunction => "missingFunction",
        ErrorKind::FunctionEvaluation => "functionEvaluation",
    }
}

/// Prints the table of docs/routes.md.
#[test]
fn conformance_cases_pass() {
    let mut failures = Vec::new();
    let mut table = String::from("| File | Cases | Passed |\n|---|---|---|\n");
    let (mut all, mut all_passed) = (0, 0);
    for (name, Suite { tests: cases }) in suites() {
        let mut passed = 0;
        for case in &cases {
            let (value, error) = case.run();
            let has_value = case.result.as_ref().is_none_or(|expected| *expected == value);
            if has_value && case.error.as_deref() == error {
                passed += 1;
            } else {
                failures.push(format!("{name}: {case:?}: {value}, {error:?}"));
            }
        }
        table += &format!("| {name} | {} | {passed} |\n", cases.len());
        all += cases.len();
        all_passed += passed;
    }
    table += &format!("| all | {all} | {all_passed} |\n");
    println!("{table}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(all, CASES);
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/routes.md")).unwrap();
    assert!(page.contains(&table), "docs/routes.md has another table");
}
