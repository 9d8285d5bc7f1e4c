//! What is wrong with an `.isolate` file, and where.

use super::{
    Position,
    suggestion::{closest, hint},
};
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// An `.isolate` file that cannot be used. Its author has to change it, or the variables given with it.
#[derive(Debug)]
pub struct IsolateFileError {
    /// The file.
    pub file: PathBuf,
    /// Where in the file; `None` when it is about the whole.
    pub at: Option<Position>,
    /// What is wrong.
    pub problem: Problem,
}

impl IsolateFileError {
    pub(crate) fn at(file: &Path, at: Position, problem: Problem) -> Self {
        Self { file: file.to_owned(), at: Some(at), problem }
    }

    pub(super) fn whole(file: &Path, problem: Problem) -> Self {
        Self { file: file.to_owned(), at: None, problem }
    }
}

impl fmt::Display for IsolateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}:{at}: {}", self.file.display(), self.problem),
            None => write!(f, "{}: {}", self.file.display(), self.problem),
        }
    }
}

impl std::error::Error for IsolateFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read {
        /// Why.
        source: io::Error,
    },
    /// More text than a description needs.
    #[error("is larger than the {limit} bytes that are accepted: split it by `includes`")]
    TooLarge {
        /// What is accepted.
        limit: usize,
    },
    /// A character that begins nothing.
    #[error("unexpected character {found:?}: strings need quotes, `'like this'`")]
    Character {
        /// The character.
        found: char,
    },
    /// A string that does not end on its line.
    #[error("this string is not closed before the end of the line: add the closing {quote}")]
    UnclosedString {
        /// What it was opened with.
        quote: char,
    },
    /// Python's long strings.
    #[error("triple quotes are not supported: write one string per line, adjacent strings are joined")]
    TripleQuotes,
    /// An escape with too few digits, or of no character.
    #[error("`\\{escape}` is not an escape: write `\\\\` for a backslash")]
    Escape {
        /// What follows the backslash.
        escape: String,
    },
    /// A number that is none, or too large.
    #[error("`{given}` is not a decimal integer of up to 64 bits")]
    Number {
        /// What was given.
        given: String,
    },
    /// Something else than the grammar expects.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What was found.
        found: String,
        /// What may stand here.
        expected: &'static str,
    },
    /// Brackets in brackets in brackets.
    #[error("more than {limit} brackets are open: close some")]
    TooDeep {
        /// How many may be.
        limit: usize,
    },
    /// A key that was there before.
    #[error("`{key}` is set twice in this dictionary (first in line {first}): merge the two")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it was set before.
        first: u32,
    },
    /// A key that means nothing here.
    #[error("unknown key `{key}`{} (possible here: {})", hint(key, known.iter().copied()), known.join(", "))]
    UnknownKey {
        /// The key.
        key: String,
        /// Those that mean something.
        known: &'static [&'static str],
    },
    /// A value of another type.
    #[error("{what} must be {expected}, not {found}")]
    Type {
        /// Whose value it is.
        what: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A third item in a condition.
    #[error("using 'else' is not supported: write a second condition for the other case")]
    Else,
    /// Not a condition.
    #[error("condition `{expression}` is refused at character {column}: {problem}")]
    Condition {
        /// The whole expression.
        expression: String,
        /// Where in it, from 1.
        column: u32,
        /// What is wrong.
        problem: ConditionProblem,
    },
    /// A path that starts at the root of the machine.
    #[error(
        "`{path}` is absolute: write it relative to the directory of this file, or use a --path-variable"
    )]
    Absolute {
        /// The path.
        path: String,
    },
    /// A path with characters that no portable path has.
    #[error("`{path}` is refused: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An input that is not there.
    #[error("input {} does not exist: build it first, or correct the path", path.display())]
    NoSuchInput {
        /// Where it should be.
        path: PathBuf,
    },
    /// A directory that is written like a file.
    #[error("input directory {} must have a trailing slash", path.display())]
    NeedsSlash {
        /// The directory.
        path: PathBuf,
    },
    /// A file that is written like a directory.
    #[error("input {} is a file: remove the trailing slash", path.display())]
    NotADirectory {
        /// The file.
        path: PathBuf,
    },
    /// Includes that lead back to a file that is being read.
    #[error("`{path}` includes itself, directly or through others: remove one of the includes")]
    IncludesItself {
        /// What is included.
        path: String,
    },
    /// Includes in includes in includes, or very many.
    #[error("{what} than {limit}: merge some of the files")]
    TooManyIncludes {
        /// Of what there are too many.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Conditions about variables that were not given.
    #[error(
        "these configuration variables are used in conditions and were not given: {}: add --config-variable {}=VALUE",
        names.join(", "), names.first().map_or("NAME", String::as_str)
    )]
    MissingConfigVariables {
        /// Their names.
        names: Vec<String>,
    },
    /// A reference to a variable that was not given.
    #[error(
        "variable `{name}` was not given{}: add {flags} {name}=VALUE",
        closest(name, known.iter().map(String::as_str)).map_or_else(String::new, |best| format!(" (did you mean `{best}`?)"))
    )]
    UnknownVariable {
        /// Its name.
        name: String,
        /// Those that may be used here.
        known: Vec<String>,
        /// The flag that sets one.
        flags: &'static str,
    },
}

/// What is wrong with a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionProblem {
    /// Something that is not part of the language of conditions.
    #[error(
        "found {found}, expected {expected}; conditions are made of NAME==VALUE, `and`, `or` and parentheses"
    )]
    Unexpected {
        /// What was found.
        found: String,
        /// What may stand here.
        expected: &'static str,
    },
    /// The value stands before the variable.
    #[error("the variable comes first: write NAME==VALUE")]
    Reversed,
    /// Parentheses in parentheses in parentheses.
    #[error("more than {limit} parentheses are open")]
    TooDeep {
        /// How many may be.
        limit: usize,
    },
    /// A string or a number in it is malformed.
    #[error("{reason}")]
    Token {
        /// What is wrong.
        reason: String,
    },
}
