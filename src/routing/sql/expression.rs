//! The parts of an expression.

use super::function::Function;
use super::lexer::Token;
use super::value::Type;
use crate::routing::input::Operand;

/// An expression, or a part of one. There are at most [`MAX_OPERATIONS`](super::MAX_OPERATIONS) parts that have parts,
/// so neither the parser nor the evaluation nests deeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Boolean(bool),
    Integer(i32),
    String(String),
    /// An attribute, or `DATA('/…')`.
    Value(Operand),
    /// `EXISTS`, or `DATA_EXISTS('/…')`.
    Exists(Operand),
    Not(Box<Self>),
    Negate(Box<Self>),
    Binary(Operator, Box<[Self; 2]>),
    /// `LIKE` with its pattern.
    Like(Box<Self>, String),
    /// `IN` with its set.
    In(Box<Self>, Vec<Self>),
    Call(Function, Vec<Self>),
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    Xor,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Modulo,
}

impl Part {
    /// The type of its values, if it is always the same.
    pub(super) fn type_of(&self) -> Option<Type> {
        match self {
            Self::Value(_) => None,
            Self::Boolean(_) | Self::Exists(_) | Self::Not(_) | Self::Like(..) | Self::In(..) => Some(Type::Boolean),
            Self::Integer(_) | Self::Negate(_) => Some(Type::Integer),
            Self::String(_) => Some(Type::String),
            Self::Binary(operator, _) => Some(operator.type_of()),
            Self::Call(function, _) => Some(function.type_of()),
        }
    }
}

impl Operator {
    pub(super) fn of(token: Token<'_>) -> Option<Self> {
        Some(match token {
            Token::And => Self::And,
            Token::Or => Self::Or,
            Token::Xor => Self::Xor,
            Token::Equal => Self::Equal,
            Token::NotEqual => Self::NotEqual,
            Token::Less => Self::Less,
            Token::LessOrEqual => Self::LessOrEqual,
            Token::Greater => Self::Greater,
            Token::GreaterOrEqual => Self::GreaterOrEqual,
            Token::Plus => Self::Plus,
            Token::Minus => Self::Minus,
            Token::Times => Self::Times,
            Token::Divide => Self::Divide,
            Token::Modulo => Self::Modulo,
            _ => return None,
        })
    }

    /// How tightly it binds (CESQL 1.0, section 3.6): the tightest have the highest number.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::And | Self::Or | Self::Xor => 1,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 2,
            Self::Plus | Self::Minus => 3,
            Self::Times | Self::Divide | Self::Modulo => 4,
        }
    }

    /// The least precedence of the operators in its right operand. As in CESQLParser.g4, `AND`, `OR` and `XOR` group
    /// from the right, and all others from the left.
    pub(super) fn precedence_of_right(self) -> u8 {
        match self {
            Self::And | Self::Or | Self::Xor => self.precedence(),
            _ => self.precedence().saturating_add(1),
        }
    }

    /// The type of its results (section 3.4.2).
    pub(super) fn type_of(self) -> Type {
        match self {
            Self::Plus | Self::Minus | Self::Times | Self::Divide | Self::Modulo => Type::Integer,
            _ => Type::Boolean,
        }
    }
}
