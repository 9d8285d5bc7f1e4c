//! The canonical text of a document: for programs that write `.isolate` files.

use super::{Block, Document, Placed};
use std::fmt::{self, Write as _};

impl fmt::Display for Document {
    /// Two spaces of indent, one list item per line, keys in the order of the original's writer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("{}\n");
        }
        f.write_str("{\n")?;
        if !self.includes.is_empty() {
            write_list(f, "  ", "includes", &self.includes)?;
        }
        if self.variables != Block::default() {
            write_variables(f, "  ", &self.variables)?;
        }
        if !self.conditions.is_empty() {
            f.write_str("  'conditions': [\n")?;
            for (condition, block) in &self.conditions {
                writeln!(f, "    [{}, {{", quoted(&condition.to_string(), '\''))?;
                write_variables(f, "      ", block)?;
                f.write_str("    }],\n")?;
            }
            f.write_str("  ],\n")?;
        }
        f.write_str("}\n")
    }
}

/// An empty block is written, too: the original wants one in each condition.
fn write_variables(f: &mut fmt::Formatter<'_>, indent: &str, block: &Block) -> fmt::Result {
    if *block == Block::default() {
        return writeln!(f, "{indent}'variables': {{}},");
    }
    writeln!(f, "{indent}'variables': {{")?;
    let inner = format!("{indent}  ");
    if !block.command.is_empty() {
        write_list(f, &inner, "command", &block.command)?;
    }
    if !block.files.is_empty() {
        write_list(f, &inner, "files", &block.files)?;
    }
    if let Some(read_only) = block.read_only {
        writeln!(f, "{inner}'read_only': {},", read_only.number())?;
    }
    writeln!(f, "{indent}}},")
}

fn write_list(f: &mut fmt::Formatter<'_>, indent: &str, key: &str, items: &[Placed<String>]) -> fmt::Result {
    writeln!(f, "{indent}'{key}': [")?;
    for item in items {
        writeln!(f, "{indent}  {},", quoted(&item.value, '\''))?;
    }
    writeln!(f, "{indent}],")
}

/// `text` as a literal that is read back as the same.
pub(super) fn quoted(text: &str, quote: char) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push(quote);
    for c in text.chars() {
        match c {
            '\n' => literal.push_str("\\n"),
            '\t' => literal.push_str("\\t"),
            '\r' => literal.push_str("\\r"),
            c if c == quote || c == '\\' => literal.extend(['\\', c]),
            c if c.is_ascii_control() => {
                // Writing to a string does not fail.
                let _ = write!(literal, "\\x{:02x}", u32::from(c));
            }
            c => literal.push(c),
        }
    }
    literal.push(quote);
    literal
}
