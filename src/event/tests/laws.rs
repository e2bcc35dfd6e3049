//! Properties of any event and of any input.

use data_encoding::BASE64;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// An event that can be encoded in each content mode.
#[derive(Clone, Debug)]
struct Sample {
    version: SpecVersion,
    strings: Vec<(String, String)>,
    integer: i32,
    boolean: bool,
    data: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Absent,
    Json(String),
    Text(String),
    Bytes(Vec<u8>),
}

impl Sample {
    fn content_type(&self) -> Option<&'static str> {
        match self.data {
            Content::Absent => None,
            Content::Json(_) => Some("application/json; charset=utf-8"),
            Content::Text(_) => Some("text/plain"),
            Content::Bytes(_) => Some("application/octet-stream"),
        }
    }

    fn json(&self) -> String {
        let mut members = vec![format!("\"b\":{}", self.boolean), format!("\"i\" : {}", self.integer)];
        let mut string = |name: &str, value: &str| members.push(format!("{}:{}", json!(name), json!(value)));
        string("specversion", self.version.as_str());
        self.strings.iter().for_each(|(name, value)| string(name, value));
        if let Some(content_type) = self.content_type() {
            string("datacontenttype", content_type);
        }
        match (&self.data, self.version) {
            (Content::Absent, _) => {}
            (Content::Json(raw), _) => members.push(format!("\"data\":{raw}")),
            (Content::Text(text), _) => string("data", text),
            (Content::Bytes(bytes), SpecVersion::V1_0) => string("data_base64", &BASE64.encode(bytes)),
            (Content::Bytes(bytes), SpecVersion::V0_3) => {
                string("datacontentencoding", "base64");
                string("data", &BASE64.encode(bytes));
            }
        }
        format!("{{{}}}", members.join(", "))
    }

    fn headers(&self) -> HeaderMap {
        const ENCODED: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'%');
        let mut map = headers(&[("ce-specversion", self.version.as_str())]);
        let mut add = |name: &str, value: &str| {
            let value = percent_encoding::utf8_percent_encode(value, ENCODED).to_string();
            map.append(HeaderName::try_from(format!("ce-{name}")).unwrap(), HeaderValue::try_from(value).unwrap());
        };
        add("b", &self.boolean.to_string());
        add("i", &self.integer.to_string());
        self.strings.iter().for_each(|(name, value)| add(name, value));
        if let Some(content_type) = self.content_type() {
            map.append("content-type", HeaderValue::from_static(content_type));
        }
        map
    }

    fn body(&self) -> &[u8] {
        match &self.data {
            Content::Absent => b"",
            Content::Json(text) | Content::Text(text) => text.as_bytes(),
            Content::Bytes(bytes) => bytes,
        }
    }
}

fn sample() -> impl Strategy<Value = Sample> {
    let data = prop_oneof![
        Just(Content::Absent),
        prop::sample::select(vec!["null", "{\"n\":12345678901234567890,\"n\":1e5}", "[ 1 ]", "\"a\"", "-0.0"])
            .prop_map(|raw| Content::Json(raw.to_owned())),
        "\\PC{1,40}".prop_map(Content::Text),
        prop::collection::vec(any::<u8>(), 1..40).prop_map(Content::Bytes),
    ];
    let version = prop_oneof![Just(SpecVersion::V1_0), Just(SpecVersion::V0_3)];
    let source = "(https?://[a-zé]{1,9}(:[0-9]{2})?)?(/[a-zA-Z0-9é東%~:@+]{1,5}){1,3}(\\?a=%20)?|urn:x:[0-9]{1,5}";
    let source = source.prop_map(|text| text.replace('%', "%25"));
    let optional = (prop::option::of("\\PC{1,20}"), any::<bool>(), any::<bool>());
    let extensions = prop::collection::btree_map("x[a-z0-9]{0,8}", "\\PC{0,20}", 0..5);
    (version, ("\\PC{1,40}", source, "\\PC{1,20}"), optional, extensions, any::<i32>(), any::<bool>(), data).prop_map(
        |(version, (id, source, kind), (subject, time, schema), extensions, integer, boolean, data)| {
            let mut strings = vec![("id".to_owned(), id), ("source".to_owned(), source), ("type".to_owned(), kind)];
            strings.extend(subject.map(|subject| ("subject".to_owned(), subject)));
            strings.extend(time.then(|| ("time".to_owned(), "2016-12-31T23:59:60.5z".to_owned())));
            let name = if version == SpecVersion::V1_0 { "dataschema" } else { "schemaurl" };
            strings.extend(schema.then(|| (name.to_owned(), "https://example.com/é#a".to_owned())));
            strings.extend(extensions);
            Sample { version, strings, integer, boolean, data }
        },
    )
}

