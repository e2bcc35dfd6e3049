//! The tokens of an expression (CESQL 1.0, section 2, and CESQLLexer.g4).

use super::error::{ExpressionError, Problem};

/// A token. Keywords are recognised in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// The name of an attribute or a function.
    Word(&'t str),
    /// Digits.
    Integer(&'t str),
    /// A string, as it is written between its quotes, and the quote.
    Text(&'t str, char),
    And,
    Or,
    Xor,
    Not,
    Like,
    Exists,
    In,
    True,
    False,
    Open,
    Close,
    Comma,
    Plus,
    Minus,
    Times,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
    Less,
    Greater,
    /// The end of the text.
    End,
}

const KEYWORDS: [(&str, Token<'_>); 9] = [
    ("AND", Token::And),
    ("OR", Token::Or),
    ("XOR", Token::Xor),
    ("NOT", Token::Not),
    ("LIKE", Token::Like),
    ("EXISTS", Token::Exists),
    ("IN", Token::In),
    ("TRUE", Token::True),
    ("FALSE", Token::False),
];

/// Reads tokens from a text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    /// The offset after the last token, in bytes.
    end: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, end: 0 }
    }

    /// The text.
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// The offset after the last token, in bytes.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// The next token with its offset in bytes.
    pub(super) fn next(&mut self) -> Result<(Token<'t>, usize), ExpressionError> {
        let rest = self.text.get(self.end..).unwrap_or_default();
        let blanks = rest.bytes().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
        let rest = rest.get(blanks..).unwrap_or_default();
        let start = self.end.saturating_add(blanks);
        let error = |problem| ExpressionError::new(self.text, start, problem);
        let (token, length) = match rest.as_bytes() {
            [] => (Token::End, 0),
            [quote @ (b'\'' | b'"'), ..] => {
                let text = string(rest, *quote).ok_or_else(|| error(Problem::Unclosed))?;
                let length = text.len().saturating_add(2);
                if rest.as_bytes().get(length) == Some(quote) {
                    return Err(error(Problem::DoubledQuote));
                }
                (Token::Text(text, char::from(*quote)), length)
            }
            [first, ..] if is_in_word(first) => {
                let length = rest.as_bytes().iter().take_while(|byte| is_in_word(byte)).count();
                (word_or_keyword(rest.get(..length).unwrap_or_default()), length)
            }
            text => symbol(text).ok_or_else(|| error(Problem::Character))?,
        };
        self.end = start.saturating_add(length);
        Ok((token, start))
    }
}

fn is_in_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

/// The symbol at the start of a text, and its length.
fn symbol(text: &[u8]) -> Option<(Token<'static>, usize)> {
    Some(match text {
        [b'(', ..] => (Token::Open, 1),
        [b')', ..] => (Token::Close, 1),
        [b',', ..] => (Token::Comma, 1),
        [b'+', ..] => (Token::Plus, 1),
        [b'-', ..] => (Token::Minus, 1),
        [b'*', ..] => (Token::Times, 1),
        [b'/', ..] => (Token::Divide, 1),
        [b'%', ..] => (Token::Modulo, 1),
        [b'=', ..] => (Token::Equal, 1),
        [b'!', b'=', ..] | [b'<', b'>', ..] => (Token::NotEqual, 2),
        [b'<', b'=', ..] => (Token::LessOrEqual, 2),
        [b'>', b'=', ..] => (Token::GreaterOrEqual, 2),
        [b'<', ..] => (Token::Less, 1),
        [b'>', ..] => (Token::Greater, 1),
        _ => return None,
    })
}

fn word_or_keyword(word: &str) -> Token<'_> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Token::Integer(word);
    }
    let keyword = KEYWORDS.iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
    keyword.map_or(Token::Word(word), |(_, token)| *token)
}

/// The part between the quotes of a string at the start of a text. A backslash and the character after it belong to
/// the string. `None` if there is no closing quote.
fn string(text: &str, quote: u8) -> Option<&str> {
    let inner = text.get(1..)?;
    let mut bytes = inner.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            // The character may have further bytes, none of which is a quote or a backslash.
            b'\\' => drop(bytes.next()),
            _ if byte == quote => return inner.get(..at),
            _ => {}
        }
    }
    None
}
