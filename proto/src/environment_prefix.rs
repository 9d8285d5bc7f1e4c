//! Directories of an input that come first in variables such as `PATH`.

use crate::{PathError, RelPath, v1};
use std::{fmt, str::FromStr};

/// Most of them in one step.
const MOST: usize = 64;

/// One directory that comes before what a variable has otherwise, as `NAME=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentPrefix {
    /// Of the variable.
    pub name: String,
    /// From the root of the input.
    pub path: RelPath,
}

/// Why there is no such prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentPrefixError {
    /// It has no name and path, or the name is that of no variable.
    #[error("`{}` is no prefix of a variable: write NAME=PATH", .0.escape_debug())]
    Form(String),
    /// The path leaves the input, or the variable's list cannot hold it.
    #[error("the path `{}` cannot be in a list of directories: it contains a colon", .0.escape_debug())]
    Colon(String),
    /// The path leaves the input.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There are too many.
    #[error("there are {0}, and {MOST} is the most")]
    Many(usize),
}

impl EnvironmentPrefix {
    /// Checks name and path.
    pub fn new(name: &str, path: &str) -> Result<Self, EnvironmentPrefixError> {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(EnvironmentPrefixError::Form(format!("{name}={path}")));
        }
        if path.contains(':') {
            return Err(EnvironmentPrefixError::Colon(path.to_owned()));
        }
        Ok(Self { name: name.to_owned(), path: RelPath::new(path)? })
    }

    /// Those of a message.
    pub fn from_wire(wire: &[v1::EnvironmentPrefix]) -> Result<Vec<Self>, EnvironmentPrefixError> {
        if wire.len() > MOST {
            return Err(EnvironmentPrefixError::Many(wire.len()));
        }
        wire.iter().map(|one| Self::new(&one.name, &one.path)).collect()
    }
}

impl FromStr for EnvironmentPrefix {
    type Err = EnvironmentPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('=').ok_or_else(|| EnvironmentPrefixError::Form(text.to_owned()))?;
        Self::new(parts.0, parts.1)
    }
}

impl fmt::Display for EnvironmentPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.path)
    }
}

impl From<&EnvironmentPrefix> for v1::EnvironmentPrefix {
    fn from(prefix: &EnvironmentPrefix) -> Self {
        Self { name: prefix.name.clone(), path: prefix.path.as_str().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_and_what_is_none_is_refused() {
        let prefix: EnvironmentPrefix = "PATH=tools/bin".parse().unwrap();
        assert_eq!(prefix.to_string(), "PATH=tools/bin");
        let wire = [v1::EnvironmentPrefix::from(&prefix)];
        assert_eq!(EnvironmentPrefix::from_wire(&wire), Ok(vec![prefix]));
        for bad in ["PATH", "=bin", "PATH=", "PATH=../bin", "PATH=/bin", "PATH=a:b"] {
            assert!(bad.parse::<EnvironmentPrefix>().is_err(), "{bad}");
        }
        let many = vec![v1::EnvironmentPrefix { name: "A".into(), path: "b".into() }; MOST + 1];
        assert_eq!(EnvironmentPrefix::from_wire(&many), Err(EnvironmentPrefixError::Many(MOST + 1)));
    }
}
