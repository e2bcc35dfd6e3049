//! Pretty-printing of JSON. Numbers, names and their order stay exactly as they are. Only white space changes, and
//! invisible and direction-changing characters are escaped.

use std::fmt::Write;

/// Maximum levels of indentation. Deeper lines would be mostly white space.
const MAX_INDENT: usize = 32;

/// Formats valid JSON with line breaks and indentation. Truncates the text after about `max` bytes, and returns whether
/// it was truncated.
pub(super) fn pretty(json: &str, max: usize) -> (String, bool) {
    let mut out = String::new();
    let mut depth = 0_usize;
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if out.len() >= max {
            return (out, true);
        }
        match c {
            '"' => {
                out.push('"');
                let mut escaped = false;
                for c in chars.by_ref() {
                    if out.len() >= max {
                        return (out, true);
                    }
                    push_visible(&mut out, c);
                    if c == '"' && !escaped {
                        break;
                    }
                    escaped = c == '\\' && !escaped;
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                match chars.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth = depth.saturating_add(1);
                        break_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(',');
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    (out, false)
}

/// Starts a new line, indented to `depth`.
fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth.min(MAX_INDENT) {
        out.push_str("  ");
    }
}

/// Appends a character of a string. A character that is invisible, or changes the direction of text, becomes a JSON
/// escape.
fn push_visible(out: &mut String, c: char) {
    let is_hidden = c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if is_hidden {
        _ = write!(out, "\\u{:04x}", u32::from(c));
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pretty_json_differs_only_in_white_space() {
        let odd = r#"{ "n":12345678901234567890 ,"d":1,"d":[ ],"s":"a\"b\\","t":"{,:}","e":[1E400,{}, null]}"#;
        let expected = "{\n  \"n\": 12345678901234567890,\n  \"d\": 1,\n  \"d\": [],\n  \"s\": \"a\\\"b\\\\\",\n  \"t\": \"{,:}\",\n  \"e\": [\n    1E400,\n    {},\n    null\n  ]\n}";
        assert_eq!(pretty(odd, 1_000), (expected.to_owned(), false));
    }

    #[test]
    fn invisible_and_direction_characters_are_escaped() {
        assert_eq!(pretty("\"a\u{202e}b\u{200b}\u{7f}é\u{2028}\"", 99).0, r#""a\u202eb\u200b\u007fé\u2028""#);
    }

    #[test]
    fn deep_and_long_json_is_truncated() {
        let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
        assert!(pretty(&deep, usize::MAX).0.lines().all(|line| line.len() <= 2 * MAX_INDENT + 2));
        for json in [format!("\"{}\"", "é".repeat(1_000)), format!("[{}0]", "0,".repeat(1_000)), deep] {
            let (text, is_cut) = pretty(&json, 100);
            assert!(is_cut && text.len() < 200, "{text}");
        }
    }
}
