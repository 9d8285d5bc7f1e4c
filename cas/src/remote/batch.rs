//! How a batch of any size becomes calls that the wire takes, and what their answers mean.

use crate::{Error, Result, status};
use proto::{Digest, DigestFunction, reapi, rpc};
use std::collections::BTreeMap;

/// The digests of each function in parts of at most `most`.
pub(super) fn by_function(digests: &[Digest], most: usize) -> Vec<(DigestFunction, Vec<Digest>)> {
    let mut functions: BTreeMap<DigestFunction, Vec<Digest>> = BTreeMap::new();
    for digest in digests.iter().filter(|digest| !digest.is_empty()) {
        functions.entry(digest.function()).or_default().push(*digest);
    }
    let parts = |(function, digests): (DigestFunction, Vec<Digest>)| {
        digests.chunks(most).map(|part| (function, part.to_vec())).collect::<Vec<_>>()
    };
    functions.into_iter().flat_map(parts).collect()
}

pub(super) fn to_wire(digest: Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size().cast_signed() }
}

pub(super) fn from_wire(function: DigestFunction, wire: Option<&reapi::Digest>) -> Result<Digest> {
    let malformed = |reason: String| Error::Internal { reason: format!("malformed answer: {reason}") };
    let wire = wire.ok_or_else(|| malformed("an entry has no digest".into()))?;
    let size = u64::try_from(wire.size_bytes).map_err(|_| malformed("negative size".into()))?;
    Digest::from_hex(function, &wire.hash, size).map_err(|error| malformed(error.to_string()))
}

/// The outcome of one blob of a batch. No status at all is taken for success, as protobuf would leave an empty one out.
pub(super) fn outcome(status: Option<rpc::Status>, digest: Digest) -> Result<()> {
    match status {
        None => Ok(()),
        Some(status) if status.code == 0 => Ok(()),
        Some(status) => {
            let code = tonic::Code::from_i32(status.code);
            Err(status::from_status(&tonic::Status::new(code, status.message), Some(digest)))
        }
    }
}
