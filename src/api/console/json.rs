//! JSON with line breaks, for people. Numbers, names and their order stay as they are: only white space is added between
//! them, and what would hide or turn around the text is escaped.

use std::fmt::Write;

/// Deeper levels are not moved further to the right: each line would be mostly white space.
const MAX_INDENT: usize = 32;

/// Valid JSON on many lines, cut off after `most` bytes; then the second is true.
pub(super) fn pretty(json: &str, most: usize) -> (String, bool) {
    let mut out = String::new();
    let mut depth = 0_usize;
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if out.len() >= most {
            return (out, true);
        }
        match c {
            '"' => {
                out.push('"');
                let mut escaped = false;
                for c in chars.by_ref() {
                    if out.len() >= most {
                        return (out, true);
                    }
                    push(&mut out, c);
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
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    (out, false)
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth.min(MAX_INDENT) {
        out.push_str("  ");
    }
}

/// A character of a string. What isn't seen, or changes the direction of what follows, is shown as JSON's escape of it.
fn push(out: &mut String, c: char) {
    let hidden = c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if hidden {
        _ = write!(out, "\\u{:04x}", u32::from(c));
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_is_added() {
        let odd = r#"{ "n":12345678901234567890 ,"d":1,"d":[ ],"s":"a\"b\\","t":"{,:}","e":[1E400,{}, null]}"#;
        let expected = "{\n  \"n\": 12345678901234567890,\n  \"d\": 1,\n  \"d\": [],\n  \"s\": \"a\\\"b\\\\\",\n  \"t\": \"{,:}\",\n  \"e\": [\n    1E400,\n    {},\n    null\n  ]\n}";
        assert_eq!(pretty(odd, 1_000), (expected.to_owned(), false));
    }

    #[test]
    fn nothing_is_hidden_or_turned_around() {
        assert_eq!(pretty("\"a\u{202e}b\u{200b}\u{7f}é\u{2028}\"", 99).0, r#""a\u202eb\u200b\u007fé\u2028""#);
    }

    #[test]
    fn what_is_deep_or_long_stays_small() {
        let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
        assert!(pretty(&deep, usize::MAX).0.lines().all(|line| line.len() <= 2 * MAX_INDENT + 2));
        for json in [format!("\"{}\"", "é".repeat(1_000)), format!("[{}0]", "0,".repeat(1_000)), deep] {
            let (shown, cut) = pretty(&json, 100);
            assert!(cut && shown.len() < 200, "{shown}");
        }
    }
}
