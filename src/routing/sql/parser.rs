//! The parser: by precedence climbing, as in CESQLParser.g4 of the specification.

use super::error::{ExpressionError, Problem};
use super::expression::{Operator, Part};
use super::function::Function;
use super::lexer::{Lexer, Token};
use super::{MAX_LENGTH, MAX_OPERATIONS};
use crate::json::Pointer;
use crate::routing::InputKind;
use crate::routing::input::Operand;

/// Parses an expression over inputs of a kind.
pub(super) fn parse(text: &str, kind: InputKind) -> Result<Part, ExpressionError> {
    if text.len() > MAX_LENGTH {
        return Err(ExpressionError::new(text, MAX_LENGTH, Problem::Length));
    }
    let mut lexer = Lexer::new(text);
    let (token, start) = lexer.next()?;
    let mut parser = Parser { lexer, token, start, kind, operations: 0 };
    let part = parser.part(0)?;
    parser.expect(Token::End, Problem::Operator)?;
    Ok(part)
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The next token.
    token: Token<'t>,
    /// Its offset in bytes.
    start: usize,
    kind: InputKind,
    /// The number of operators, parentheses and calls up to here, which bounds the depth of the recursion.
    operations: usize,
}

impl<'t> Parser<'t> {
    /// An operand, followed by operators of at least this precedence.
    fn part(&mut self, least: u8) -> Result<Part, ExpressionError> {
        let mut left = self.operand()?;
        loop {
            if matches!(self.token, Token::Like | Token::In | Token::Not) {
                left = self.like_or_in(left)?;
                continue;
            }
            let operator = match Operator::of(self.token) {
                Some(operator) if operator.precedence() >= least => operator,
                _ => return Ok(left),
            };
            self.operation()?;
            let right = self.part(operator.precedence_of_right())?;
            left = Part::Binary(operator, Box::new([left, right]));
        }
    }

    /// The rest of `x LIKE pattern` or `x IN (set)`, or of one of them with `NOT`. Both bind more tightly than all
    /// operators that may be to their left.
    fn like_or_in(&mut self, left: Part) -> Result<Part, ExpressionError> {
        let is_negated = self.token == Token::Not;
        if is_negated {
            self.operation()?;
        }
        let part = match self.token {
            Token::Like => {
                self.operation()?;
                Part::Like(Box::new(left), self.string(Problem::Pattern)?)
            }
            Token::In => {
                self.operation()?;
                self.expect(Token::Open, Problem::Open)?;
                let set = self.parts()?;
                Part::In(Box::new(left), set)
            }
            _ => return Err(self.error(Problem::Negated)),
        };
        Ok(if is_negated { Part::Not(Box::new(part)) } else { part })
    }

    /// A literal, an attribute, a call, a part in parentheses, or one of them after a unary operator, which binds more
    /// tightly than all binary ones.
    fn operand(&mut self) -> Result<Part, ExpressionError> {
        match self.token {
            Token::Open => {
                self.operation()?;
                let part = self.part(0)?;
                self.expect(Token::Close, Problem::Close)?;
                Ok(part)
            }
            Token::Not => {
                self.operation()?;
                Ok(Part::Not(Box::new(self.operand()?)))
            }
            Token::Plus | Token::Minus => self.signed(),
            Token::Exists => {
                self.operation()?;
                let Token::Word(name) = self.token else { return Err(self.error(Problem::Attribute(self.kind))) };
                let start = self.start;
                self.advance()?;
                self.attribute(name, start).map(Part::Exists)
            }
            Token::True | Token::False => {
                let value = self.token == Token::True;
                self.advance()?;
                Ok(Part::Boolean(value))
            }
            Token::Integer(_) => self.integer(self.start),
            Token::Text(..) => self.string(Problem::Operand).map(Part::String),
            Token::Word(name) => {
                let start = self.start;
                self.advance()?;
                match self.token {
                    Token::Open => self.call(name, start),
                    _ => self.attribute(name, start).map(Part::Value),
                }
            }
            _ => Err(self.error(Problem::Operand)),
        }
    }

