//! Conditions: `OS=="linux" and (arch==64 or mode=="asan")`.
//!
//! `and` binds stronger than `or`, as in Python. There is no `not`, no `!=` and no `in`.

use super::{
    ConditionProblem, ConfigValue, Placed, Problem,
    lexer::{Token, tokens},
    write::quoted,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Parentheses that may be open at a time.
const MAX_DEPTH: usize = 32;

/// A boolean expression over configuration variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `NAME==VALUE`. A number and the text of that number are different values.
    Equals {
        /// The variable.
        variable: String,
        /// What it must be.
        value: ConfigValue,
    },
    /// Joined by `and`; at least two.
    All(Vec<Condition>),
    /// Joined by `or`; at least two.
    Any(Vec<Condition>),
}

impl Condition {
    /// Reads an expression.
    pub fn parse(expression: &str) -> Result<Self, Problem> {
        let refuse = |error: Placed<ConditionProblem>| Problem::Condition {
            expression: expression.to_owned(),
            column: error.at.column,
            problem: error.value,
        };
        let tokens = tokens(expression).map_err(|error| {
            let reason = error.value.to_string();
            refuse(Placed::new(ConditionProblem::Token { reason }, error.at))
        })?;
        let mut parser = Parser { tokens, next: 0, depth: 0 };
        let condition = parser.any().map_err(refuse)?;
        match parser.peek() {
            Token::End => Ok(condition),
            _ => Err(refuse(parser.unexpected("`and`, `or` or the end"))),
        }
    }

    /// Whether it holds. A variable without a value equals nothing.
    pub fn holds(&self, values: &BTreeMap<String, ConfigValue>) -> bool {
        match self {
            Self::Equals { variable, value } => values.get(variable) == Some(value),
            Self::All(parts) => parts.iter().all(|part| part.holds(values)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(values)),
        }
    }

    /// Adds the names of all variables in it to `names`.
    pub fn collect_variables<'a>(&'a self, names: &mut BTreeSet<&'a str>) {
        match self {
            Self::Equals { variable, .. } => {
                names.insert(variable);
            }
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.collect_variables(names));
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::Equals { variable, value: ConfigValue::Int(int) } => return write!(f, "{variable}=={int}"),
            Self::Equals { variable, value: ConfigValue::Text(text) } => {
                return write!(f, "{variable}=={}", quoted(text, '"'));
            }
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
        };
        for (i, part) in parts.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { word })?;
            match part {
                Self::Equals { .. } => write!(f, "{part}")?,
                // Without parentheses a nested expression of the same kind would be read as one with its parent.
                _ => write!(f, "({part})")?,
            }
        }
        Ok(())
    }
}

struct Parser {
    /// Ends with [`Token::End`].
    tokens: Vec<Placed<Token>>,
    next: usize,
    depth: usize,
}

type Parsed = Result<Condition, Placed<ConditionProblem>>;

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |token| &token.value)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Token::Word(next) if next == word);
        self.next += usize::from(is);
        is
    }

    fn fail(&self, problem: ConditionProblem) -> Placed<ConditionProblem> {
        let at = self.tokens.get(self.next).or(self.tokens.last()).map_or(super::Position::START, |t| t.at);
        Placed::new(problem, at)
    }

    fn unexpected(&self, expected: &'static str) -> Placed<ConditionProblem> {
        self.fail(ConditionProblem::Unexpected { found: self.peek().to_string(), expected })
    }

    fn any(&mut self) -> Parsed {
        self.joined("or", Condition::Any, |parser| parser.joined("and", Condition::All, Self::term))
    }

    fn joined(
        &mut self,
        word: &str,
        join: fn(Vec<Condition>) -> Condition,
        operand: fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let first = operand(self)?;
        if !self.take_word(word) {
            return Ok(first);
        }
        let mut parts = vec![first, operand(self)?];
        while self.take_word(word) {
            parts.push(operand(self)?);
        }
        Ok(join(parts))
    }

    fn term(&mut self) -> Parsed {
        match self.peek().clone() {
            Token::Mark('(') => self.parenthesised(),
            Token::Word(word) if matches!(&*word, "and" | "or" | "not" | "in") => {
                Err(self.unexpected("the name of a variable"))
            }
            Token::Word(variable) => {
                self.next += 1;
                self.comparison(variable)
            }
            Token::Text(_) | Token::Int(_)
                if matches!(self.tokens.get(self.next + 1), Some(Placed { value: Token::Equals, .. })) =>
            {
                Err(self.fail(ConditionProblem::Reversed))
            }
            _ => Err(self.unexpected("the name of a variable")),
        }
    }

    fn parenthesised(&mut self) -> Parsed {
        if self.depth == MAX_DEPTH {
            return Err(self.fail(ConditionProblem::TooDeep { limit: MAX_DEPTH }));
        }
        self.next += 1;
        self.depth += 1;
        let inside = self.any()?;
        self.depth -= 1;
        if *self.peek() != Token::Mark(')') {
            return Err(self.unexpected("`and`, `or` or `)`"));
        }
        self.next += 1;
        Ok(inside)
    }

    fn comparison(&mut self, variable: String) -> Parsed {
        if *self.peek() != Token::Equals {
            return Err(self.unexpected("`==`"));
        }
        self.next += 1;
        let value = match self.peek().clone() {
            Token::Int(int) => ConfigValue::Int(int),
            Token::Text(text) => ConfigValue::Text(text),
            _ => return Err(self.unexpected("a string in quotes or a number")),
        };
        self.next += 1;
        Ok(Condition::Equals { variable, value })
    }
}
