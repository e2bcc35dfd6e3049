use crate::routing::{MAX_FILTER_DEPTH, MAX_PARAMS, MAX_ROUTES, MAX_TABLE, Table};

/// Each error says where, and repeats no value.
#[test]
fn what_is_wrong_is_named_by_its_place() {
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
    for (table, error) in [
        ("{}".to_owned(), "it must be an array, and is an object"),
        ("[]".to_owned(), "it must have from 1 to 256 routes"),
        (format!("[{}1]", "1,".repeat(MAX_ROUTES)), "it must have from 1 to 256 routes"),
        ("[".to_owned(), "it is not valid JSON: EOF while parsing a list at line 1 column 1"),
        (" ".repeat(MAX_TABLE + 1), "it is longer than 262144 bytes"),
        ("[1]".to_owned(), "`/0` must be an object, and is a number"),
        (r#"[{"workflow":"hunter2"}]"#.to_owned(), "`/0` must have `workflow` and `from`"),
        (r#"[{"workflow":"w","from":"hunter2"}]"#.to_owned(), "`/0/from` must be `event` or `webhook`"),
        (r#"[{"workflow":"../w","from":"event"}]"#.to_owned(), "`/0/workflow` must not contain '/'"),
        (r#"[{"workflow":7,"from":"event"}]"#.to_owned(), "`/0/workflow` must be a string, and is a number"),
        (
            r#"[{"workflow":"w","from":"event","sender":"github"}]"#.to_owned(),
            "`/0/sender` means nothing for events: filter by their attributes",
        ),
        (
            route(r#""sender":"hunter2""#),
            "`/1/sender` must be a sender that Sluice knows, or `custom`: docs/senders.md lists them",
        ),
        (
            route(r#""hunter2":1"#),
            "`/1` may have `workflow`, `from`, `sender`, `filter`, `params`, and no other: member 3",
        ),
        (route(r#""workflow":"x""#), "`/1` has two members of one name: member 3 is the second"),
        (filter(r#""hunter2""#), "`/1/filter` must be an object, and is a string"),
        (
            filter("{}"),
            "`/1/filter` must have one dialect, and only one, of `exact`, `prefix`, `suffix`, `all`, `any`, `not`",
        ),
        (
            filter(r#"{"exact":{"type":"a"},"not":{"exact":{"type":"a"}}}"#),
            "`/1/filter` must have one dialect, and only one, of `exact`, `prefix`, `suffix`, `all`, `any`, `not`",
        ),
        (
            filter(r#"{"sql":"hunter2"}"#),
            "`/1/filter` has a dialect that isn't known: it may be `exact`, `prefix`, `suffix`, `all`, `any`, `not`",
        ),
        (filter(r#"{"exact":{}}"#), "`/1/filter/exact` must have at least one name"),
        (
            filter(r#"{"exact":{"subject":"a"}}"#),
            "`/1/filter/exact` must name `sender`, `type`, or a JSON Pointer that starts with `/`: member 1",
        ),
        (
            filter(r#"{"exact":{"type":"a","/~2":"a"}}"#),
            "`/1/filter/exact` must name `sender`, `type`, or a JSON Pointer that starts with `/`: member 2",
        ),
        (filter(r#"{"exact":{"/a":""}}"#), "`/1/filter/exact/~1a` must not be empty"),
        (filter(r#"{"suffix":{"/a":7}}"#), "`/1/filter/suffix/~1a` must be a string, and is a number"),
        (filter(r#"{"any":[]}"#), "`/1/filter/any` must have at least one filter"),
        (filter(r#"{"all":{"exact":{"type":"a"}}}"#), "`/1/filter/all` must be an array, and is an object"),
        (filter(r#"{"not":[]}"#), "`/1/filter/not` must be an object, and is an array"),
        (
            filter(r#"{"any":[{"exact":{"type":"a"}},{"all":[{"exact":{"type":[]}}]}]}"#),
            "`/1/filter/any/1/all/0/exact/type` must be a string, and is an array",
        ),
        (
            filter(r#"[{"exact":{"type":"a"}},{"prefix":{"type":null}}]"#),
            "`/1/filter/1/prefix/type` must be a string, and is null",
        ),
        (
            event(r#"{"exact":{"Type":"hunter2"}}"#),
            "`/0/filter/exact` must name a context attribute (lower-case letters and digits), or a JSON Pointer that starts with `/`: member 1",
        ),
        (
            event(r#"{"exact":{"data":"hunter2"}}"#),
            "`/0/filter/exact` must name a context attribute (lower-case letters and digits), or a JSON Pointer that starts with `/`: member 1",
        ),
        (too_deep, &deepest),
        (params("[]"), "`/1/params` must be an object, and is an array"),
        (params(r#"{"data":1}"#), "`/1/params/data` is a param of the contract's: take another name"),
        (params(r#"{"event":1}"#), "`/1/params/event` is a param of the contract's: take another name"),
        (params(r#"{"":1}"#), "`/1/params` must have names of 1 to 128 bytes: member 1"),
        (params(&format!("{{{}}}", many.join(","))), "`/1/params` must have at most 32 params"),
        (
            params(r#"{"p":"$hunter2"}"#),
            "`/1/params/p` must be a JSONPath (RFC 9535), since it starts with `$`, but it can't be read from byte 1 on; a text is {\"value\":\"$…\"}",
        ),
        (
            params(r#"{"p":"$[?match(@.a,'x')]"}"#),
            "`/1/params/p` must be a JSONPath (RFC 9535), since it starts with `$`, but a function in it isn't known, or is used wrongly: there are `length`, `count` and `value`; a text is {\"value\":\"$…\"}",
        ),
        (
            params(r#"{"p":"$[99999999999999999999]"}"#),
            "`/1/params/p` must be a JSONPath (RFC 9535), since it starts with `$`, but an integer in it is out of range; a text is {\"value\":\"$…\"}",
        ),
        (
            params(r#"{"p":"$[?length(@.*)<3]"}"#),
            "`/1/params/p` must be a JSONPath (RFC 9535), since it starts with `$`, but a function in it isn't known, or is used wrongly: there are `length`, `count` and `value`; a text is {\"value\":\"$…\"}",
        ),
        (
            params(&format!(r#"{{"p":"${}"}}"#, ".a".repeat(512))),
            "`/1/params/p` must be a JSONPath of at most 1024 bytes",
        ),
    ] {
        let found = Table::parse(&table).unwrap_err().to_string();
        assert_eq!(found, error, "{table}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}
