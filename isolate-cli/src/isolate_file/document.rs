//! One `.isolate` file as it is written: includes, an unconditional block, and blocks under conditions.

use super::{
    Condition, Placed, Position, Problem,
    parser::{Node, Value, parse},
};
use cas::isolated::ReadOnly;

/// A parsed file. Conditions are not yet decided, variables not yet put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Other files, by path relative to the directory of this one.
    pub includes: Vec<Placed<String>>,
    /// What always holds.
    pub variables: Block,
    /// What holds under a condition.
    pub conditions: Vec<(Condition, Block)>,
}

/// What a file says about a work item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The command line; empty if this block does not set it.
    pub command: Vec<Placed<String>>,
    /// Files and, with a trailing slash, directories.
    pub files: Vec<Placed<String>>,
    /// What the command may write to, if this block sets it.
    pub read_only: Option<ReadOnly>,
}

type Checked<T> = Result<T, Placed<Problem>>;

impl Document {
    /// Reads a file's text. The error tells where it is wrong.
    pub fn parse(text: &str) -> Result<Self, Placed<Problem>> {
        const KEYS: &[&str] = &["includes", "variables", "conditions"];
        let mut document = Self::default();
        for (key, node) in dict(parse(text)?, "a description")? {
            match &*key.value {
                "includes" => document.includes = texts(node, "`includes`", include)?,
                "variables" => document.variables = Block::parse(node)?,
                "conditions" => {
                    let conditions = list(node, "`conditions`", "a list of conditions")?;
                    document.conditions = conditions.into_iter().map(condition).collect::<Checked<_>>()?;
                }
                _ => return Err(unknown(key, KEYS)),
            }
        }
        Ok(document)
    }

    /// The unconditional block and all conditional ones.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        std::iter::once(&self.variables).chain(self.conditions.iter().map(|(_, block)| block))
    }
}

impl Block {
    fn parse(node: Node) -> Checked<Self> {
        const KEYS: &[&str] = &["command", "files", "read_only"];
        let mut block = Self::default();
        for (key, node) in dict(node, "`variables`")? {
            match &*key.value {
                "command" => block.command = texts(node, "`command`", |_| Ok(()))?,
                "files" => block.files = texts(node, "`files`", portable)?,
                "read_only" => block.read_only = Some(read_only(&node)?),
                _ => return Err(unknown(key, KEYS)),
            }
        }
        Ok(block)
    }
}

/// `[ EXPRESSION, { 'variables': { … } } ]`.
fn condition(node: Node) -> Checked<(Condition, Block)> {
    const SHAPE: &str = "a list of an expression and a dictionary: ['OS==\"linux\"', {'variables': {...}}]";
    let at = node.at;
    let items = list(node, "a condition", SHAPE)?;
    let [expression, body] = match <[Node; 2]>::try_from(items) {
        Ok(items) => items,
        Err(items) if items.len() > 2 => return Err(Placed::new(Problem::Else, at)),
        Err(_) => return Err(wrong_type("a condition", SHAPE, "a shorter list", at)),
    };
    let text = text(expression, "the expression of a condition")?;
    let condition = Condition::parse(&text.value).map_err(|problem| Placed::new(problem, text.at))?;
    let mut block = Block::default();
    for (key, node) in dict(body, "the second item of a condition")? {
        match &*key.value {
            "variables" => block = Block::parse(node)?,
            _ => return Err(unknown(key, &["variables"])),
        }
    }
    Ok((condition, block))
}

fn dict(node: Node, what: &'static str) -> Checked<Vec<(Placed<String>, Node)>> {
    match node.value {
        Value::Dict(items) => Ok(items),
        other => Err(wrong_type(what, "a dictionary: {...}", other.kind(), node.at)),
    }
}

fn list(node: Node, what: &'static str, expected: &'static str) -> Checked<Vec<Node>> {
    match node.value {
        Value::List(items) => Ok(items),
        other => Err(wrong_type(what, expected, other.kind(), node.at)),
    }
}

fn text(node: Node, what: &'static str) -> Checked<Placed<String>> {
    match node.value {
        Value::Text(text) => Ok(Placed::new(text, node.at)),
        other => Err(wrong_type(what, "a string", other.kind(), node.at)),
    }
}

fn texts(
    node: Node,
    what: &'static str,
    check: fn(&str) -> Result<(), Problem>,
) -> Checked<Vec<Placed<String>>> {
    let items = list(node, what, "a list of strings")?;
    let item = |node| {
        let text = text(node, what)?;
        check(&text.value).map_err(|problem| Placed::new(problem, text.at))?;
        Ok(text)
    };
    items.into_iter().map(item).collect()
}

fn read_only(node: &Node) -> Checked<ReadOnly> {
    const EXPECTED: &str = "0 (writable), 1 (files are read-only) or 2 (directories too)";
    let number = match node.value {
        Value::Int(number) => u64::try_from(number).ok(),
        _ => None,
    };
    let wrong = || wrong_type("`read_only`", EXPECTED, "anything else", node.at);
    number.and_then(ReadOnly::from_number).ok_or_else(wrong)
}

fn include(path: &str) -> Result<(), Problem> {
    portable(path)?;
    if path.starts_with('/') {
        return Err(Problem::Absolute { path: path.to_owned() });
    }
    Ok(())
}

/// Paths are written with forward slashes on every system.
fn portable(path: &str) -> Result<(), Problem> {
    let refuse = |reason| Err(Problem::Path { path: path.to_owned(), reason });
    if path.is_empty() {
        return refuse("it is empty");
    }
    if path.contains('\\') {
        return refuse("write forward slashes, on Windows too");
    }
    if path.contains('\0') {
        return refuse("it contains a NUL");
    }
    Ok(())
}

fn unknown(key: Placed<String>, known: &'static [&'static str]) -> Placed<Problem> {
    Placed::new(Problem::UnknownKey { key: key.value, known }, key.at)
}

fn wrong_type(
    what: &'static str,
    expected: &'static str,
    found: &'static str,
    at: Position,
) -> Placed<Problem> {
    Placed::new(Problem::Type { what, expected, found }, at)
}
