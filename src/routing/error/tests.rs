use crate::routing::{MAX_FILTER_DEPTH, MAX_PARAMS, MAX_ROUTES, MAX_TABLE, Table};

/// No error repeats a value of the table, here `hunter2`.
#[test]
fn error_names_its_place() {
    let nested = |levels| format!("{}{{\"exact\":{{\"id\":\"1\"}}}}{}", "{\"not\":".repeat(levels), "}".repeat(levels));
    let event = |filter: &str| format!(r#"[{{"workflow":"w","from":"event","filter":{filter}}}]"#);
    assert!(Table::parse(&event(&nested(MAX_FILTER_DEPTH - 1))).is_ok());
    let too_deep = event(&nested(MAX_FILTER_DEPTH));
    let deepest = format!("`/0/filter{}` nests filters deeper than 16 levels", "/not".repeat(MAX_FILTER_DEPTH));
    let route =
        |rest: &str| format!(r#"[{{"workflow":"w","from":"event"}},{{"workflow":"w","from":"webhook",{rest}}}]"#);
    let filter = |filter: &str| route(&format!(r#""filter":{filter}"#));
    let params = |params: &str| route(&format!(r#""params":{params}"#));
    let many: Vec<_> = (0..=MAX_PARAMS).map(|n| format!("\"p{n}\":1")).collect();
    for (table, expected) in [
        ("{}".to_owned(), "it must be an array, but is an object"),
        ("[]".to_owned(), "it must have 1 to 256 routes"),
        (format!("[{}1]", "1,".repeat(MAX_ROUTES)), "it must have 1 to 256 routes"),
        ("[".to_owned(), "it is not valid JSON: EOF while parsing a list at line 1 column 1"),
        (" ".repeat(MAX_TABLE + 1), "it is longer than 262144 bytes"),
        ("[1]".to_owned(), "`/0` must be an object, but is a number"),
        (r#"[{"workflow":"hunter2"}]"#.to_owned(), "`/0` must have `workflow` and `from`"),
        (r#"[{"workflow":"w","from":"hunter2"}]"#.to_owned(), "`/0/from` must be `event` or `webhook`"),
        (r#"[{"workflow":"../w","from":"event"}]"#.to_owned(), "`/0/workflow` must not be a dot segment"),
        (r#"[{"workflow":7,"from":"event"}]"#.to_owned(), "`/0/workflow` must be a string, but is a number"),
        (
            r#"[{"workflow":"w","from":"event","sender":"github"}]"#.to_owned(),
            "`/0/sender` is for webhooks only: filter events by their attributes",
        ),
        (route(r#""sender":"hunter2""#), "`/1/sender` must be a sender that docs/senders.md lists, or `custom`"),
        (
            route(r#""hunter2":1"#),
            "`/1` has an unknown name (member 3): known are `workflow`, `from`, `sender`, `source`, `filter`, `params`, `ordered`",
        ),
        (route(r#""ordered":"hunter2""#), "`/1/ordered` must be a boolean, but is a string"),
        (route(r#""ordered":null"#), "`/1/ordered` must be a boolean, but is null"),
        (route(r#""workflow":"x""#), "`/1` has a duplicate name (member 3)"),
        (filter(r#""hunter2""#), "`/1/filter` must be an object, but is a string"),
        (
            filter("{}"),
            "`/1/filter` must have exactly one of the dialects `exact`, `prefix`, `suffix`, `all`, `any`, `not`, `sql`",
        ),
        (
            filter(r#"{"exact":{"type":"a"},"not":{"exact":{"type":"a"}}}"#),
            "`/1/filter` must have exactly one of the dialects `exact`, `prefix`, `suffix`, `all`, `any`, `not`, `sql`",
        ),
        (
            filter(r#"{"cesql":"hunter2"}"#),
            "`/1/filter` has an unknown dialect: known are `exact`, `prefix`, `suffix`, `all`, `any`, `not`, `sql`",
        ),
        (filter(r#"{"sql":7}"#), "`/1/filter/sql` must be a string, but is a number"),
        (filter(r#"{"sql":""}"#), "`/1/filter/sql` must not be empty"),
        (
            filter(r#"{"any":[{"sql":"type = 'a' AND\n hunter2 = 1"}]}"#),
            "`/1/filter/any/0/sql` has an error at line 2, column 2: expected the name of an attribute: `sender`, `source` or `type`; for the payload, use `DATA('/…')`",
        ),
        (
            event(r#"{"sql":"HUNTER2('a')"}"#),
            "`/0/filter/sql` has an error at line 1, column 1: unknown function, or wrong number of arguments",
        ),
        (event(r#"{"sql":"'hunter2'"}"#), "`/0/filter/sql` must be a condition, but its value is a string"),
        (event(r#"{"sql":"1 + hunter2"}"#), "`/0/filter/sql` must be a condition, but its value is an integer"),
        (filter(r#"{"exact":{}}"#), "`/1/filter/exact` must have at least one member"),
        (
            filter(r#"{"exact":{"subject":"a"}}"#),
            "`/1/filter/exact` has an invalid name (member 1): use `sender`, `source`, `type` or a JSON Pointer that starts with `/`",
        ),
        (
            filter(r#"{"exact":{"type":"a","/~2":"a"}}"#),
            "`/1/filter/exact` has an invalid name (member 2): use `sender`, `source`, `type` or a JSON Pointer that starts with `/`",
        ),
        (filter(r#"{"exact":{"/a":""}}"#), "`/1/filter/exact/~1a` must not be empty"),
        (filter(r#"{"suffix":{"/a":7}}"#), "`/1/filter/suffix/~1a` must be a string, but is a number"),
        (filter(r#"{"any":[]}"#), "`/1/filter/any` must have at least one filter"),
        (filter(r#"{"all":{"exact":{"type":"a"}}}"#), "`/1/filter/all` must be an array, but is an object"),
        (filter(r#"{"not":[]}"#), "`/1/filter/not` must be an object, but is an array"),
        (
            filter(r#"{"any":[{"exact":{"type":"a"}},{"all":[{"exact":{"type":[]}}]}]}"#),
            "`/1/filter/any/1/all/0/exact/type` must be a string, but is an array",
        ),
        (
            filter(r#"[{"exact":{"type":"a"}},{"prefix":{"type":null}}]"#),
            "`/1/filter/1/prefix/type` must be a string, but is null",
        ),
        (
            event(r#"{"exact":{"Type":"hunter2"}}"#),
            "`/0/filter/exact` has an invalid name (member 1): use a context attribute (lower-case letters and digits) or a JSON Pointer that starts with `/`",
        ),
        (
            event(r#"{"exact":{"data":"hunter2"}}"#),
            "`/0/filter/exact` has an invalid name (member 1): use a context attribute (lower-case letters and digits) or a JSON Pointer that starts with `/`",
        ),
        (too_deep, &deepest),
        (params("[]"), "`/1/params` must be an object, but is an array"),
        (params(r#"{"":1}"#), "`/1/params` must have names of 1 to 128 bytes: see member 1"),
        (params(&format!("{{{}}}", many.join(","))), "`/1/params` must have at most 32 params"),
        (
            params(r#"{"p":"$hunter2"}"#),
            "`/1/params/p` starts with `$`, so it must be a JSONPath (RFC 9535), but it has a syntax error at byte 1; for a literal text, write {\"value\":\"$…\"}",
        ),
        (
            params(r#"{"p":"$[?match(@.a,'x')]"}"#),
            "`/1/params/p` starts with `$`, so it must be a JSONPath (RFC 9535), but it uses an unknown function, or one in a wrong way: known are `length`, `count` and `value`; for a literal text, write {\"value\":\"$…\"}",
        ),
        (
            params(r#"{"p":"$[99999999999999999999]"}"#),
            "`/1/params/p` starts with `$`, so it must be a JSONPath (RFC 9535), but an integer in it is out of range; for a literal text, write {\"value\":\"$…\"}",
        ),
        (
            params(r#"{"p":"$[?length(@.*)<3]"}"#),
            "`/1/params/p` starts with `$`, so it must be a JSONPath (RFC 9535), but it uses an unknown function, or one in a wrong way: known are `length`, `count` and `value`; for a literal text, write {\"value\":\"$…\"}",
        ),
        (
            params(&format!(r#"{{"p":"${}"}}"#, ".a".repeat(512))),
            "`/1/params/p` must be a JSONPath of at most 1024 bytes",
        ),
    ] {
        let error = Table::parse(&table).unwrap_err().to_string();
        assert_eq!(error, expected, "{table}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
