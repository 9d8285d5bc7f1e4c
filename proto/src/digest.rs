//! The name of a blob: digest function, hash, size.
//!
//! The text form is `FUNCTION:HEX/SIZE`, for instance `blake3:af13…/0`. The size is part of the name, as in the Remote
//! Execution API, and so is the function: SHA-256 and BLAKE3 hashes have the same length.

use sha2::Digest as _;
use std::{fmt, hash::Hash, str::FromStr, sync::OnceLock};

/// A hash function that names blobs. The numbers are those of the Remote Execution API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DigestFunction {
    /// SHA-256.
    Sha256 = 1,
    /// SHA-1, for the original `.isolated` files.
    Sha1 = 2,
    /// MD5, for clients of the Remote Execution API that have nothing better. Broken: whoever wants to makes two blobs
    /// of one name.
    Md5 = 3,
    /// SHA-384.
    Sha384 = 5,
    /// SHA-512, for the original `.isolated` files.
    Sha512 = 6,
    /// BLAKE3, the default.
    Blake3 = 9,
}

impl DigestFunction {
    /// The functions that every store takes, the default first.
    pub const ALL: [DigestFunction; 5] = [Self::Blake3, Self::Sha256, Self::Sha1, Self::Sha512, Self::Sha384];

    /// [`ALL`](Self::ALL), and those that only the Remote Execution API has: they have no text form that is parsed.
    pub const KNOWN: [DigestFunction; 6] =
        [Self::Blake3, Self::Sha256, Self::Sha1, Self::Sha512, Self::Sha384, Self::Md5];

    /// The name in text, as in the `algo` of an `.isolated` file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha1 => "sha-1",
            Self::Md5 => "md5",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
            Self::Blake3 => "blake3",
        }
    }

    /// Bytes in a hash.
    pub fn hash_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The function's number in the Remote Execution API.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The function with this number of the Remote Execution API, if it is one of ours.
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Sha256,
            2 => Self::Sha1,
            3 => Self::Md5,
            5 => Self::Sha384,
            6 => Self::Sha512,
            9 => Self::Blake3,
            _ => return None,
        })
    }

    /// A hasher that has seen nothing yet.
    pub fn hasher(self) -> Hasher {
        let state = match self {
            Self::Sha256 => State::Sha256(sha2::Sha256::new()),
            Self::Sha1 => State::Sha1(sha1::Sha1::new()),
            Self::Md5 => State::Md5(md5::Md5::new()),
            Self::Sha384 => State::Sha384(sha2::Sha384::new()),
            Self::Sha512 => State::Sha512(sha2::Sha512::new()),
            Self::Blake3 => State::Blake3(Box::new(blake3::Hasher::new())),
        };
        Hasher { function: self, state, size: 0 }
    }

    /// The digest of these bytes.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        if self == Self::Blake3 {
            // The state of a hasher is large: without one, small blobs take a fraction of the time.
            let mut hash = [0; Digest::MAX_HASH_LEN];
            hash[..blake3::OUT_LEN].copy_from_slice(blake3::hash(bytes).as_bytes());
            return Digest { function: self, hash, size: bytes.len() as u64 };
        }
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Display for DigestFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DigestFunction {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::ALL
            .into_iter()
            .find(|f| f.name() == text || f.name().replace('-', "") == text)
            .ok_or_else(|| DigestError::Function { given: text.to_owned() })
    }
}

/// Digests bytes as they come.
#[derive(Clone, Debug)]
pub struct Hasher {
    function: DigestFunction,
    state: State,
    size: u64,
}

#[derive(Clone, Debug)]
enum State {
    Sha256(sha2::Sha256),
    Sha1(sha1::Sha1),
    Md5(md5::Md5),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        match &mut self.state {
            State::Sha256(h) => h.update(bytes),
            State::Sha1(h) => h.update(bytes),
            State::Md5(h) => h.update(bytes),
            State::Sha384(h) => h.update(bytes),
            State::Sha512(h) => h.update(bytes),
            State::Blake3(h) => {
                h.update(bytes);
            }
        }
    }

    /// Bytes taken in so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Digest {
        let mut hash = [0; Digest::MAX_HASH_LEN];
        let len = self.function.hash_len();
        match self.state {
            State::Sha256(h) => hash[..len].copy_from_slice(&h.finalize()),
            State::Sha1(h) => hash[..len].copy_from_slice(&h.finalize()),
            State::Md5(h) => hash[..len].copy_from_slice(&h.finalize()),
            State::Sha384(h) => hash[..len].copy_from_slice(&h.finalize()),
            State::Sha512(h) => hash[..len].copy_from_slice(&h.finalize()),
            State::Blake3(h) => hash[..len].copy_from_slice(h.finalize().as_bytes()),
        }
        Digest { function: self.function, hash, size: self.size }
    }
}