    /// An integer with a sign, which directly precedes its digits, or the negation of an operand.
    fn signed(&mut self) -> Result<Part, ExpressionError> {
        let (sign, start, end) = (self.token, self.start, self.lexer.end());
        self.operation()?;
        match (self.token, sign) {
            (Token::Integer(_), _) if self.start == end => self.integer(start),
            (_, Token::Minus) => Ok(Part::Negate(Box::new(self.operand()?))),
            _ => Err(self.error_at(start, Problem::Operand)),
        }
    }

    /// The integer that starts at an offset, and ends with the next token.
    fn integer(&mut self, start: usize) -> Result<Part, ExpressionError> {
        let digits = self.lexer.text().get(start..self.lexer.end()).unwrap_or_default();
        let value = digits.parse().map_err(|_| self.error_at(start, Problem::Integer))?;
        self.advance()?;
        Ok(Part::Integer(value))
    }

    /// A string without its quotes. A backslash before its kind of quote is removed.
    fn string(&mut self, problem: Problem) -> Result<String, ExpressionError> {
        let Token::Text(text, quote) = self.token else { return Err(self.error(problem)) };
        self.advance()?;
        if !text.contains(quote) {
            return Ok(text.to_owned());
        }
        let mut string = String::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match characters.as_str().chars().next().filter(|_| character == '\\') {
                Some(escaped) => {
                    if escaped != quote {
                        string.push(character);
                    }
                    string.push(escaped);
                    characters.next();
                }
                None => string.push(character),
            }
        }
        Ok(string)
    }

    /// The attribute with a name, in any case.
    fn attribute(&self, name: &str, start: usize) -> Result<Operand, ExpressionError> {
        let operand = Operand::parse(&name.to_ascii_lowercase(), self.kind);
        operand.ok_or_else(|| self.error_at(start, Problem::Attribute(self.kind)))
    }

    /// The rest of a call of the function with this name.
    fn call(&mut self, name: &str, start: usize) -> Result<Part, ExpressionError> {
        self.operation()?;
        for (known, of) in [("DATA", Part::Value as fn(Operand) -> Part), ("DATA_EXISTS", Part::Exists)] {
            if name.eq_ignore_ascii_case(known) {
                return self.pointer().map(of);
            }
        }
        let arguments = match self.token {
            Token::Close => {
                self.advance()?;
                Vec::new()
            }
            _ => self.parts()?,
        };
        let function = Function::find(name, arguments.len());
        function.map(|function| Part::Call(function, arguments)).ok_or_else(|| self.error_at(start, Problem::Function))
    }

    /// A JSON Pointer as a string, and `)`.
    fn pointer(&mut self) -> Result<Operand, ExpressionError> {
        let start = self.start;
        let pointer = Pointer::parse(&self.string(Problem::Pointer)?);
        let pointer = pointer.ok_or_else(|| self.error_at(start, Problem::Pointer))?;
        self.expect(Token::Close, Problem::Close)?;
        Ok(Operand::Pointer(pointer))
    }

    /// One or more parts, separated by commas, and `)`.
    fn parts(&mut self) -> Result<Vec<Part>, ExpressionError> {
        let mut parts = vec![self.part(0)?];
        while self.token == Token::Comma {
            self.advance()?;
            parts.push(self.part(0)?);
        }
        self.expect(Token::Close, Problem::Close)?;
        Ok(parts)
    }

    /// Counts the operator, parenthesis or call that the next token is, and skips it.
    fn operation(&mut self) -> Result<(), ExpressionError> {
        self.operations = self.operations.saturating_add(1);
        if self.operations > MAX_OPERATIONS {
            return Err(self.error(Problem::Operations));
        }
        self.advance()
    }

    fn expect(&mut self, token: Token<'_>, problem: Problem) -> Result<(), ExpressionError> {
        if self.token == token { self.advance() } else { Err(self.error(problem)) }
    }

    fn advance(&mut self) -> Result<(), ExpressionError> {
        (self.token, self.start) = self.lexer.next()?;
        Ok(())
    }

    /// The error at the next token.
    fn error(&self, problem: Problem) -> ExpressionError {
        self.error_at(self.start, problem)
    }

    fn error_at(&self, start: usize, problem: Problem) -> ExpressionError {
        ExpressionError::new(self.lexer.text(), start, problem)
    }
}