/// The content of an event: all attributes, and the data.
fn content(event: &Event<'_>) -> (Vec<(String, String)>, Option<String>) {
    let attributes = event.attributes();
    let names = attributes.members().map(|(name, _)| name.to_owned());
    let all = names.filter_map(|name| attributes.get(&name).map(|value| (name, value.into_owned()))).collect();
    (all, event.data.as_deref().map(|data| data.get().to_owned()))
}

/// Checks the invariants of an event that was read.
fn check_invariants(event: &Event<'_>) {
    assert!(!event.id.is_empty() && !event.source.is_empty() && !event.kind.is_empty());
    for (name, value) in [("id", &event.id), ("source", &event.source), ("type", &event.kind)] {
        assert_eq!(event.attribute(name).as_deref(), Some(value.as_str()));
    }
    assert_eq!(event.attribute("subject"), event.subject.as_deref().map(Cow::Borrowed));
    let again = read_structured(event.json.get().as_bytes()).unwrap();
    assert_eq!(content(&again), content(event), "the JSON format is a valid event");
    assert_eq!(data(&event.json).map(RawValue::get), event.data.as_deref().map(RawValue::get));
}

/// Usually `valid` with a few bytes replaced, sometimes arbitrary bytes.
fn mutated(valid: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"{}[],:\"\\u0129.eE-ntf".to_vec())];
    let broken = prop::collection::vec((any::<prop::sample::Index>(), byte), 1..4).prop_map(move |changes| {
        let mut bytes = valid.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![4 => broken, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn event_is_the_same_in_each_mode(sample in sample()) {
        let json = sample.json();
        let structured = read_structured(json.as_bytes()).unwrap();
        prop_assert_eq!(structured.json.get(), &json);
        let headers = sample.headers();
        let binary = read_binary(media(&headers).as_ref(), &headers, sample.body()).unwrap();
        let body = format!("[{json}]");
        let batch = read_batch(body.as_bytes()).unwrap();
        prop_assert_eq!(batch.len(), 1);
        prop_assert_eq!(batch[0].json.get(), &json);
        for event in [&binary, &batch[0]] {
            prop_assert_eq!(event.version, structured.version);
            prop_assert_eq!(content(event), content(&structured));
        }
        [&structured, &binary, &batch[0]].into_iter().for_each(check_invariants);
        for (name, value) in &sample.strings {
            let read = binary.attribute(name);
            prop_assert_eq!(read.as_deref(), Some(value.as_str()));
        }
        prop_assert_eq!(binary.attribute("i"), Some(Cow::Owned(sample.integer.to_string())));
    }

    #[test]
    fn any_structured_body_is_read_or_rejected(body in prop_oneof![mutated(EVENT), mutated(EVENT_0_3)]) {
        match read_structured(&body) {
            Ok(event) => check_invariants(&event),
            Err(error) => prop_assert!(error.to_string().len() < 500),
        }
    }

    #[test]
    fn any_batch_body_is_read_or_rejected(
        elements in prop::collection::vec(prop_oneof![mutated(EVENT), Just(EVENT_0_3.as_bytes().to_vec())], 0..4),
        array in prop::bool::weighted(0.9),
    ) {
        let mut body = elements.join(&b","[..]);
        if array {
            body.insert(0, b'[');
            body.push(b']');
        }
        match read_batch(&body) {
            Ok(events) => events.iter().for_each(check_invariants),
            Err(BatchError::Events(invalid)) => {
                prop_assert!(!invalid.is_empty() && invalid.windows(2).all(|two| two[0].index < two[1].index));
            }
            Err(error) => prop_assert!(error.to_string().len() < 300),
        }
    }

    #[test]
    fn any_binary_request_is_read_or_rejected(
        version in prop::sample::select(vec!["1.0", "0.3", "0.2", ""]),
        source in "/?[ -~é]{0,6}",
        more in prop::collection::vec((
            prop::sample::select(vec![
                "ce-x", "ce-time", "ce-subject", "ce-dataschema", "ce-schemaurl", "ce-datacontentencoding", "ce-a-b",
                "content-type", "ce-type",
            ]),
            prop_oneof!["[ -~\t]{0,12}".boxed(), prop::sample::select(vec![
                "base64", "text/plain;\tcharset=\"utf-8\"", "application/json", "2018-04-05T17:31:00Z", "urn:a",
            ]).prop_map(str::to_owned).boxed()],
        ), 0..4),
        body in prop_oneof![mutated(EVENT), Just(b"/wA=".to_vec()), Just(Vec::new())],
    ) {
        let mut list = vec![("ce-specversion", version), ("ce-id", "1"), ("ce-source", &source), ("ce-type", "t")];
        list.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
        match binary(&list, &body) {
            Ok(event) => check_invariants(&event),
            Err(error) => prop_assert!(error.to_string().len() < 500),
        }
    }
}
