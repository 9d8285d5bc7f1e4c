//! What the store knows things by: blobs by their digest, values by a name that says nothing about their bytes.

use proto::{Digest, DigestFunction};
use std::fmt;

/// The name of a value: small bytes that can be replaced, beside the blobs and under the same budget.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueName {
    /// What is known about the action of this digest.
    Action {
        /// Whose cache it is in.
        instance: String,
        /// Of the action.
        digest: Digest,
    },
    /// What a client keeps below a path, for tools that know of no digests.
    Opaque {
        /// The path as the client says it.
        path: String,
    },
    /// What a remote asset was found to be.
    Asset {
        /// All that names the asset.
        key: String,
    },
}

/// A [`ValueName`] at rest: its BLAKE3 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ValueKey(pub(crate) [u8; ValueKey::LEN]);

/// What an entry of the index stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Blob(Digest),
    Value(ValueKey),
}

impl ValueName {
    /// A digit for the kind, then each part behind its length: no two names have the same bytes. Part of the format at
    /// rest.
    fn bytes(&self) -> Vec<u8> {
        let (kind, parts): (u8, Vec<Vec<u8>>) = match self {
            Self::Action { instance, digest } => {
                let mut name = vec![digest.function().number()];
                name.extend(digest.size().to_be_bytes());
                name.extend(digest.hash());
                (1, vec![instance.clone().into_bytes(), name])
            }
            Self::Opaque { path } => (2, vec![path.clone().into_bytes()]),
            Self::Asset { key } => (3, vec![key.clone().into_bytes()]),
        };
        let mut bytes = vec![kind];
        for part in parts {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }
}

impl ValueKey {
    /// Bytes of it.
    pub(crate) const LEN: usize = 32;
}

impl From<&ValueName> for ValueKey {
    fn from(name: &ValueName) -> Self {
        let mut key = [0; Self::LEN];
        key.copy_from_slice(DigestFunction::Blake3.digest(&name.bytes()).hash());
        Self(key)
    }
}

impl From<Digest> for Key {
    fn from(digest: Digest) -> Self {
        Self::Blob(digest)
    }
}

impl From<ValueKey> for Key {
    fn from(key: ValueKey) -> Self {
        Self::Value(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => digest.fmt(f),
            Self::Value(ValueKey(hash)) => write!(f, "value:{}", hex::encode(hash)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_share_a_key_and_the_first_released_ones_stay_as_they_are() {
        let digest = DigestFunction::Sha256.digest(b"action");
        let names = [
            ValueName::Action { instance: String::new(), digest },
            ValueName::Action { instance: "main".into(), digest },
            ValueName::Action { instance: String::new(), digest: DigestFunction::Blake3.digest(b"action") },
            ValueName::Opaque { path: "a/b".into() },
            ValueName::Asset { key: "a/b".into() },
        ];
        let keys: std::collections::HashSet<ValueKey> = names.iter().map(ValueKey::from).collect();
        assert_eq!(keys.len(), names.len());
        assert_eq!(hex::encode(names[3].bytes()), "020000000000000003612f62");
        assert_eq!(hex::encode(&names[1].bytes()[..14]), "0100000000000000046d61696e00");
        assert_eq!(names[1].bytes().len(), 13 + 8 + 1 + 8 + 32);
    }
}
