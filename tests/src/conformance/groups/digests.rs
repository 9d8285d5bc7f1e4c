//! Digests: function, hash and size are one name.

use super::{
    blob::Blob,
    expect::{Outcome, ok, refused, same, that},
    rule::rule,
    server::{entry, number},
};
use crate::conformance::{Rule, Server, rule::Needs};
use proto::{
    DigestFunction::{self, Blake3, Sha256},
    reapi::{self, digest_function},
};
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "digest.every-function",
        "a blob can be stored and read under every digest function that is listed",
        "REAPI: CacheCapabilities.digest_functions",
        [],
        every_function
    ),
    rule!(
        "digest.inferred",
        "a request without digest_function means the function that the hash's length tells",
        "REAPI: digest_function of all requests; Buck2 and all clients before 2.5 leave it out",
        [],
        inferred
    ),
    rule!(
        "digest.blake3-is-named",
        "64 digits without digest_function are SHA-256, never BLAKE3",
        "REAPI: digest_function of all requests",
        [Needs::Function(Blake3), Needs::Function(Sha256)],
        blake3_is_named
    ),
    rule!(
        "digest.functions-are-apart",
        "the same hash under another function is another blob",
        "REAPI: DigestFunction; the key is function, hash and size",
        [Needs::Function(Blake3), Needs::Function(Sha256)],
        functions_are_apart
    ),
    rule!(
        "digest.unknown-function",
        "a digest function that is not listed is refused",
        "REAPI: digest_function of all requests (INVALID_ARGUMENT)",
        [],
        unknown_function
    ),
    rule!(
        "digest.size-counts",
        "the right hash with a wrong size names no blob",
        "REAPI: Digest; the size is part of the name",
        [],
        size_counts
    ),
    rule!(
        "digest.upper-case",
        "hashes with upper-case digits are refused",
        "REAPI: Digest.hash is lower-case hexadecimal",
        [],
        upper_case
    ),
    rule!(
        "digest.wrong-length",
        "hashes that are too short or too long are refused",
        "REAPI: Digest.hash is padded to the function's length",
        [],
        wrong_length
    ),
    rule!(
        "digest.negative-size",
        "negative sizes are refused",
        "REAPI: Digest.size_bytes",
        [],
        negative_size
    ),
];

async fn every_function(server: &Server) -> Outcome {
    for function in DigestFunction::ALL.into_iter().filter(|function| server.has_function(*function)) {
        let blob = server.fresh_by(function, 1000);
        server.store(&blob).await?;
        server.serves(&blob).await?;
        let present = server.has(&blob).await?;
        that(present, format!("the {} blob is present", function.name()), "it is missing")?;
    }
    Ok(())
}

async fn inferred(server: &Server) -> Outcome {
    let inferable = DigestFunction::ALL.into_iter().filter(|function| *function != Blake3);
    for function in inferable.filter(|function| server.has_function(*function)) {
        let blob = server.fresh_by(function, 1000);
        let answer = ok("BatchUpdateBlobs", server.update(0, vec![entry(&blob)]).await)?;
        let codes: Vec<_> = answer.responses.iter().filter_map(|r| Some(r.status.as_ref()?.code)).collect();
        same(&format!("the codes of a {} blob", function.name()), &vec![0], &codes)?;
        let missing = ok("FindMissingBlobs", server.missing(0, vec![blob.digest.clone()]).await)?;
        same("missing blobs", &vec![], &missing)?;
        server.serves(&blob).await?;
    }
    Ok(())
}

async fn blake3_is_named(server: &Server) -> Outcome {
    let blob = server.fresh_by(Blake3, 1000);
    if let Ok(answer) = server.update(0, vec![entry(&blob)]).await {
        let codes: Vec<_> = answer.responses.iter().filter_map(|r| Some(r.status.as_ref()?.code)).collect();
        same("the codes of a BLAKE3 blob", &vec![Code::InvalidArgument as i32], &codes)?;
    }
    server.lacks(&blob).await
}

async fn functions_are_apart(server: &Server) -> Outcome {
    let blob = server.fresh_by(Sha256, 1000);
    server.store(&blob).await?;
    server.lacks(&Blob { function: Blake3, ..blob }).await
}

async fn unknown_function(server: &Server) -> Outcome {
    let digest = server.fresh(1000).digest;
    for function in [digest_function::Value::Vso as i32, 4711] {
        if !server.cache().digest_functions.contains(&function) {
            let answer = server.missing(function, vec![digest.clone()]).await;
            refused(&format!("FindMissingBlobs by function {function}"), &[Code::InvalidArgument], answer)?;
        }
    }
    Ok(())
}

async fn size_counts(server: &Server) -> Outcome {
    let blob = server.stored(1000).await?;
    let resized = [blob.resized(-1), blob.resized(1)];
    let missing = ok("FindMissingBlobs", server.missing(number(blob.function), resized.to_vec()).await)?;
    same("missing blobs", &2, &missing.len())
}

/// Fails unless a question about this digest is refused.
async fn is_refused(server: &Server, digest: reapi::Digest) -> Outcome {
    let what = format!("FindMissingBlobs of {}/{}", digest.hash, digest.size_bytes);
    let answer = server.missing(number(server.function()), vec![digest]).await;
    refused(&what, &[Code::InvalidArgument], answer)
}

async fn upper_case(server: &Server) -> Outcome {
    let digest = server.fresh(1000).digest;
    is_refused(server, reapi::Digest { hash: digest.hash.to_uppercase(), ..digest }).await
}

async fn wrong_length(server: &Server) -> Outcome {
    let digest = server.fresh(1000).digest;
    let short = digest.hash[1..].to_owned();
    for hash in [short, format!("{}0", digest.hash), String::new()] {
        is_refused(server, reapi::Digest { hash, ..digest.clone() }).await?;
    }
    Ok(())
}

async fn negative_size(server: &Server) -> Outcome {
    is_refused(server, reapi::Digest { size_bytes: -1, ..server.fresh(1000).digest }).await
}
