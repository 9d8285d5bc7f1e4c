//! References from one manifest to others.

use super::IsolatedError;
use proto::{Digest, DigestFunction, decimal};

/// Another manifest that is merged below this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Include {
    /// By hash and size: can be fetched.
    Sized(Digest),
    /// By hash alone, as the original format has it. Kept as it is, but the blob cannot be fetched.
    Unsized {
        /// The hash in lower-case hex.
        hash: String,
    },
}

impl Include {
    pub(super) fn parse(text: &str, function: DigestFunction) -> Result<Self, IsolatedError> {
        let refuse = |source| IsolatedError::Hash { place: "includes".into(), source };
        match text.split_once('/') {
            Some((hash, size)) => {
                // Written in one way only: it would be written differently than it was read, and so have another digest.
                let size = decimal(size).ok_or_else(|| IsolatedError::Key {
                    key: "includes".into(),
                    reason: format!("`{size}` is not a size: write HASH or HASH/SIZE"),
                })?;
                Ok(Self::Sized(Digest::from_hex(function, hash, size).map_err(refuse)?))
            }
            None => {
                // No manifest is empty, so any size but zero stands in to have the hash itself checked.
                Digest::from_hex(function, text, 1).map_err(refuse)?;
                Ok(Self::Unsized { hash: text.to_owned() })
            }
        }
    }

    /// The digest to fetch it by.
    pub fn digest(&self) -> Result<Digest, IsolatedError> {
        match self {
            Self::Sized(digest) => Ok(*digest),
            Self::Unsized { hash } => Err(IsolatedError::Unsupported {
                what: format!("include `{hash}` without its size"),
                remedy: "write it as HASH/SIZE, a blob of unknown size cannot be fetched",
            }),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Sized(digest) => format!("{}/{}", digest.hex(), digest.size()),
            Self::Unsized { hash } => hash.clone(),
        }
    }
}
