//! One way to write a description: what `isolate fmt` makes of a file. Order of keys, indent, quotes and the form of
//! conditions are settled; the order of lists and all comments stay, and so does the meaning.

use super::{
    Condition, Document, Placed, Problem,
    lexer::{Comment, Token, commented_tokens},
    write::quoted,
};
use std::fmt::Write as _;

/// Keys in the order that they are written in. The same key never stands at two levels.
const ORDER: [&str; 6] = ["includes", "variables", "conditions", "command", "files", "read_only"];

/// The canonical text of a description. Formatting it again changes nothing.
pub fn formatted(text: &str) -> Result<String, Placed<Problem>> {
    // From here on it is known to be well-formed and not nested deeply.
    Document::parse(text)?;
    let (tokens, comments) = commented_tokens(text)?;
    let mut reader = Reader { tokens, comments, next: 0 };
    let (_, above) = reader.gap();
    let (node, inner) = reader.value();
    let (mut beside, below) = reader.gap();
    beside.splice(0..0, inner);
    let mut printer = Printer { text: String::new() };
    printer.comments(0, &above);
    printer.node(0, "", &node);
    printer.end_line("", &beside);
    printer.comments(0, &below);
    Ok(printer.text)
}

/// A value as it was written.
enum Node {
    Text(String),
    Int(i64),
    List(Items),
    Dict(Items),
}

/// What is in brackets, and the comments before the closing one.
#[derive(Default)]
struct Items {
    items: Vec<Item>,
    end: Vec<String>,
}

/// An item of a list or dictionary, with the comments above it and at its end.
struct Item {
    above: Vec<String>,
    key: Option<String>,
    node: Node,
    beside: Vec<String>,
}

/// Tokens of a well-formed text.
struct Reader {
    tokens: Vec<Placed<Token>>,
    /// Before the token of the same place in `tokens`.
    comments: Vec<Vec<Comment>>,
    next: usize,
}

impl Reader {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |token| &token.value)
    }

    /// The comments before the next token: those on the line of the one before, and those on lines of their own.
    fn gap(&mut self) -> (Vec<String>, Vec<String>) {
        let comments = self.comments.get_mut(self.next).map(std::mem::take).unwrap_or_default();
        let (beside, own): (Vec<_>, Vec<_>) = comments.into_iter().partition(|comment| comment.is_beside);
        let texts = |comments: Vec<Comment>| comments.into_iter().map(|comment| comment.text).collect();
        (texts(beside), texts(own))
    }

    /// The next value, and the comments in the middle of it.
    fn value(&mut self) -> (Node, Vec<String>) {
        let mut inner = self.all_of_gap();
        let token = self.peek().clone();
        self.next += 1;
        let node = match token {
            Token::Mark('[') => Node::List(self.items()),
            Token::Mark('{') => Node::Dict(self.items()),
            Token::Mark('(') => {
                let (node, more) = self.value();
                inner.extend(more);
                inner.extend(self.all_of_gap());
                self.next += 1;
                node
            }
            Token::Int(int) => Node::Int(int),
            Token::Text(text) => Node::Text(self.joined(text, &mut inner)),
            other => Node::Text(other.to_string()),
        };
        (node, inner)
    }

    fn all_of_gap(&mut self) -> Vec<String> {
        let (mut all, own) = self.gap();
        all.extend(own);
        all
    }

    fn joined(&mut self, mut text: String, inner: &mut Vec<String>) -> String {
        while let Token::Text(more) = self.peek() {
            text.push_str(more);
            inner.extend(self.all_of_gap());
            self.next += 1;
        }
        text
    }

    /// Up to the closing bracket.
    fn items(&mut self) -> Items {
        let mut found = Items::default();
        loop {
            let (beside, mut above) = self.gap();
            match found.items.last_mut() {
                Some(last) => last.beside.extend(beside),
                None => above.splice(0..0, beside).for_each(drop),
            }
            if matches!(self.peek(), Token::Mark(']' | '}') | Token::End) {
                self.next += 1;
                found.end = above;
                return found;
            }
            let (mut node, mut beside) = self.value();
            let mut key = None;
            if let (Node::Text(text), Token::Mark(':')) = (&node, self.peek()) {
                key = Some(text.clone());
                beside.extend(self.all_of_gap());
                self.next += 1;
                let (value, inner) = self.value();
                node = value;
                beside.extend(inner);
            }
            if *self.peek() == Token::Mark(',') {
                beside.extend(self.all_of_gap());
                self.next += 1;
            }
            found.items.push(Item { above, key, node, beside });
        }
    }
}

