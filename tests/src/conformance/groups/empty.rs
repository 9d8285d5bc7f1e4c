//! The empty blob, which every server has.

use super::{
    blob::{Blob, message},
    expect::{Outcome, ok, refused, same, same_bytes},
    rule::rule,
    server::{entry, number},
};
use crate::conformance::{Rule, Server};
use proto::{DigestFunction, reapi};
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "empty.is-present",
        "FindMissingBlobs never lists the empty blob, whatever the function",
        "REAPI: ContentAddressableStorage; the empty blob is always there",
        [],
        is_present
    ),
    rule!(
        "empty.read",
        "ByteStream.Read of the empty blob is OK and has no bytes",
        "REAPI: ContentAddressableStorage; the empty blob is always there",
        [],
        read
    ),
    rule!(
        "empty.batch-read",
        "BatchReadBlobs answers the empty blob with OK and no bytes",
        "REAPI: ContentAddressableStorage; the empty blob is always there",
        [],
        batch_read
    ),
    rule!("empty.write", "an upload of the empty blob commits 0 bytes", "REAPI: ByteStream.Write", [], write),
    rule!(
        "empty.batch-update",
        "BatchUpdateBlobs takes the empty blob",
        "REAPI: BatchUpdateBlobs",
        [],
        batch_update
    ),
    rule!(
        "empty.size-and-hash-agree",
        "size 0 with the hash of other bytes is refused, and so is the empty hash with another size",
        "REAPI: Digest",
        [],
        size_and_hash_agree
    ),
];

fn empty(server: &Server) -> Blob {
    Blob::new(server.function(), Vec::new())
}

async fn is_present(server: &Server) -> Outcome {
    for function in DigestFunction::ALL.into_iter().filter(|function| server.has_function(*function)) {
        let empty = Blob::new(function, Vec::new());
        let missing = ok("FindMissingBlobs", server.missing(number(function), vec![empty.digest]).await)?;
        same("missing blobs", &vec![], &missing)?;
    }
    Ok(())
}

async fn read(server: &Server) -> Outcome {
    let read = ok("Read", server.read(&server.read_name(&empty(server)), 0, 0).await)?;
    same_bytes("the empty blob", &[], &read)
}

async fn batch_read(server: &Server) -> Outcome {
    let empty = empty(server);
    let answer = server.read_batch(number(empty.function), vec![empty.digest], vec![]).await;
    let answer = ok("BatchReadBlobs", answer)?;
    let read: Vec<_> = answer
        .responses
        .iter()
        .map(|response| (response.status.as_ref().map(|status| status.code), response.data.len()))
        .collect();
    same("code and length", &vec![(Some(0), 0)], &read)
}

async fn write(server: &Server) -> Outcome {
    let name = server.write_name(&empty(server));
    let committed = ok("Write", server.write(vec![message(&name, 0, &[], true)]).await)?;
    same("committed_size", &0, &committed)
}

async fn batch_update(server: &Server) -> Outcome {
    let empty = empty(server);
    let answer = ok("BatchUpdateBlobs", server.update(number(empty.function), vec![entry(&empty)]).await)?;
    let codes: Vec<_> = answer.responses.iter().map(|r| r.status.as_ref().map(|s| s.code)).collect();
    same("codes", &vec![Some(0)], &codes)
}

async fn size_and_hash_agree(server: &Server) -> Outcome {
    let other = server.fresh(1000).digest;
    let wrong =
        [reapi::Digest { size_bytes: 0, ..other }, reapi::Digest { size_bytes: 5, ..empty(server).digest }];
    for digest in wrong {
        let name = server.name("blobs", server.function(), &digest);
        let answer = server.read(&name, 0, 0).await;
        refused(&format!("Read of {name}"), &[Code::InvalidArgument, Code::NotFound], answer)?;
    }
    Ok(())
}
