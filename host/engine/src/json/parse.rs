//! Reading JSON as Jackson does with the limits that it has by default.

use super::{Json, Malformed, Object};

/// Jackson's `StreamReadConstraints`: levels of nesting, and characters of a number.
const MAX_DEPTH: usize = 1_000;
const MAX_NUMBER: usize = 1_000;

pub(super) fn parse(document: &[u8]) -> Result<Json, Malformed> {
    let text = std::str::from_utf8(document).map_err(|error| Malformed { at: error.valid_up_to() })?;
    let mut parser = Parser { text, at: 0, depth: 0 };
    if text.starts_with('\u{feff}') {
        parser.at = '\u{feff}'.len_utf8();
    }
    parser.value()
}

struct Parser<'t> {
    text: &'t str,
    /// Always at the boundary of a character.
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn fail<T>(&self) -> Result<T, Malformed> {
        Err(Malformed { at: self.at })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Consumes an ASCII character if it is next.
    fn accept(&mut self, char: u8) -> bool {
        let is_next = self.peek() == Some(char);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, char: u8) -> Result<(), Malformed> {
        if self.accept(char) { Ok(()) } else { self.fail() }
    }

    fn value(&mut self) -> Result<Json, Malformed> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => self.fail(),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Malformed> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let follows = rest.strip_prefix(word).and_then(|rest| rest.chars().next());
        if !rest.starts_with(word) || follows.is_some_and(char::is_alphanumeric) {
            return self.fail();
        }
        self.at += word.len();
        Ok(value)
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, Malformed>) -> Result<Json, Malformed> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail();
        }
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Json, Malformed> {
        let mut elements = Vec::new();
        self.skip_space();
        if self.accept(b']') {
            return Ok(Json::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            self.skip_space();
            if self.accept(b']') {
                return Ok(Json::Array(elements));
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self) -> Result<Json, Malformed> {
        let mut members = Object::new();
        self.skip_space();
        if self.accept(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            let value = self.value()?;
            // Of two members with one name the later value counts, at the place of the first.
            members.insert(name, value);
            self.skip_space();
            if self.accept(b'}') {
                return Ok(Json::Object(members));
            }
            self.expect(b',')?;
        }
    }

    fn string(&mut self) -> Result<String, Malformed> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(end) = rest.find(|char: char| matches!(char, '"' | '\\' | '\0'..='\u{1f}')) else {
                return self.fail();
            };
            out.push_str(rest.get(..end).unwrap_or_default());
            self.at += end;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                // A control character has to be escaped.
                _ => return self.fail(),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        self.at += 1;
        let Some(letter) = self.peek() else { return self.fail() };
        let char = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b't' => '\t',
            b'n' => '\n',
            b'f' => '\u{c}',
            b'r' => '\r',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return self.fail(),
        };
        self.at += 1;
        Ok(char)
    }

    /// One `\uXXXX`, or two that are a pair. Half a pair becomes `?`, as in Java's own UTF-8.
    fn unicode(&mut self) -> Result<char, Malformed> {
        let high = self.hex()?;
        let rest = self.text.get(self.at..).unwrap_or_default();
        if (0xD800..0xDC00).contains(&high) && rest.starts_with("\\u") {
            let before = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xDC00..0xE000).contains(&low) {
                let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or('?'));
            }
            self.at = before;
        }
        Ok(char::from_u32(high).unwrap_or('?'))
    }

    fn hex(&mut self) -> Result<u32, Malformed> {
        let digits = self.text.get(self.at..self.at + 4).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else { return self.fail() };
        self.at += 4;
        Ok(code)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Json, Malformed> {
        let start = self.at;
        self.accept(b'-');
        let has_leading_zero = self.peek() == Some(b'0');
        let digits = self.digits();
        if digits == 0 || (has_leading_zero && digits > 1) {
            return self.fail();
        }
        let mut is_integer = true;
        if self.accept(b'.') {
            is_integer = false;
            if self.digits() == 0 {
                return self.fail();
            }
        }
        if self.accept(b'e') || self.accept(b'E') {
            is_integer = false;
            if !self.accept(b'-') {
                self.accept(b'+');
            }
            if self.digits() == 0 {
                return self.fail();
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let is_delimited = matches!(self.peek(), None | Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}' | b':'));
        if text.len() > MAX_NUMBER || !is_delimited {
            return self.fail();
        }
        if is_integer {
            return Ok(text.parse().map_or_else(|_| Json::Big(text.to_owned()), Json::Int));
        }
        text.parse().map_or_else(|_| self.fail(), |value| Ok(Json::Double(value)))
    }
}
