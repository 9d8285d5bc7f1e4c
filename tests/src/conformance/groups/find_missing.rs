//! `FindMissingBlobs`: exactly what is missing.

use super::{
    expect::{Outcome, ok, same, that},
    rule::rule,
    server::number,
};
use crate::conformance::{Rule, Server};
use proto::reapi;
use std::collections::BTreeSet;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "find-missing.exact",
        "what is missing is listed as it was asked for, and nothing else",
        "REAPI: FindMissingBlobs; builds without the bytes rely on it",
        [],
        exact
    ),
    rule!("find-missing.nothing", "a question about no blobs is OK", "REAPI: FindMissingBlobs", [], nothing),
    rule!(
        "find-missing.twice",
        "a digest that is asked about twice is answered",
        "REAPI: FindMissingBlobs; clients do not always remove duplicates",
        [],
        twice
    ),
    rule!(
        "find-missing.many",
        "20,000 digests in one call are answered",
        "Bazel fills a message with digests",
        [],
        many
    ),
    rule!(
        "find-missing.at-once",
        "a blob is present as soon as its upload has been answered",
        "REAPI: ContentAddressableStorage",
        [],
        at_once
    ),
];

fn set(digests: &[reapi::Digest]) -> BTreeSet<(String, i64)> {
    digests.iter().map(|digest| (digest.hash.clone(), digest.size_bytes)).collect()
}

async fn missing(server: &Server, digests: Vec<reapi::Digest>) -> Outcome<Vec<reapi::Digest>> {
    ok("FindMissingBlobs", server.missing(number(server.function()), digests).await)
}

async fn exact(server: &Server) -> Outcome {
    let mut asked = Vec::new();
    let mut absent = Vec::new();
    for _ in 0..10 {
        asked.push(server.stored(100).await?.digest);
        absent.push(server.fresh(100).digest);
        asked.extend(absent.last().cloned());
    }
    same("missing blobs", &set(&absent), &set(&missing(server, asked).await?))
}

async fn nothing(server: &Server) -> Outcome {
    same("missing blobs", &vec![], &missing(server, vec![]).await?)
}

async fn twice(server: &Server) -> Outcome {
    let (present, absent) = (server.stored(100).await?.digest, server.fresh(100).digest);
    let asked = vec![absent.clone(), present.clone(), absent.clone(), present];
    let seen = missing(server, asked).await?;
    that(set(&seen) == set(&[absent]), "the missing blob, once or twice", format!("{seen:?}"))
}

async fn many(server: &Server) -> Outcome {
    let absent: Vec<_> = (0..20_000).map(|_| server.fresh(20).digest).collect();
    let seen = missing(server, absent.clone()).await?;
    that(set(&seen) == set(&absent), "all 20000", format!("{} of them", seen.len()))
}

async fn at_once(server: &Server) -> Outcome {
    for size in [100, 3_000_000] {
        let blob = server.stored(size).await?;
        that(server.has(&blob).await?, format!("the blob of {size} bytes is present"), "it is missing")?;
    }
    Ok(())
}
