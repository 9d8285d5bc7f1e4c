//! What a root leads to.

use super::digest::Named;
use crate::engine::{Engine, MAX_CLOSURE, PinError, PinKind};
use bytes::Bytes;
use cas::{BlobStore as _, Error, Result, isolated::Isolated};
use prost::Message as _;
use proto::{Digest, limits, reapi};
use std::collections::HashSet;

/// Bytes of manifests or directories that are read at a time.
const STEP_BYTES: u64 = 4 << 20;

/// The root and everything that it leads to. Fails if a manifest or a directory on the way is not there, or is none.
pub(super) async fn closure(engine: &Engine, root: Digest, kind: PinKind) -> Result<Vec<Digest>, PinError> {
    let mut seen = HashSet::from([root]);
    let mut pending = vec![root];
    // Manifests together are no larger than one may be; directories have no other bound than their number.
    let mut rest = limits::MAX_MANIFEST_BYTES;
    while !pending.is_empty() {
        let step = next_step(&mut pending);
        let bytes = step.iter().map(Digest::size).fold(0, u64::saturating_add);
        rest = rest.checked_sub(bytes).ok_or(PinError::TooMany)?;
        let read = engine.read_batch(&step).await?;
        for (digest, bytes) in step.into_iter().zip(read) {
            let bytes = bytes.map_err(|error| missing(error, digest))?;
            let (leaves, inner) = match kind {
                PinKind::Isolated => in_manifest(digest, &bytes)?,
                PinKind::Directory => in_directory(digest, &bytes)?,
            };
            seen.extend(leaves);
            pending.extend(inner.into_iter().filter(|digest| seen.insert(*digest)));
            if seen.len() > MAX_CLOSURE {
                return Err(PinError::TooMany);
            }
        }
    }
    Ok(seen.into_iter().collect())
}

/// At least one, and no more than are read at a time.
fn next_step(pending: &mut Vec<Digest>) -> Vec<Digest> {
    let (mut step, mut bytes) = (Vec::new(), 0_u64);
    while let Some(digest) = pending.pop() {
        bytes = bytes.saturating_add(digest.size());
        if bytes > STEP_BYTES && !step.is_empty() {
            pending.push(digest);
            break;
        }
        step.push(digest);
    }
    step
}

fn missing(error: Error, digest: Digest) -> PinError {
    match error {
        Error::NotFound { .. } => PinError::Incomplete { count: 1, example: Box::new(digest) },
        other => other.into(),
    }
}

/// Files, and further manifests.
fn in_manifest(digest: Digest, bytes: &Bytes) -> Result<(Vec<Digest>, Vec<Digest>)> {
    let refuse = |reason: &dyn std::fmt::Display| Error::Invalid {
        reason: format!("{digest} is no .isolated manifest that can be pinned: {reason}"),
    };
    let manifest = Isolated::parse(bytes).map_err(|error| refuse(&error))?;
    let files = manifest.files.values().filter_map(|entry| entry.digest()).collect();
    let includes = manifest.includes.iter().map(|include| include.digest());
    Ok((files, includes.collect::<Result<_, _>>().map_err(|error| refuse(&error))?))
}

/// Files, and further directories. Their digests have the function of the directory's own.
fn in_directory(digest: Digest, bytes: &Bytes) -> Result<(Vec<Digest>, Vec<Digest>)> {
    let refuse = |reason: &dyn std::fmt::Display| Error::Invalid {
        reason: format!("{digest} is no Directory that can be pinned: {reason}"),
    };
    let directory = reapi::Directory::decode(bytes.clone()).map_err(|error| refuse(&error))?;
    // Proto 3 reads many things as a message; one that is said differently is none of a directory.
    if directory.encode_to_vec() != bytes[..] {
        return Err(refuse(&"it is not written as a Directory is"));
    }
    let named = Named::parse(i32::from(digest.function().number())).map_err(|error| refuse(&error))?;
    let parse = |wire: Option<&reapi::Digest>| match wire {
        Some(wire) => named.digest(wire).map_err(|error| refuse(&error)),
        None => Err(refuse(&"an entry has no digest")),
    };
    let files = directory.files.iter().map(|file| parse(file.digest.as_ref()));
    let directories = directory.directories.iter().map(|inner| parse(inner.digest.as_ref()));
    Ok((files.collect::<Result<_>>()?, directories.collect::<Result<_>>()?))
}
