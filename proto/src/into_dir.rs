//! Where the outputs of earlier shards are laid out.

use crate::{PathError, RelPath};
use std::{fmt, str::FromStr};

/// What stands for the index of the earlier shard.
const INDEX: &str = "{index}";

/// A bot hears of a thousand at once.
const LONGEST: usize = 256;

/// A directory below the root of an input for the outputs of each shard of a step: a path in which `{index}` stands for
/// the shard's index, or the root itself, which is empty text.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct IntoDir(Option<RelPath>);

/// No such directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntoDirError {
    /// It is no path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Another word in braces: it was meant to stand for something.
    #[error("`{0}` has braces that are not `{{index}}`: nothing else stands for something")]
    Braces(String),
    /// It is too long.
    #[error("`{0}` is longer than {LONGEST} bytes")]
    Long(String),
}

impl IntoDir {
    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, IntoDirError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > LONGEST {
            return Err(IntoDirError::Long(text.to_owned()));
        }
        if text.replace(INDEX, "").contains(['{', '}']) {
            return Err(IntoDirError::Braces(text.to_owned()));
        }
        // With the longest index it is a path, too.
        RelPath::new(&text.replace(INDEX, &u32::MAX.to_string()))?;
        Ok(Self(Some(RelPath::new(text)?)))
    }

    /// Whether the directories of several shards differ.
    pub fn has_index(&self) -> bool {
        self.0.as_ref().is_some_and(|path| path.as_str().contains(INDEX))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", RelPath::as_str)
    }

    /// The directory of one shard, as text; empty for the root.
    pub fn of_shard(&self, index: u32) -> String {
        self.as_str().replace(INDEX, &index.to_string())
    }
}

impl FromStr for IntoDir {
    type Err = IntoDirError;

    fn from_str(text: &str) -> Result<Self, IntoDirError> {
        Self::new(text)
    }
}

impl fmt::Display for IntoDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_put_where_it_belongs() {
        let into = IntoDir::new("parts/{index}/{index}").unwrap();
        assert!(into.has_index());
        assert_eq!(into.of_shard(12), "parts/12/12");
        let plain = IntoDir::new("built").unwrap();
        assert_eq!((plain.has_index(), plain.of_shard(3).as_str()), (false, "built"));
        assert_eq!(IntoDir::new("").unwrap().of_shard(3), "");
    }

    #[test]
    fn what_leads_elsewhere_or_means_nothing_is_refused() {
        for text in ["../x", "/x", ".", "a//b", "a/{indx}", "a/{", "{index", &"x/".repeat(200)] {
            assert!(IntoDir::new(text).is_err(), "{text}");
        }
        let error = IntoDir::new("a/{shard}").unwrap_err().to_string();
        assert_eq!(error, "`a/{shard}` has braces that are not `{index}`: nothing else stands for something");
    }
}
