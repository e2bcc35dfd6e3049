//! Tests of the check against `serde_json`.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::super::tests::nested;
use super::*;

/// The value and its depth by the scanner, with the text in two pieces.
fn scan(text: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (before, after) = text.split_at(at.min(text.len()));
    let mut scanner = Scanner::default();
    scanner.push(before);
    scanner.push(after);
    scanner.finish().map(|(value, depth)| (&text[value], depth))
}

/// The same by `serde_json`.
fn reference(text: &[u8]) -> Option<(&[u8], usize)> {
    let text = super::super::bytes_without_mark(text);
    // Only the grammar is compared: in a string, any byte from 0x80 counts as a character.
    let ascii: String = text.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '_' }).collect();
    let raw: &RawValue = serde_json::from_str(&ascii).ok()?;
    let start = raw.get().as_ptr().addr().checked_sub(ascii.as_ptr().addr())?;
    let depth = super::super::depth(raw.get());
    (depth <= MAX_DEPTH).then_some((text.get(start..)?.get(..raw.get().len())?, depth))
}

fn assert_same(text: &[u8]) {
    let expected = reference(text);
    for at in 0..=text.len() {
        assert_eq!(scan(text, at), expected, "{:?} in pieces at {at}", String::from_utf8_lossy(text));
    }
}

/// Fragments of JSON, which make many texts that are almost right.
const FRAGMENTS: [&str; 54] = [
    "\"a\":",
    "\"a\":1,",
    "\"b\":\"c\"}",
    ",{\"n\":",
    "0.5}",
    "\"a\": 1, ",
    "\n  \"b\": \"c\"",
    ",\r\n\t\"d\": true",
    "\n}, {\n",
    "\n                 ",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\"a\"",
    "\"\"",
    "\\",
    "\\\"",
    "\\u",
    "\\u00e9",
    "\\ud83d",
    "\\n",
    "\\x",
    "0",
    "1",
    "12",
    "-",
    "+",
    ".",
    ".5",
    "e",
    "E",
    "e+1",
    "1E400",
    "true",
    "false",
    "null",
    "tru",
    "nul",
    " ",
    "\n",
    "\t",
    "\r",
    "\u{b}",
    "\0",
    "\u{feff}",
    "é",
    "😀",
    "{\"a\":1}",
    "[1,2]",
    "abcdefghijklmnop",
];

#[test]
fn texts_of_up_to_three_fragments_are_judged_as_by_serde_json() {
    assert_same(b"");
    for first in FRAGMENTS {
        assert_same(first.as_bytes());
        for second in FRAGMENTS {
            assert_same([first, second].concat().as_bytes());
            for third in FRAGMENTS {
                let text = [first, second, third].concat();
                assert_eq!(scan(text.as_bytes(), 1), reference(text.as_bytes()), "{text:?}");
            }
        }
    }
}

#[test]
fn damage_to_each_byte_is_judged_as_by_serde_json() {
    let members = br#""a":1,"b":"c","d":true},{"e":12.50,"f":false,"g":null},{"h":0,"#;
    let text = br#""a\u00e9\\":[1,-0.5e+3,0,{"":null}],"long text of more than eight bytes":true,"b":[[],{}]"#;
    // With few bytes behind them, and with many.
    for spaces in [1, 2 * LOOKAHEAD + TAIL] {
        let text = [b" [{", &members[..], text, b"}]", &vec![b' '; spaces]].concat();
        assert!(scan(&text, 0).is_some());
        for at in 0..text.len().min(180) {
            for byte in 0..=0xff {
                let mut damaged = text.clone();
                damaged[at] = byte;
                assert_eq!(scan(&damaged, at), reference(&damaged), "{:?}", String::from_utf8_lossy(&damaged));
                assert_eq!(scan(&damaged, 0), reference(&damaged), "{:?}", String::from_utf8_lossy(&damaged));
            }
            assert_same(&text[..at]);
        }
    }
}

#[test]
fn damage_to_each_byte_of_indented_text_is_judged_as_by_serde_json() {
    let text = concat!(
        "[{\n  \"a\": 1,\n  \"b\": \"c\",\r\n\t\"d\": true\n}, {\n",
        "\"e\": 0.5, \"f\": false, \"g\": null,\n\n    \"h\": {}\n}\n]"
    );
    for spaces in [0, 2 * LOOKAHEAD + TAIL] {
        let text = [text.as_bytes(), &vec![b' '; spaces]].concat();
        assert!(scan(&text, 0).is_some());
        for at in 0..text.len().min(120) {
            for byte in 0..=0xff {
                let mut damaged = text.clone();
                damaged[at] = byte;
                let expected = reference(&damaged);
                assert_eq!(scan(&damaged, at), expected, "{:?}", String::from_utf8_lossy(&damaged));
                assert_eq!(scan(&damaged, 0), expected, "{:?}", String::from_utf8_lossy(&damaged));
            }
        }
        assert_same(&text);
    }
}