/// The name of a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest {
    function: DigestFunction,
    /// Zero beyond the function's length.
    hash: [u8; Digest::MAX_HASH_LEN],
    size: u64,
}

impl Digest {
    const MAX_HASH_LEN: usize = 64;

    /// Largest size that the wire can carry.
    const MAX_SIZE: u64 = i64::MAX.cast_unsigned();

    /// From the hash's raw bytes. Fails when their number is not the function's, or the size is none that the wire can
    /// carry.
    pub fn new(function: DigestFunction, hash: &[u8], size: u64) -> Result<Self, DigestError> {
        if size > Self::MAX_SIZE {
            return Err(DigestError::TooLarge { given: size });
        }
        if hash.len() != function.hash_len() {
            return Err(DigestError::Length {
                function,
                expected: function.hash_len() * 2,
                given: hash.len() * 2,
            });
        }
        let mut padded = [0; Self::MAX_HASH_LEN];
        padded[..hash.len()].copy_from_slice(hash);
        Ok(Digest { function, hash: padded, size })
    }

    /// From the hash in lower-case hex. Fails on another length, other characters, or a size of zero that goes with
    /// a hash that is not the empty blob's (and the other way round).
    pub fn from_hex(function: DigestFunction, hash: &str, size: u64) -> Result<Self, DigestError> {
        if hash.len() != function.hash_len() * 2 {
            return Err(DigestError::Length {
                function,
                expected: function.hash_len() * 2,
                given: hash.len(),
            });
        }
        if !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Hex { given: hash.to_owned() });
        }
        let mut raw = [0; Self::MAX_HASH_LEN];
        let raw = &mut raw[..function.hash_len()];
        hex::decode_to_slice(hash, raw).map_err(|_| DigestError::Hex { given: hash.to_owned() })?;
        let digest = Self::new(function, raw, size)?;
        let empty = Self::empty(function);
        if (size == 0) != (digest.hash == empty.hash) {
            return Err(DigestError::EmptyMismatch { given: digest.to_string() });
        }
        Ok(digest)
    }

    /// The name of the blob without bytes, which every store has.
    pub fn empty(function: DigestFunction) -> Self {
        // Every digest that is parsed is compared with it. By number.
        static EMPTY: [OnceLock<Digest>; 16] = [const { OnceLock::new() }; 16];
        *EMPTY[usize::from(function.number())].get_or_init(|| function.hasher().finish())
    }

    /// The function that made the hash.
    pub fn function(&self) -> DigestFunction {
        self.function
    }

    /// The hash's raw bytes.
    pub fn hash(&self) -> &[u8] {
        &self.hash[..self.function.hash_len()]
    }

    /// The hash in lower-case hex.
    pub fn hex(&self) -> String {
        let mut text = vec![0; 2 * self.function.hash_len()];
        hex::encode_to_slice(self.hash(), &mut text).expect("as long as it has to be");
        String::from_utf8(text).expect("hex digits are ASCII")
    }

    /// The blob's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether this names the blob without bytes.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }
}

/// Of the hash no more than there is: half of the bytes, mostly.
impl Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write(self.hash());
        state.write_u64(self.size);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.function, self.hex(), self.size)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let syntax = || DigestError::Syntax { given: text.to_owned() };
        let (function, rest) = text.split_once(':').ok_or_else(syntax)?;
        let (hash, size) = rest.split_once('/').ok_or_else(syntax)?;
        let size = crate::decimal(size).ok_or_else(syntax)?;
        Self::from_hex(function.parse()?, hash, size)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl From<Digest> for crate::v1::Digest {
    fn from(digest: Digest) -> Self {
        Self {
            function: i32::from(digest.function.number()),
            hash: digest.hex(),
            size_bytes: digest.size.cast_signed(),
        }
    }
}

impl TryFrom<&crate::v1::Digest> for Digest {
    type Error = DigestError;

