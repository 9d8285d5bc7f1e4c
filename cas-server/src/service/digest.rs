//! Digests on the wire of the Remote Execution API. The function may be left out; then the hash's length tells it,
//! and of two functions with one length the API means the older: SHA-256 and never BLAKE3.

use proto::{Digest, DigestError, DigestFunction, reapi};

/// The function that a request names, if it names one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named(Option<DigestFunction>);

impl Named {
    /// From the number in a request.
    pub(super) fn parse(number: i32) -> Result<Self, DigestError> {
        if number == reapi::digest_function::Value::Unknown as i32 {
            return Ok(Self(None));
        }
        let known = DigestFunction::from_number(number);
        let name =
            || reapi::digest_function::Value::try_from(number).map_or("?", |value| value.as_str_name());
        known
            .map(|function| Self(Some(function)))
            .ok_or_else(|| DigestError::Function { given: name().to_lowercase() })
    }

    /// Of a function that is known.
    pub(super) fn of(function: DigestFunction) -> Self {
        Self(Some(function))
    }

    /// The digest in a field that must not be left out.
    pub(super) fn required(self, wire: Option<&reapi::Digest>) -> Result<Digest, DigestError> {
        self.digest(wire.unwrap_or(&reapi::Digest::default()))
    }

    /// The digest in a message of that request.
    pub(super) fn digest(self, wire: &reapi::Digest) -> Result<Digest, DigestError> {
        let size =
            u64::try_from(wire.size_bytes).map_err(|_| DigestError::Size { given: wire.size_bytes })?;
        let function = self.0.unwrap_or_else(|| implied(&wire.hash));
        Digest::from_hex(function, &wire.hash, size)
    }
}

/// The function that a hash without one is of.
pub(super) fn implied(hash: &str) -> DigestFunction {
    match hash.len() {
        32 => DigestFunction::Md5,
        40 => DigestFunction::Sha1,
        96 => DigestFunction::Sha384,
        128 => DigestFunction::Sha512,
        // What has another length is refused as not being of this one.
        _ => DigestFunction::Sha256,
    }
}

/// As the API writes it.
pub(super) fn to_wire(digest: &Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: i64::try_from(digest.size()).unwrap_or(i64::MAX) }
}
