//! Where clients keep bytes under keys of their own choice.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Paths that mean something else, by their first segment.
const TAKEN: [&str; 5] = ["ac", "cas", "healthz", "metrics", "status"];

/// The beginning of HTTP paths below which everything is a key: `/kv` makes `/kv/a/b` one. `/` alone takes all paths
/// that mean nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// The prefixes that `cas-server` has unless it is told others.
    pub(crate) fn defaults() -> Vec<Self> {
        ["/kv", "/sccache", "/ccache"].map(|text| Self(text.to_owned())).to_vec()
    }

    /// Whether this path is a key below it.
    pub(crate) fn takes(&self, path: &str) -> bool {
        path.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether it stands for all paths that mean nothing else.
    pub(crate) fn is_root(&self) -> bool {
        self.0 == "/"
    }
}

/// Why something is no prefix of keys.
#[derive(Debug, thiserror::Error)]
#[error("`{given}` cannot be a prefix of keys: {reason}")]
pub struct KeyPrefixError {
    given: String,
    reason: &'static str,
}

impl TryFrom<String> for KeyPrefix {
    type Error = KeyPrefixError;

    fn try_from(given: String) -> Result<Self, KeyPrefixError> {
        let first = given.split('/').nth(1).unwrap_or_default();
        let reason = if !given.starts_with('/') {
            "it begins with no `/`"
        } else if given == "/" {
            return Ok(Self(given));
        } else if given.split('/').skip(1).any(str::is_empty) {
            "it has an empty segment"
        } else if TAKEN.contains(&first) {
            "paths that begin so mean something else"
        } else if first.contains('.') {
            "names with a dot are services of gRPC"
        } else {
            return Ok(Self(given));
        };
        Err(KeyPrefixError { given, reason })
    }
}

impl From<KeyPrefix> for String {
    fn from(KeyPrefix(text): KeyPrefix) -> Self {
        text
    }
}

impl std::str::FromStr for KeyPrefix {
    type Err = KeyPrefixError;

    fn from_str(text: &str) -> Result<Self, KeyPrefixError> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_take_whole_segments() {
        let prefix: KeyPrefix = "/kv/team".parse().unwrap();
        assert!(prefix.takes("/kv/team/a") && prefix.takes("/kv/team") && prefix.takes("/kv/team/"));
        assert!(!prefix.takes("/kv/teams") && !prefix.takes("/kv") && !prefix.takes("/x/kv/team/a"));
    }

    #[test]
    fn what_means_something_else_is_no_prefix() {
        for wrong in ["", "kv", "/cas", "/ac/x", "/status", "/a//b", "/a/", "/google.bytestream.ByteStream"] {
            assert!(wrong.parse::<KeyPrefix>().is_err(), "{wrong}");
        }
        assert!("/".parse::<KeyPrefix>().unwrap().is_root());
    }
}
