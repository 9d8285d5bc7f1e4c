//! Tokens into values: Python's literals, as far as descriptions need them.

use super::{
    Placed, Position, Problem,
    lexer::{Token, tokens},
};
use std::collections::HashMap;

/// Brackets that may be open at a time. The language itself needs five.
const MAX_DEPTH: usize = 32;

/// Longest file that is parsed.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A value and where it begins.
pub(super) type Node = Placed<Value>;

/// A literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A string, adjacent ones joined.
    Text(String),
    /// An integer.
    Int(i64),
    /// `[ … ]`.
    List(Vec<Node>),
    /// `{ … }`, in the order written, no key twice.
    Dict(Vec<(Placed<String>, Node)>),
}

impl Value {
    /// What kind of value it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Int(_) => "a number",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
        }
    }
}

/// The one value that `text` is.
pub(super) fn parse(text: &str) -> Result<Node, Placed<Problem>> {
    if text.len() > MAX_BYTES {
        return Err(Placed::new(Problem::TooLarge { limit: MAX_BYTES }, Position::START));
    }
    let mut parser = Parser { rest: tokens(text)?.into_iter().peekable(), depth: 0 };
    let node = parser.value("`{`")?;
    parser.expect(&Token::End, "the end of the file")?;
    Ok(node)
}

struct Parser {
    rest: std::iter::Peekable<std::vec::IntoIter<Placed<Token>>>,
    depth: usize,
}

impl Parser {
    fn peek(&mut self) -> &Token {
        self.rest.peek().map_or(&Token::End, |token| &token.value)
    }

    fn next(&mut self) -> Placed<Token> {
        self.rest.next().unwrap_or(Placed::new(Token::End, Position::START))
    }

    fn expect(&mut self, token: &Token, expected: &'static str) -> Result<Position, Placed<Problem>> {
        let next = self.next();
        if next.value == *token { Ok(next.at) } else { Err(unexpected(&next, expected)) }
    }

    fn value(&mut self, expected: &'static str) -> Result<Node, Placed<Problem>> {
        let next = self.next();
        let value = match next.value {
            Token::Int(int) => Value::Int(int),
            Token::Text(text) => Value::Text(self.joined(text)),
            Token::Mark('[') => self.nested(next.at, Self::list)?,
            Token::Mark('{') => self.nested(next.at, Self::dict)?,
            Token::Mark('(') => self.nested(next.at, Self::parenthesised)?,
            _ => return Err(unexpected(&next, expected)),
        };
        Ok(Placed::new(value, next.at))
    }

    fn nested(
        &mut self,
        at: Position,
        inside: fn(&mut Self) -> Result<Value, Placed<Problem>>,
    ) -> Result<Value, Placed<Problem>> {
        if self.depth == MAX_DEPTH {
            return Err(Placed::new(Problem::TooDeep { limit: MAX_DEPTH }, at));
        }
        self.depth += 1;
        let value = inside(self);
        self.depth -= 1;
        value
    }

    fn joined(&mut self, mut text: String) -> String {
        while let Token::Text(more) = self.peek() {
            text.push_str(more);
            self.next();
        }
        text
    }

    /// Parentheses only group: they let strings be joined over several lines.
    fn parenthesised(&mut self) -> Result<Value, Placed<Problem>> {
        let node = self.value("a string")?;
        self.expect(&Token::Mark(')'), "`)` (tuples are not supported: write a list)")?;
        Ok(node.value)
    }

    fn list(&mut self) -> Result<Value, Placed<Problem>> {
        let mut items = Vec::new();
        while *self.peek() != Token::Mark(']') {
            items.push(self.value("a string, `[` or `{`")?);
            if *self.peek() != Token::Mark(']') {
                self.expect(&Token::Mark(','), "`,` or `]`")?;
            }
        }
        self.next();
        Ok(Value::List(items))
    }

    fn dict(&mut self) -> Result<Value, Placed<Problem>> {
        let mut items = Vec::new();
        let mut lines = HashMap::new();
        while *self.peek() != Token::Mark('}') {
            let key = self.next();
            let Token::Text(text) = key.value else {
                return Err(unexpected(&key, "a key in quotes, or `}`"));
            };
            let text = self.joined(text);
            if let Some(first) = lines.insert(text.clone(), key.at.line) {
                return Err(Placed::new(Problem::DuplicateKey { key: text, first }, key.at));
            }
            self.expect(&Token::Mark(':'), "`:`")?;
            let value = self.value("a value")?;
            items.push((Placed::new(text, key.at), value));
            if *self.peek() != Token::Mark('}') {
                self.expect(&Token::Mark(','), "`,` or `}`")?;
            }
        }
        self.next();
        Ok(Value::Dict(items))
    }
}

fn unexpected(token: &Placed<Token>, expected: &'static str) -> Placed<Problem> {
    Placed::new(Problem::Unexpected { found: token.value.to_string(), expected }, token.at)
}
