//! Java's own spelling of values.

use std::fmt::Write;

use super::Json;

/// `toString()`: maps as `{name=value, …}`, lists as `[…]`, strings without quotes.
pub(super) fn text(value: &Json) -> String {
    let mut out = String::new();
    append(value, &mut out);
    out
}

fn append(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Int(value) => {
            // Writing to a string can't fail.
            let _ = write!(out, "{value}");
        }
        Json::Big(digits) => out.push_str(digits),
        Json::Double(value) => out.push_str(&double(*value)),
        Json::Text(text) => out.push_str(text),
        Json::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                append(element, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                out.push_str(name);
                out.push('=');
                append(value, out);
            }
            out.push('}');
        }
    }
}

/// `Double.toString()` of Java 19 and later: the shortest digits that identify the number, plain from 0.001 up to ten
/// million, else with an exponent, and always with a fraction.
pub(super) fn double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let is_plain = value == 0.0 || (1e-3..1e7).contains(&value.abs());
    if is_plain {
        let text = format!("{value}");
        return if text.contains('.') { text } else { text + ".0" };
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => text,
    }
}