#[test]
fn white_space_at_each_place_is_judged_as_by_serde_json() {
    let tokens =
        r#"[ { "a" : 1 , "b" : "c" , "d" : true } , { "e" : null } , { "f" : 0.5 , "g" : [ 2 , { } ] } , { } , 3 ]"#;
    let count = tokens.split(' ').count();
    let long = " ".repeat(70);
    let indentation = format!("\n{}", " ".repeat(17));
    let blanks = [" ", "  ", "\n", "\n  ", "\r\n\t\t", "\t", &indentation, &long, "\u{b}", "\n\0 ", "\n\"", ",", "\n}"];
    for usual in ["", " ", "\n    "] {
        for place in 0..count {
            for blank in blanks {
                let mut text = String::new();
                for (at, token) in tokens.split(' ').enumerate() {
                    text += if at == place { blank } else { usual };
                    text += token;
                }
                assert_same(text.as_bytes());
                text += &long;
                text += &long;
                let expected = reference(text.as_bytes());
                for at in [0, 1, 40, 80] {
                    assert_eq!(scan(text.as_bytes(), at), expected, "{text:?} in pieces at {at}");
                }
            }
        }
    }
}

#[test]
fn tokens_of_any_length_are_judged_as_by_serde_json() {
    for length in 0..40 {
        let letters = "x".repeat(length);
        let digits = "7".repeat(length);
        for token in [
            format!("\"{letters}\""),
            format!("\"{letters}\\n\""),
            format!("\"{letters}\u{1}\""),
            format!("\"{letters}é\""),
            digits.clone(),
            format!("-{digits}"),
            format!("0{digits}"),
            format!("1.{digits}"),
            format!("1.{digits}e"),
            format!("1e-{digits}"),
            format!("{digits}\0"),
            " ".repeat(length),
        ] {
            for text in [
                format!("{{\"a\":{token}}}"),
                format!("{{{token}:1,\"b\":{token} ,{token}: {token}}}"),
                format!("[{token},{token}, {token}]"),
                format!("{{\n  {token}: {token},\n  \"b\": {token}\n}}"),
            ] {
                assert_same(text.as_bytes());
                assert_same(format!("[{text},{text}{}]", " ".repeat(140)).as_bytes());
            }
        }
    }
}

#[test]
fn zero_at_the_end_of_a_piece_may_go_on() {
    for text in ["[0.5]", "[0e1]", "[-0.5,0]", "{\"a\":0.5}"] {
        assert_same(text.as_bytes());
    }
}

#[test]
fn byte_order_mark_may_arrive_in_pieces() {
    assert_same("\u{feff}{}".as_bytes());
    assert_same(b"\xef\xbb{}");
    assert_same(b"\xef{}");
    assert_same(" \u{feff}{}".as_bytes());
}

#[test]
fn depth_is_counted_up_to_its_limit() {
    for levels in [1, 2, MAX_DEPTH - 1, MAX_DEPTH] {
        assert_eq!(scan(nested(levels).as_bytes(), 1).unwrap().1, levels);
    }
    assert_eq!(scan(nested(MAX_DEPTH + 1).as_bytes(), 1), None);
    assert_eq!(scan(br#"{"a":[{"b":[]}],"c":{}}"#, 0).unwrap().1, 4);
}

proptest! {
    #[test]
    fn any_text_is_judged_as_by_serde_json(
        parts in proptest::collection::vec(proptest::sample::select(&FRAGMENTS[..]), 0..12),
        at in 0_usize..60,
    ) {
        let text = parts.concat();
        prop_assert_eq!(scan(text.as_bytes(), at), reference(text.as_bytes()), "{:?}", text);
    }

    #[test]
    fn any_text_in_an_object_is_judged_as_by_serde_json(
        parts in proptest::collection::vec(proptest::sample::select(&FRAGMENTS[..]), 0..12),
        at in 0_usize..60,
    ) {
        let text = format!("[{{{}}}]{}", parts.concat(), " ".repeat(140));
        prop_assert_eq!(scan(text.as_bytes(), at), reference(text.as_bytes()), "{:?}", text);
    }

    #[test]
    fn any_bytes_in_a_string_are_judged_as_by_serde_json(
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        at in 0_usize..60,
    ) {
        let text = [b"\"", bytes.as_slice(), b"\""].concat();
        prop_assert_eq!(scan(&text, at), reference(&text), "{:?}", text);
    }
}
