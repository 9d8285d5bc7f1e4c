//! What is handed in from outside: values for conditions, directories, and texts to put in.

use super::{IsolateFileError, Placed, Problem, relative_path};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// The value of a configuration variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigValue {
    /// A number.
    Int(i64),
    /// Anything else.
    Text(String),
}

impl From<&str> for ConfigValue {
    /// As on the command line: a number if it reads as one.
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Text(text.to_owned()), Self::Int)
    }
}

impl fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => write!(f, "{int}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Variables of all three kinds. `<(NAME)` is put in from the path variables first, then the extra ones, then (in
/// commands only) the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables {
    /// Values for conditions; also put into commands.
    pub config: BTreeMap<String, ConfigValue>,
    /// Absolute directories; put into files and commands relative to the directory of the file that names them.
    pub path: BTreeMap<String, PathBuf>,
    /// Put into files and commands as they are. `EXECUTABLE_SUFFIX` is there from the start.
    pub extra: BTreeMap<String, String>,
}

impl Default for Variables {
    fn default() -> Self {
        let suffix = ("EXECUTABLE_SUFFIX".to_owned(), std::env::consts::EXE_SUFFIX.to_owned());
        Self { config: BTreeMap::new(), path: BTreeMap::new(), extra: BTreeMap::from([suffix]) }
    }
}

/// A name that no variable can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not the name of a variable: use letters, digits and `_`, and no digit first")]
pub struct VariableError {
    /// The name.
    pub name: String,
}

/// What a text is for: decides which variables may be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Command,
    File,
}

impl Variables {
    /// Whether `name` can be referred to.
    pub fn check_name(name: &str) -> Result<(), VariableError> {
        if is_name(name) { Ok(()) } else { Err(VariableError { name: name.to_owned() }) }
    }

    /// `text` with every `<(NAME)` replaced, once: what is put in is not looked at again. Paths become relative to `dir`.
    pub(super) fn substitute(
        &self,
        text: &Placed<String>,
        file: &Path,
        dir: &Path,
        purpose: Use,
    ) -> Result<String, IsolateFileError> {
        replaced(&text.value, |name| {
            let missing = || IsolateFileError::at(file, text.at, self.unknown(name, purpose));
            self.value(name, dir, purpose).ok_or_else(missing)
        })
    }

    fn value(&self, name: &str, dir: &Path, purpose: Use) -> Option<String> {
        if let Some(path) = self.path.get(name) {
            return Some(relative_path(dir, path));
        }
        let extra = self.extra.get(name).cloned();
        match purpose {
            Use::File => extra,
            Use::Command => extra.or_else(|| self.config.get(name).map(ToString::to_string)),
        }
    }

    fn unknown(&self, name: &str, purpose: Use) -> Problem {
        let mut known: Vec<String> = self.path.keys().chain(self.extra.keys()).cloned().collect();
        if purpose == Use::Command {
            known.extend(self.config.keys().cloned());
        }
        let flags = match purpose {
            Use::File => "--path-variable or --extra-variable",
            Use::Command => "--path-variable, --extra-variable or --config-variable",
        };
        Problem::UnknownVariable { name: name.to_owned(), known, flags }
    }
}

/// `text` with path variables put in, as the ways from `root` to their directories.
pub(crate) fn with_paths(
    text: &str,
    paths: &BTreeMap<String, PathBuf>,
    root: &Path,
) -> Result<String, Problem> {
    let known = || paths.keys().cloned().collect();
    replaced(text, |name| match paths.get(name) {
        Some(path) => Ok(relative_path(root, path)),
        None => {
            Err(Problem::UnknownVariable { name: name.to_owned(), known: known(), flags: "--path-variable" })
        }
    })
}

/// `text` with `value` of each NAME in the place of `<(NAME)`, once.
fn replaced<E>(text: &str, mut value: impl FnMut(&str) -> Result<String, E>) -> Result<String, E> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("<(") {
        let inside = &rest[start + 2..];
        match inside.split_once(')') {
            Some((name, after)) if is_name(name) => {
                done.push_str(&rest[..start]);
                done.push_str(&value(name)?);
                rest = after;
            }
            _ => {
                done.push_str(&rest[..start + 2]);
                rest = inside;
            }
        }
    }
    done.push_str(rest);
    Ok(done)
}

/// Whether a description would take some of `text` for a variable.
pub(crate) fn has_variable(text: &str) -> bool {
    let mut starts = text.split("<(").skip(1);
    starts.any(|inside| inside.split_once(')').is_some_and(|(name, _)| is_name(name)))
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
        && chars.all(|c| c == '_' || c.is_ascii_alphanumeric())
}