struct Printer {
    text: String,
}

impl Printer {
    fn comments(&mut self, indent: usize, comments: &[String]) {
        for comment in comments {
            // Writing to a string does not fail.
            let _ = writeln!(self.text, "{:indent$}{comment}", "");
        }
    }

    fn end_line(&mut self, mark: &str, beside: &[String]) {
        self.text.push_str(mark);
        beside.iter().for_each(|comment| self.text.extend(["  ", comment]));
        self.text.push('\n');
    }

    /// Without the indent of its first line and the end of its last one.
    fn node(&mut self, indent: usize, key: &str, node: &Node) {
        match node {
            Node::Text(text) => self.text.push_str(&quoted(text, '\'')),
            Node::Int(int) => self.text.push_str(&int.to_string()),
            Node::List(items) => self.list(indent, key, items),
            Node::Dict(items) => self.dict(indent, items),
        }
    }

    fn list(&mut self, indent: usize, key: &str, items: &Items) {
        if items.items.is_empty() && items.end.is_empty() {
            return self.text.push_str("[]");
        }
        self.text.push_str("[\n");
        for item in &items.items {
            match &item.node {
                Node::List(condition) if key == "conditions" => self.condition(indent + 2, item, condition),
                node => {
                    self.comments(indent + 2, &item.above);
                    let _ = write!(self.text, "{:1$}", "", indent + 2);
                    self.node(indent + 2, "", node);
                    self.end_line(",", &item.beside);
                }
            }
        }
        self.comments(indent + 2, &items.end);
        let _ = write!(self.text, "{:indent$}]", "");
    }

    /// `['OS=="linux"', {`, the comments of both above and below.
    fn condition(&mut self, indent: usize, item: &Item, condition: &Items) {
        self.comments(indent, &item.above);
        let [expression, body] = &*condition.items else { return };
        for comments in [&expression.above, &expression.beside, &body.above] {
            self.comments(indent, comments);
        }
        let text = match &expression.node {
            // It was parsed before.
            Node::Text(text) => {
                Condition::parse(text).map_or(text.clone(), |condition| condition.to_string())
            }
            _ => String::new(),
        };
        let _ = write!(self.text, "{:indent$}[{}, ", "", quoted(&text, '\''));
        self.node(indent, "", &body.node);
        let beside = [&body.beside[..], &condition.end, &item.beside].concat();
        self.end_line("],", &beside);
    }

    fn dict(&mut self, indent: usize, items: &Items) {
        if items.items.is_empty() && items.end.is_empty() {
            return self.text.push_str("{}");
        }
        self.text.push_str("{\n");
        let rank = |item: &&Item| ORDER.iter().position(|key| item.key.as_deref() == Some(*key));
        let mut sorted: Vec<&Item> = items.items.iter().collect();
        sorted.sort_by_key(rank);
        for item in sorted {
            let key = item.key.as_deref().unwrap_or_default();
            self.comments(indent + 2, &item.above);
            let _ = write!(self.text, "{:1$}{2}: ", "", indent + 2, quoted(key, '\''));
            self.node(indent + 2, key, &item.node);
            self.end_line(",", &item.beside);
        }
        self.comments(indent + 2, &items.end);
        let _ = write!(self.text, "{:indent$}}}", "");
    }
}
