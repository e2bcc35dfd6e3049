use super::*;

fn parse(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

#[test]
fn documents_round_trip() {
    for text in [
        r#"{"a":{"b":[1,{"c":"x"}]},"t":true,"z":null}"#,
        r#"[12345678901234567890,-9223372036854775808,1.1,1.0E10,1.0E-4]"#,
        r#"{"":3,"$c":2,"a.b":"x\u0000y\n\"\\/😀 é"}"#,
        "\"\"",
        "[]",
        "{}",
    ] {
        assert_eq!(parse(text).to_string(), text);
    }
}

#[test]
fn java_text_of_values() {
    for (document, expected) in [
        (r#"{"ref":"A-1","amount":12}"#, "{ref=A-1, amount=12}"),
        (r#"{"a":{"b":[1,{"c":"x"}]},"t":true,"z":null}"#, "{a={b=[1, {c=x}]}, t=true, z=null}"),
        (r#"{"n":1.10,"m":0.1234567890123456789}"#, "{n=1.1, m=0.12345678901234568}"),
        (
            "[12345678901234567890,1e7,1E-3,9999999.5,0.0001,-0.0,1e400,-0]",
            "[12345678901234567890, 1.0E7, 0.001, 9999999.5, 1.0E-4, -0.0, Infinity, 0]",
        ),
        ("{}", "{}"),
    ] {
        assert_eq!(parse(document).to_java(), expected, "{document}");
    }
}

#[test]
fn later_of_two_equal_names_counts() {
    assert_eq!(parse(r#"{"a":1,"b":2,"a":3}"#).to_string(), r#"{"a":3,"b":2}"#);
}

#[test]
fn surrogates_become_characters() {
    assert_eq!(parse(r#""\ud83d\ude00""#), Json::from("😀"));
    assert_eq!(parse(r#""\ud83d\u0041\udc00""#), Json::from("?A?"));
}

#[test]
fn trailing_text_is_ignored() {
    assert_eq!(parse("\u{feff} {\"a\" : 1} trailing"), parse(r#"{"a":1}"#));
}

#[test]
fn malformed_documents_are_errors() {
    let deep = "[".repeat(1_001);
    let long = "1".repeat(1_001);
    for text in [
        "",
        " ",
        "{",
        "[1",
        "{\"a\"",
        "{\"a\":",
        "{a:1}",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "-",
        "1.",
        "1e",
        "+1",
        ".5",
        "nul",
        "nullx",
        "NaN",
        "\"a\nb\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"",
        "1x",
        "'a'",
        &deep,
        &long,
    ] {
        assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert_eq!(Json::parse(b"\"\xff\""), Err(Malformed { at: 1 }));
    assert!(Json::parse(("[".repeat(1_000) + &"]".repeat(1_000)).as_bytes()).is_ok());
}

#[test]
fn serde_keeps_order_and_types() {
    let document = parse(r#"{"z":1,"a":[1.5,"x",null,true,-7],"n":{"y":{},"b":1}}"#);
    let text = serde_json::to_string(&document).unwrap();
    let back: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(back.to_string(), document.to_string());
}
