//! Relative paths that cannot leave the directory they are resolved in.

use std::{borrow::Borrow, fmt, path::Path, str::FromStr, sync::Arc};

/// A normalised relative POSIX path: non-empty, no `.` or `..` component, no backslash, no NUL, no leading or trailing
/// slash. It says nothing of symlinks: whoever resolves it on a disk must still not follow them. Clones share the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(Arc<str>);

/// Longest path and longest component that Linux takes, in bytes.
const MAX_PATH: usize = 4095;
const MAX_COMPONENT: usize = 255;

impl RelPath {
    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, PathError> {
        let refuse = |reason| Err(PathError { path: text.to_owned(), reason });
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.starts_with('/') {
            return refuse("it is absolute");
        }
        if text.contains('\\') {
            return refuse("it contains a backslash");
        }
        if text.contains('\0') {
            return refuse("it contains a NUL");
        }
        if text.len() > MAX_PATH {
            return refuse("it is longer than 4095 bytes");
        }
        for component in text.split('/') {
            match component {
                "" => return refuse("it has an empty component"),
                "." => return refuse("it has a `.` component"),
                ".." => return refuse("it has a `..` component"),
                long if long.len() > MAX_COMPONENT => {
                    return refuse("it has a component longer than 255 bytes");
                }
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as a relative [`Path`].
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// The components, at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The path without its last component; `None` for a single one.
    pub fn parent(&self) -> Option<RelPath> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// `self/other`. Fails when the whole is too long.
    pub fn join(&self, other: &RelPath) -> Result<RelPath, PathError> {
        Self::new(&format!("{self}/{other}"))
    }
}

impl AsRef<Path> for RelPath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

impl Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for RelPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::new(text)
    }
}

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path `{path}` is refused: {reason}")]
pub struct PathError {
    /// What was given.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_escape_are_refused() {
        for bad in ["", "/", "/etc/passwd", "..", "a/../b", "a/..", "./a", "a//b", "a/", "a\\b", "a\0b"] {
            assert!(RelPath::new(bad).is_err(), "{bad:?}");
        }
        assert!(RelPath::new(&"a".repeat(256)).is_err());
        assert!(RelPath::new(&["a"; 2100].join("/")).is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_path_stays_below_its_root(text in "[a./\\\\\\x00]{0,12}") {
            if let Ok(path) = RelPath::new(&text) {
                let below = Path::new("/root").join(path.as_path());
                prop_assert!(below.starts_with("/root"));
                prop_assert!(below.components().all(|c| !matches!(c, std::path::Component::ParentDir)));
                prop_assert_eq!(path.components().collect::<Vec<_>>().join("/"), text);
            }
        }
    }
}
