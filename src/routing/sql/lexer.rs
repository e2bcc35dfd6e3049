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

/// A symbol comes before those that it starts with.
const SYMBOLS: [(&str, Token<'_>); 15] = [
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
    ("+", Token::Plus),
    ("-", Token::Minus),
    ("*", Token::Times),
    ("/", Token::Divide),
    ("%", Token::Modulo),
    ("=", Token::Equal),
    ("!=", Token::NotEqual),
    ("<>", Token::NotEqual),
    ("<=", Token::LessOrEqual),
    (">=", Token::GreaterOrEqual),
    ("<", Token::Less),
    (">", Token::Greater),
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
        let rest = self.text.get(self.end..).unwrap_or_default().trim_start_matches([' ', '\t', '\r', '\n']);
        let start = self.text.len().saturating_sub(rest.len());
        let error = |problem| ExpressionError::new(self.text, start, problem);
        let (token, length) = match rest.chars().next() {
            None => (Token::End, 0),
            Some(quote @ ('\'' | '"')) => {
                let text = string(rest, quote).ok_or_else(|| error(Problem::Unclosed))?;
                let length = text.len().saturating_add(2);
                if rest.get(length..).is_some_and(|rest| rest.starts_with(quote)) {
                    return Err(error(Problem::DoubledQuote));
                }
                (Token::Text(text, quote), length)
            }
            Some(first) if is_in_word(first) => {
                let word = rest.split(|c| !is_in_word(c)).next().unwrap_or_default();
                (word_or_keyword(word), word.len())
            }
            Some(_) => {
                let mut symbols = SYMBOLS.iter();
                let (symbol, token) =
                    symbols.find(|(symbol, _)| rest.starts_with(symbol)).ok_or_else(|| error(Problem::Character))?;
                (*token, symbol.len())
            }
        };
        self.end = start.saturating_add(length);
        Ok((token, start))
    }
}

fn is_in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
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
fn string(text: &str, quote: char) -> Option<&str> {
    let inner = text.strip_prefix(quote)?;
    let mut characters = inner.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            _ if character == quote => return inner.get(..at),
            _ => {}
        }
    }
    None
}
