//! The place of an offset in JSON text, for the errors of parsers that only count bytes.

use super::Pointer;

/// A JSON Pointer (RFC 6901) to the value, or to the member whose name, ends at an offset or contains it. The text must
/// be valid JSON. An offset behind an object or array points to that whole value.
pub fn pointer_at(text: &str, offset: usize) -> String {
    /// An object or array that is open at the offset.
    enum Open {
        /// The name of the current member, as it is written; `None` before one.
        Object(Option<String>),
        /// The index of the current element.
        Array(usize),
    }
    let mut stack: Vec<Open> = Vec::new();
    let mut characters = text.char_indices().take_while(|(at, _)| *at < offset);
    while let Some((_, character)) = characters.next() {
        match character {
            '{' => stack.push(Open::Object(None)),
            '[' => stack.push(Open::Array(0)),
            '}' | ']' => drop(stack.pop()),
            ',' => match stack.last_mut() {
                Some(Open::Object(name)) => *name = None,
                Some(Open::Array(index)) => *index = index.saturating_add(1),
                None => {}
            },
            '"' => {
                let mut string = String::new();
                while let Some((_, character)) = characters.next() {
                    match character {
                        '"' => break,
                        '\\' => string.extend(characters.next().map(|(_, escaped)| escaped)),
                        _ => string.push(character),
                    }
                }
                if let Some(Open::Object(name @ None)) = stack.last_mut() {
                    *name = Some(string);
                }
            }
            _ => {}
        }
    }
    let mut pointer = String::new();
    for open in stack {
        match open {
            Open::Object(None) => break,
            Open::Object(Some(name)) => pointer.extend(["/", &Pointer::escape(&name)]),
            Open::Array(index) => pointer.extend(["/", &index.to_string()]),
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_leads_to_the_value_that_ends_there() {
        let text = r#"{"a":{"b/c":[1,{"d":true},"x,{\"[e"],"f":7},"g":"h"}"#;
        let after = |part: &str| pointer_at(text, text.find(part).unwrap() + part.len());
        assert_eq!(after("[1"), "/a/b~1c/0");
        assert_eq!(after("true"), "/a/b~1c/1/d");
        assert_eq!(after("true}"), "/a/b~1c/1");
        assert_eq!(after("[e\""), "/a/b~1c/2");
        assert_eq!(after("\"f\""), "/a/f");
        assert_eq!(after(":7"), "/a/f");
        assert_eq!(after("7}"), "/a");
        assert_eq!(after("\"h\""), "/g");
        assert_eq!(pointer_at(text, text.len()), "");
        assert_eq!(pointer_at("7", 1), "");
    }
}
