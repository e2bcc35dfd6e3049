//! An accepted form becomes a JSON object with the same names and values.

use serde_json::value::RawValue;
use sluice::json::{self, JsonType};
use sluice::sender::form_object;

pub fn check(data: &[u8]) {
    if let Ok(object) = form_object(data) {
        assert_equal(&object, form_urlencoded::parse(data).into_owned().collect());
    }

    let field = |line: &str| line.split_once('\t').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let fields: Option<Vec<_>> = std::str::from_utf8(data).ok().and_then(|text| text.lines().map(field).collect());
    if let Some(fields) = fields {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        match form_object(body.as_bytes()) {
            Ok(object) => assert_equal(&object, fields),
            Err(_) => match fields.as_slice() {
                [] => {}
                [(name, payload)] if name == "payload" => assert!(json::object(payload.as_bytes()).is_err()),
                _ => panic!("the form {body} is refused"),
            },
        }
    }
}

fn assert_equal(object: &RawValue, fields: Vec<(String, String)>) {
    assert!(json::object(object.get().as_bytes()).is_ok_and(|whole| whole.get() == object.get()));
    if let [(name, payload)] = fields.as_slice()
        && name == "payload"
    {
        assert_eq!(object.get(), payload.trim_matches([' ', '\t', '\n', '\r']));
        return;
    }
    let members = json::members(object).expect("an object");
    let mut values = 0;
    for (nth, (name, value)) in members.iter().enumerate() {
        let name = json::text(name).expect("a name");
        assert!(
            members[..nth].iter().all(|(earlier, _)| json::text(earlier).as_ref() != Some(&name)),
            "{name} is repeated"
        );
        let found: Vec<String> = match json::type_of(value) {
            JsonType::Array => serde_json::from_str(value.get()).expect("strings"),
            _ => vec![json::text(value).expect("a string")],
        };
        values += found.len();
        assert!(fields.iter().filter(|(field, _)| *field == name).map(|(_, value)| value).eq(&found), "{name}");
    }
    assert_eq!(values, fields.len());
}