    fn try_from(wire: &crate::v1::Digest) -> Result<Self, DigestError> {
        let function = DigestFunction::from_number(wire.function)
            .ok_or_else(|| DigestError::Function { given: wire.function.to_string() })?;
        let size =
            u64::try_from(wire.size_bytes).map_err(|_| DigestError::Size { given: wire.size_bytes })?;
        Self::from_hex(function, &wire.hash, size)
    }
}

/// Why something is not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum DigestError {
    /// Not of the form `FUNCTION:HEX/SIZE`.
    #[error(
        "`{given}` is not a digest: write FUNCTION:HEX/SIZE, for instance blake3:<64 hex digits>/<bytes>"
    )]
    Syntax {
        /// What was given.
        given: String,
    },
    /// A digest function that we do not have.
    #[error("unknown digest function `{given}`: use blake3, sha-256, sha-384, sha-512 or sha-1")]
    Function {
        /// What was given.
        given: String,
    },
    /// A hash of the wrong length.
    #[error("a {function} hash has {expected} hex digits, not {given}")]
    Length {
        /// The function.
        function: DigestFunction,
        /// Hex digits that it has.
        expected: usize,
        /// Hex digits that were given.
        given: usize,
    },
    /// A hash that is not lower-case hex.
    #[error("`{given}` is not a hash: write it in lower-case hex")]
    Hex {
        /// What was given.
        given: String,
    },
    /// A negative size.
    #[error("{given} is not a size")]
    Size {
        /// What was given.
        given: i64,
    },
    /// A size that no blob has.
    #[error("{given} is not a size: the largest is {}", Digest::MAX_SIZE)]
    TooLarge {
        /// What was given.
        given: u64,
    },
    /// Size zero with the hash of something, or the hash of nothing with a size.
    #[error("`{given}` names no blob: size 0 goes with the hash of the empty blob and with no other")]
    EmptyMismatch {
        /// What was given.
        given: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn well_known_hashes() {
        let hex = |f: DigestFunction, b: &[u8]| f.digest(b).hex();
        assert_eq!(hex(DigestFunction::Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(DigestFunction::Sha256, b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(DigestFunction::Blake3, b"abc"),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
        assert!(hex(DigestFunction::Sha512, b"abc").starts_with("ddaf35a193617abacc417349ae204131"));
        assert!(hex(DigestFunction::Sha384, b"abc").starts_with("cb00753f45a35e8bb5a03d699ac65007"));
        assert_eq!(hex(DigestFunction::Md5, b"abc"), "900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn malformed_digests_name_the_remedy() {
        let parse = |text: &str| text.parse::<Digest>().unwrap_err();
        assert!(matches!(parse("af13"), DigestError::Syntax { .. }));
        assert!(matches!(parse("crc32:af13/4"), DigestError::Function { .. }));
        assert_eq!(
            parse("blake3:af13/4"),
            DigestError::Length { function: DigestFunction::Blake3, expected: 64, given: 4 }
        );
        assert!(matches!(parse(&format!("blake3:{}/4", "A".repeat(64))), DigestError::Hex { .. }));
        assert!(matches!(parse(&format!("blake3:{}/0", "a".repeat(64))), DigestError::EmptyMismatch { .. }));
        for size in ["-1", "+1", "01"] {
            let written = parse(&format!("blake3:{}/{size}", "a".repeat(64)));
            assert!(matches!(written, DigestError::Syntax { .. }), "{size}");
        }
        let largest = format!("blake3:{}/{}", "a".repeat(64), i64::MAX);
        let digest: Digest = largest.parse().unwrap();
        assert_eq!(Digest::try_from(&crate::v1::Digest::from(digest)).unwrap(), digest);
        let beyond = 1 << 63;
        let refused = parse(&format!("blake3:{}/{beyond}", "a".repeat(64)));
        assert_eq!(refused, DigestError::TooLarge { given: beyond });
    }

    proptest! {
        #[test]
        fn text_and_wire_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..200), f in 0..6usize) {
            let digest = DigestFunction::KNOWN[f].digest(&bytes);
            let parsed = digest.to_string().parse::<Digest>();
            prop_assert_eq!(parsed.ok(), DigestFunction::ALL.contains(&digest.function()).then_some(digest));
            prop_assert_eq!(Digest::try_from(&crate::v1::Digest::from(digest)).unwrap(), digest);
            prop_assert_eq!(digest.size(), bytes.len() as u64);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,100}") {
            let _ = text.parse::<Digest>();
        }
    }
}
