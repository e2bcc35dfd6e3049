use super::*;
use crate::json::Object;
use crate::run::Run;

fn run(params: Vec<Param>) -> Run {
    Run { id: "r".to_owned(), trigger: "webhook".to_owned(), params, ..Run::default() }
}

/// Resolves `data`, a JSON text, among other params.
fn resolved(kind: Option<Kind>, data: &str, others: &[(&str, &str)]) -> String {
    let parse = |text: &str| Json::parse(text.as_bytes()).unwrap();
    let mut params = vec![Param { kind, ..Param::new("data", parse(data)) }];
    params.extend(others.iter().map(|(name, value)| Param::new(name, parse(value))));
    let run = run(params);
    let params = resolve(&run.params, &Layers::new(&run, None, &[])).unwrap();
    params.first().unwrap().value.to_string()
}

#[test]
fn undeclared_param_is_text() {
    let order = [("order", r#"{"id":77,"by":{"name":"Ada"}}"#), ("quote", r#""a\"b""#), ("line", r#""a\nb""#)];
    for (data, expected) in [
        (r#"{"ref":"A-1","amount":12}"#, r#""{ref=A-1, amount=12}""#),
        ("null", r#""""#),
        (r#""no $(params.unknown)""#, r#""no $(params.unknown)""#),
        (r#""$(params.order.id) by $(params.order.by.name)""#, r#""77 by Ada""#),
        (r#""$(workflow.params.order)""#, r#""{id=77, by={name=Ada}}""#),
        (r#""$(context.params.workflowrun-ref)/$(params.workflowrun-trigger)""#, r#""r/webhook""#),
        (r#""$(params.order.id) $(params.none:-x) $$(params.order)""#, r#""77 x $(params.order)""#),
        // A quotation mark ends the text, a line end makes it malformed, and a reference to itself has no end.
        (r#""x $(params.quote) y""#, r#""x a""#),
        (r#""x $(params.line) y""#, "null"),
        (r#""a=1, {b} $(params.data)""#, "null"),
        (r#"{"x":"$(params.data)"}"#, "null"),
    ] {
        assert_eq!(resolved(None, data, &order), expected, "{data}");
        assert_eq!(resolved(Some(Kind::String), data, &order), expected, "{data}");
    }
}

#[test]
fn declared_object_is_kept_or_replaced_as_a_whole() {
    let order = [("order", "77")];
    for (data, expected) in [
        (r#"{"ref":"A-1","n":[1,2.5]}"#, r#"{"ref":"A-1","n":[1,2.5]}"#),
        (r#"{"x":"$(params.data)"}"#, r#"{"x":"$(params.data)"}"#),
        (r#"{"x":"$(params.order)","y":1}"#, "77"),
        ("null", "null"),
    ] {
        assert_eq!(resolved(Some(Kind::Object), data, &order), expected, "{data}");
    }
}

#[test]
fn declared_array_is_resolved_by_element() {
    let order = [("order", "77")];
    assert_eq!(resolved(Some(Kind::Array), r#"["$(params.order)",null,"b"]"#, &order), r#"["77",null,"b"]"#);
    assert_eq!(resolved(Some(Kind::Array), r#""$(params.order)""#, &order), r#""$(params.order)""#);
    let run = run(vec![Param { kind: Some(Kind::Array), ..Param::new("data", vec![1_i64]) }]);
    assert!(matches!(resolve(&run.params, &Layers::new(&run, None, &[])), Err(Fault::Crash)));
}

#[test]
fn layers_of_flow_are_seen() {
    let mut run = run(vec![Param::new(
        "data",
        "$(global.params.g) $(team.params.t)/$(params.t) $(context.params.workflow-name)",
    )]);
    let layer = |name: &str, value: &str| Object::from_iter([(name.to_owned(), Json::from(value))]);
    run.annotations.insert("boomerang.io/global-params".to_owned(), layer("g", "G").into());
    run.annotations.insert("boomerang.io/team-params".to_owned(), layer("t", "T").into());
    run.annotations.insert("boomerang.io/context-params".to_owned(), layer("workflow-name", "W").into());
    let params = resolve(&run.params, &Layers::new(&run, None, &[])).unwrap();
    assert_eq!(params.first().unwrap().value, Json::from("G T/T W"));
}

#[test]
fn paths_reduce_objects() {
    let value = Json::parse(br#"{"a":{"b":[{"c":1},{"c":2}]},"s":"text","z":null}"#).unwrap();
    for (path, expected) in [
        ("a.b[0].c", Some("1")),
        ("a.b[-1]['c']", Some("2")),
        ("a.b[2]", None),
        ("a.x", None),
        ("s.length", None),
        ("z", None),
        ("", None),
        ("a..b", None),
    ] {
        assert_eq!(path::reduce(&value, path).map(|value| value.to_string()).as_deref(), expected, "{path}");
    }
}

#[test]
fn references_are_found_as_by_the_engine() {
    let found = |text| references(text).collect::<Vec<_>>();
    assert_eq!(found("$(a) $(b.c)d) $() $(e"), ["a", "b.c"]);
    assert_eq!(found("$(a\nb) $(c)"), ["c"]);
}
