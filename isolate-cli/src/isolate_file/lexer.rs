//! Text into tokens, for files and for the conditions in them.

use super::{Placed, Position, Problem};
use std::{fmt, iter::Peekable, str::Chars};

/// The smallest unit of meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// One of `{ } [ ] ( ) , :`.
    Mark(char),
    /// `==`.
    Equals,
    /// A string, its escapes resolved.
    Text(String),
    /// An integer.
    Int(i64),
    /// A bare word.
    Word(String),
    /// The end of the text.
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mark(mark) => write!(f, "`{mark}`"),
            Self::Equals => f.write_str("`==`"),
            Self::Text(text) => {
                const SHOWN: usize = 40;
                let start: String = text.chars().take(SHOWN).collect();
                let rest = if start.len() < text.len() { "..." } else { "" };
                write!(f, "the string {start:?}{rest}")
            }
            Self::Int(int) => write!(f, "the number {int}"),
            Self::Word(word) => write!(f, "`{word}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comment {
    /// From its `#` to the end of the line.
    pub(super) text: String,
    /// Whether a token stands before it on its line.
    pub(super) is_beside: bool,
}

/// All tokens of `text`, the last of them [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Placed<Token>>, Placed<Problem>> {
    commented_tokens(text).map(|(tokens, _)| tokens)
}

/// Tokens and the comments before each of them.
pub(super) type CommentedTokens = (Vec<Placed<Token>>, Vec<Vec<Comment>>);

/// All tokens of `text`, and all comments.
pub(super) fn commented_tokens(text: &str) -> Result<CommentedTokens, Placed<Problem>> {
    let mut lexer =
        Lexer { rest: text.chars().peekable(), at: Position::START, comments: Vec::new(), last_line: 0 };
    let mut tokens = Vec::new();
    let mut comments = Vec::new();
    loop {
        lexer.skip_blank();
        let at = lexer.at;
        let token = lexer.token().map_err(|problem| Placed::new(problem, at))?;
        lexer.last_line = lexer.at.line;
        let end = token == Token::End;
        tokens.push(Placed::new(token, at));
        comments.push(std::mem::take(&mut lexer.comments));
        if end {
            return Ok((tokens, comments));
        }
    }
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    at: Position,
    /// Since the last token.
    comments: Vec<Comment>,
    /// The line that the last token ends in.
    last_line: u32,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        if next == '\n' {
            self.at = Position { line: self.at.line.saturating_add(1), column: 1 };
        } else {
            self.at.column = self.at.column.saturating_add(1);
        }
        Some(next)
    }

    fn skip_blank(&mut self) {
        while let Some(&next) = self.rest.peek() {
            match next {
                '#' => {
                    let is_beside = self.at.line == self.last_line;
                    let text = self.take_while(|c| c != '\n').trim_end().to_owned();
                    self.comments.push(Comment { text, is_beside });
                }
                // Some editors put a byte order mark at the start.
                ' ' | '\t' | '\r' | '\n' | '\u{feff}' => {
                    self.next();
                }
                _ => return,
            }
        }
    }

    fn token(&mut self) -> Result<Token, Problem> {
        let Some(&first) = self.rest.peek() else { return Ok(Token::End) };
        match first {
            '\'' | '"' => self.string(first),
            '0'..='9' | '-' => self.number(),
            '{' | '}' | '[' | ']' | '(' | ')' | ',' | ':' => {
                self.next();
                Ok(Token::Mark(first))
            }
            '=' => {
                self.next();
                match self.rest.peek() {
                    Some('=') => {
                        self.next();
                        Ok(Token::Equals)
                    }
                    _ => Err(Problem::Character { found: first }),
                }
            }
            c if c == '_' || c.is_ascii_alphabetic() => Ok(Token::Word(self.word())),
            found => Err(Problem::Character { found }),
        }
    }

    fn word(&mut self) -> String {
        self.take_while(|c| c == '_' || c.is_ascii_alphanumeric())
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(&next) = self.rest.peek()
            && accept(next)
        {
            taken.push(next);
            self.next();
        }
        taken
    }

    fn number(&mut self) -> Result<Token, Problem> {
        let given = self.take_while(|c| c == '-' || c == '.' || c == '_' || c.is_ascii_alphanumeric());
        let digits = given.strip_prefix('-').unwrap_or(&given);
        // Python refuses leading zeros too: they were octal once.
        let decimal =
            digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        match given.parse() {
            Ok(int) if decimal => Ok(Token::Int(int)),
            _ => Err(Problem::Number { given }),
        }
    }

    fn string(&mut self, quote: char) -> Result<Token, Problem> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some(c) if c == quote => break,
                Some('\\') => self.escape(&mut text, quote)?,
                None | Some('\n') => return Err(Problem::UnclosedString { quote }),
                Some(c) => text.push(c),
            }
        }
        if text.is_empty() && self.rest.peek() == Some(&quote) {
            return Err(Problem::TripleQuotes);
        }
        Ok(Token::Text(text))
    }

    /// What follows a backslash, as in Python: an escape that is not known stays as it is.
    fn escape(&mut self, text: &mut String, quote: char) -> Result<(), Problem> {
        let Some(escape) = self.next() else { return Err(Problem::UnclosedString { quote }) };
        let resolved = match escape {
            '\n' => return Ok(()),
            '\\' | '\'' | '"' => escape,
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            'x' => self.code(escape, 2)?,
            'u' => self.code(escape, 4)?,
            'U' => self.code(escape, 8)?,
            '0'..='7' => self.octal(escape),
            other => {
                text.push('\\');
                other
            }
        };
        text.push(resolved);
        Ok(())
    }

    fn code(&mut self, escape: char, digits: usize) -> Result<char, Problem> {
        let mut hex = String::new();
        while hex.len() < digits
            && let Some(&next) = self.rest.peek()
            && next.is_ascii_hexdigit()
        {
            hex.push(next);
            self.next();
        }
        let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits);
        code.and_then(char::from_u32).ok_or_else(|| Problem::Escape { escape: format!("{escape}{hex}") })
    }

    fn octal(&mut self, first: char) -> char {
        let mut code = first.to_digit(8).unwrap_or_default();
        for _ in 0..2 {
            let Some(digit) = self.rest.peek().and_then(|c| c.to_digit(8)) else { break };
            code = code * 8 + digit;
            self.next();
        }
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}
