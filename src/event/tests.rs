//! Tables of events that each content mode accepts, or rejects with the rule that they break.

mod laws;

use http::{HeaderName, HeaderValue};

use super::*;

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/w","time":"2018-04-05T17:31:00Z","dataschema":"urn:x:y","x":5,"datacontenttype":"application/json","data":{"a":[1,"é"]}}"#;
const EVENT_0_3: &str = r#"{"specversion":"0.3","id":"1","source":"/s","type":"t","schemaurl":"/x","x":{"y":[1.5]},"datacontentencoding":"base64","data":"/wA="}"#;

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in list {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn media(headers: &HeaderMap) -> Option<MediaType> {
    MediaType::parse(headers.get("content-type")?.to_str().ok()?)
}

fn binary<'a>(list: &[(&str, &str)], body: &'a [u8]) -> Result<Event<'a>, EventError> {
    let headers = headers(list);
    read_binary(media(&headers).as_ref(), &headers, body)
}

/// Reads an event of 0.3 in binary mode, with these headers in addition to the required ones.
fn binary_0_3<'a>(more: &[(&str, &str)], body: &'a [u8]) -> Result<Event<'a>, EventError> {
    let mut list = vec![("ce-specversion", "0.3"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    list.extend(more);
    binary(&list, body)
}

#[test]
fn content_type_determines_the_mode() {
    let none: &[(&str, &str)] = &[];
    let id: &[(&str, &str)] = &[("ce-id", "1")];
    for (content_type, with, mode) in [
        ("application/cloudevents+json", none, Some(Mode::Structured)),
        ("Application/CloudEvents+JSON; charset=UTF-8", id, Some(Mode::Structured)),
        ("application/cloudevents-batch+json", none, Some(Mode::Batch)),
        ("application/cloudevents-batch+json;charset=utf-8", id, Some(Mode::Batch)),
        ("application/cloudevents-batch+json; charset=utf-16", none, None),
        ("application/cloudevents-batch+avro", id, None),
        ("application/cloudevents+avro", id, None),
        ("application/cloudevents", id, None),
        ("application/json", none, Some(Mode::Structured)),
        ("application/json", id, Some(Mode::Binary)),
        ("text/plain", id, Some(Mode::Binary)),
        ("text/plain", none, None),
        ("", id, Some(Mode::Binary)),
        ("", none, None),
    ] {
        assert_eq!(Mode::of(MediaType::parse(content_type).as_ref(), &headers(with)), mode, "{content_type}");
    }
}

#[test]
fn event_passes_as_it_was_sent() {
    for text in [EVENT, EVENT_0_3] {
        let spaced = format!("\n{text} ");
        let event = read_structured(spaced.as_bytes()).unwrap();
        assert_eq!(event.json.get(), text);
        assert_eq!(event.attribute("specversion").unwrap(), event.version.as_str());
    }
    let event = read_structured(EVENT_0_3.as_bytes()).unwrap();
    assert_eq!(event.data.as_deref().unwrap().get(), "\"/wA=\"");
    assert_eq!(event.attribute("x").unwrap(), "{\"y\":[1.5]}");
    assert_eq!((event.attribute("schemaurl").as_deref(), event.attribute("dataschema")), (Some("/x"), None));
}

#[test]
fn null_and_an_empty_subject_count_as_absent() {
    for (from, to) in [("\"/w\"", "null"), ("\"/w\"", "\"\"")] {
        let text = EVENT.replace(from, to).replace("\"urn:x:y\"", "null").replace("\"2018-04-05T17:31:00Z\"", "null");
        let event = read_structured(text.as_bytes()).unwrap();
        assert_eq!((event.subject.as_deref(), event.attribute("subject")), (None, None));
        assert_eq!((event.attribute("time"), event.attribute("dataschema")), (None, None));
    }
    let text = EVENT.replace(r#"{"a":[1,"é"]}"#, "null");
    assert_eq!(read_structured(text.as_bytes()).unwrap().data.unwrap().get(), "null", "an explicit null is a payload");
}

#[test]
fn data_may_be_any_json() {
    for data in ["null", "true", "-1.5e300", "\"{\\\"not\\\":\\\"parsed\\\"}\"", "[1,[]]", "{\"d\":1,\"d\":2}"] {
        let text = EVENT.replace(r#"{"a":[1,"é"]}"#, data);
        assert_eq!(read_structured(text.as_bytes()).unwrap().data.unwrap().get(), data);
        let text = text.replace("\"application/json\"", "\"text/plain\"");
        assert_eq!(
            read_structured(text.as_bytes()).unwrap().data.unwrap().get(),
            data,
            "data of another content type is kept as well"
        );
    }
}

#[test]
fn invalid_event_names_the_attribute_and_the_rule() {
    for (from, to, field, says) in [
        ("\"1.0\"", "\"1.1\"", "specversion", "\"1.0\" or \"0.3\""),
        ("\"1.0\"", "1.0", "specversion", "must be a string"),
        ("\"/s\"", "\"\"", "source", "must not be empty"),
        ("\"/s\"", "\"/ s\"", "source", "RFC 3986, section 4.1"),
        ("\"t\"", "\"\"", "type", "must not be empty"),
        ("\"1\"", "\"\\u0007\"", "id", "control characters"),
        ("2018-04-05T", "2018-04-31T", "time", "RFC 3339"),
        ("urn:x:y", "x/y", "dataschema", "absolute URI"),
        ("application/json", "json", "datacontenttype", "media type"),
        ("\"x\":5", "\"x\":5.0", "x", "Type System"),
        ("\"x\":5", "\"x\":[5]", "x", "section 2.2"),
        ("\"x\":5", "\"x\":5,\"x\":6", "x", "more than once"),
        ("\"x\":5", "\"x\":5,\"\\u0078\":null", "x", "more than once"),
        ("\"x\":5", "\"myExt\":5", "myExt", "Attribute Naming Convention"),
        ("\"x\":5", "\"\":5", "", "Attribute Naming Convention"),
        ("\"x\":5", "\"data_base64\":\"YQ==\"", "data_base64", "must not occur together with"),
        ("\"data\"", "\"data_base64\"", "data_base64", "base64"),
    ] {
        let text = EVENT.replacen(from, to, 1);
        assert_ne!(text, EVENT, "{from}");
        let error = read_structured(text.as_bytes()).unwrap_err();
        assert_eq!(error.field(), field, "{text}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = read_structured(br#"{"Some":"object","some":1,"some":2}"#).unwrap_err();
    assert_eq!(error, EventError::Missing { attribute: "specversion" }, "a missing attribute is reported first");
}

/// Decoders differ on padding in the middle: some stop there, others continue.
#[test]
fn base64_with_padding_in_the_middle_is_rejected() {
    let event =
        |data: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"{data}"}}"#);
    for (data, good) in [("AA==", true), ("AAA=AAAA", false), ("AA==AA==", false), ("=AAA", false), ("AA=", false)] {
        assert_eq!(read_structured(event(data).as_bytes()).is_ok(), good, "{data}");
    }
    for (data, good) in [("AAA=\\r\\n", true), ("AAA=\\r\\nAAAA", false)] {
        assert_eq!(read_structured(EVENT_0_3.replace("/wA=", data).as_bytes()).is_ok(), good, "{data}");
    }
}

#[test]
fn invalid_event_of_0_3_names_the_attribute_and_the_rule() {
    for (from, to, field, says) in [
        ("\"base64\"", "\"quoted-printable\"", "datacontentencoding", "must be \"base64\""),
        ("\"base64\"", "1", "datacontentencoding", "must be a string"),
        ("\"/wA=\"", "\"?\"", "data", "as `datacontentencoding` says"),
        ("\"/x\"", "\"a b\"", "schemaurl", "CloudEvents 0.3"),
        ("\"x\"", "\"X\"", "X", "Attribute Naming Convention"),
    ] {
        let text = EVENT_0_3.replacen(from, to, 1);
        let error = read_structured(text.as_bytes()).unwrap_err();
        assert_eq!(error.field(), field, "{text}");
        assert!(error.to_string().contains(says), "{error}");
    }
    for (from, to) in [
        ("\"base64\"", "\"Base64\""),
        ("\"base64\"", "null"),
        // Split into lines, as in RFC 2045, section 6.8.
        ("\"/wA=\"", "\"/w\\r\\nA=\""),
        // The encoding "MUST be ignored" if the data is not a string.
        ("\"/wA=\"", "{\"a\":1}"),
        // As sent by the JavaScript SDK.
        ("\"data\"", "\"data_base64\""),
    ] {
        let text = EVENT_0_3.replacen(from, to, 1);
        assert_eq!(read_structured(text.as_bytes()).unwrap().json.get(), text);
    }
}

#[test]
fn binary_event_of_0_3_keeps_its_attribute_names() {
    let json = ("content-type", "application/json");
    let encoding = ("ce-datacontentencoding", "Base64");
    let bytes = ("content-type", "application/octet-stream");
    for (more, body, members) in [
        (
            &[json, ("ce-schemaurl", "/x")][..],
            &b"{}"[..],
            r#""schemaurl":"/x","datacontenttype":"application/json","data":{}"#,
        ),
        (
            &[bytes],
            b"\xff\0",
            r#""datacontenttype":"application/octet-stream","datacontentencoding":"base64","data":"/wA=""#,
        ),
        (
            &[bytes, encoding],
            b"\xff\0",
            r#""datacontenttype":"application/octet-stream","datacontentencoding":"base64","data":"/wA=""#,
        ),
        (
            &[bytes, encoding],
            b"/wA=",
            r#""datacontenttype":"application/octet-stream","datacontentencoding":"base64","data":"/wA=""#,
        ),
        (&[json, encoding], b"{\"a\":1}", r#""datacontenttype":"application/json","data":{"a":1}"#),
        (
            &[json, encoding],
            b"eyJhIjoxfQ==",
            r#""datacontenttype":"application/json","datacontentencoding":"base64","data":"eyJhIjoxfQ==""#,
        ),
        (&[json, encoding], b"1234", r#""datacontenttype":"application/json","data":1234"#),
        (&[encoding], b"", ""),
    ] {
        let event = binary_0_3(more, body).unwrap();
        let comma = if members.is_empty() { "" } else { "," };
        let whole = format!(r#"{{"specversion":"0.3","id":"1","source":"/s","type":"t"{comma}{members}}}"#);
        assert_eq!(event.json.get(), whole, "{more:?}");
        assert!(read_structured(whole.as_bytes()).is_ok(), "{whole}");
    }
    assert!(matches!(binary_0_3(&[json, encoding], b"?").unwrap_err(), EventError::Data(_)));
    for (name, value, field) in [
        ("ce-datacontentencoding", "8bit", "datacontentencoding"),
        ("ce-schemaurl", "<a>", "schemaurl"),
        ("ce-comexampleextension2-othervalue", "5", "comexampleextension2-othervalue"),
    ] {
        assert_eq!(binary_0_3(&[(name, value)], b"").unwrap_err().field(), field, "{name}: {value}");
    }
}

#[test]
fn invalid_header_is_named() {
    for (name, value, field) in [
        ("ce-time", "today", "time"),
        ("ce-time", "", "time"),
        ("ce-dataschema", "x", "dataschema"),
        ("ce-my_ext", "x", "my_ext"),
        ("ce-my-ext", "x", "my-ext"),
        ("ce-", "x", ""),
        ("ce-x", "%EF%BF%BE", "x"),
        ("ce-x", "%ff", "x"),
        ("ce-subject", "%EF%BF%BE", "subject"),
        ("ce-id", "2", "id"),
        ("ce-x", "\u{7f}", "x"),
        ("content-type", "json", "datacontenttype"),
    ] {
        if HeaderValue::from_bytes(value.as_bytes()).is_err() {
            continue;
        }
        let list = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"), (name, value)];
        assert_eq!(binary(&list, b"").unwrap_err().field(), field, "{name}: {value}");
    }
}

#[test]
fn uri_in_a_header_is_read_whether_or_not_it_is_encoded() {
    for (header, source) in [
        ("/a%2520b", "/a%20b"),
        ("/a%20b", "/a%20b"),
        ("/%C3%A9", "/é"),
        ("/é", "/é"),
        ("\"/a\"", "/a"),
        ("https://example.com/?q=%7B%22a%22%7D", "https://example.com/?q=%7B%22a%22%7D"),
    ] {
        let list = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", header), ("ce-type", "t")];
        assert_eq!(binary(&list, b"").unwrap().source, source, "{header}");
    }
}

/// The attribute that holds a URI in one version is an ordinary extension in the other.
#[test]
fn uri_attribute_of_the_other_version_is_decoded_as_an_extension() {
    for (version, name) in [("1.0", "schemaurl"), ("0.3", "dataschema")] {
        let header = format!("ce-{name}");
        let list =
            [("ce-specversion", version), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"), (&header, "a%20b")];
        assert_eq!(binary(&list, b"").unwrap().attribute(name).as_deref(), Some("a b"), "{name}");
    }
}

#[test]
fn events_of_64_kib_are_read() {
    let data = "x".repeat(64 * 1024);
    let text = EVENT.replace("é", &data);
    assert_eq!(read_structured(text.as_bytes()).unwrap().json.get(), text);
    assert_eq!(read_batch(format!("[{text}]").as_bytes()).unwrap().len(), 1);
}

#[test]
fn event_with_many_members_is_read_in_linear_time() {
    let many: String = (0..40_000).map(|n| format!(",\"x{n}\":1")).collect();
    let text = EVENT.replace(",\"x\":5", &many);
    assert_eq!(read_structured(text.as_bytes()).unwrap().attribute("x39999").unwrap(), "1");
}
