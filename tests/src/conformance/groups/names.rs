//! Resource names of `ByteStream`.

use super::{
    blob::{message, messages},
    expect::{Outcome, ok, refused, same, same_bytes},
    rule::rule,
    server::within,
};
use crate::conformance::{Rule, Server, rule::Needs};
use proto::{
    DigestFunction::{Blake3, Sha256},
    bytestream::{ReadRequest, byte_stream_client::ByteStreamClient},
};
use tonic::{Code, Request};

pub(super) const RULES: &[Rule] = &[
    rule!(
        "name.instance-segments",
        "an instance name of several segments is understood in names of reads and writes",
        "REAPI: ByteStream resource names",
        [],
        instance_segments
    ),
    rule!(
        "name.metadata",
        "what follows the size in the name of an upload is ignored",
        "REAPI: ByteStream resource names, optional metadata",
        [],
        metadata
    ),
    rule!(
        "name.explicit-function",
        "blake3/ before the hash is understood in names of reads and writes",
        "REAPI: ByteStream resource names, digest_function segment",
        [Needs::Function(Blake3)],
        explicit_function
    ),
    rule!(
        "name.implied-function",
        "sha256/ before the hash is understood as well, though it should be left out",
        "tolerance: some clients write the function always",
        [Needs::Function(Sha256)],
        implied_function
    ),
    rule!(
        "name.shared-uuid",
        "uploads of different blobs under one UUID at the same time do not disturb each other",
        "moon uses one UUID for all uploads of a process",
        [],
        shared_uuid
    ),
    rule!(
        "name.repeated",
        "every message of an upload may repeat the name",
        "Buck2 sets resource_name in all messages; google.bytestream: WriteRequest.resource_name",
        [],
        repeated
    ),
    rule!(
        "name.changed",
        "a later message of an upload with another name is refused",
        "google.bytestream: WriteRequest.resource_name",
        [],
        changed
    ),
    rule!(
        "name.nonsense",
        "names of another form are refused, and not as an error of the server",
        "google.bytestream: Read, Write; Bazel repeats a call that ends with INTERNAL",
        [],
        nonsense
    ),
    rule!(
        "name.unknown-compressor",
        "a compressor that is not listed is refused",
        "REAPI: ByteStream resource names, compressed-blobs",
        [],
        unknown_compressor
    ),
    rule!(
        "name.header",
        "the routing header with the same name changes nothing",
        "REAPI 2.12: build.bazel.remote.execution.v2.resource-name",
        [],
        header
    ),
];

async fn instance_segments(server: &Server) -> Outcome {
    let blob = server.fresh(1000);
    let instance = if server.instance().is_empty() { "a/b-1/c.d/" } else { "" };
    let name = format!("{instance}{}", server.write_name(&blob));
    ok(&format!("Write of {name}"), server.write(messages(&name, &blob.data, 500)).await)?;
    let name = format!("{instance}{}", server.read_name(&blob));
    let read = ok(&format!("Read of {name}"), server.read(&name, 0, 0).await)?;
    same_bytes("the blob", &blob.data, &read)
}

async fn metadata(server: &Server) -> Outcome {
    let blob = server.fresh(1000);
    let name = format!("{}/blobs/of/foo.txt", server.write_name(&blob));
    ok(&format!("Write of {name}"), server.write(messages(&name, &blob.data, 500)).await)?;
    server.serves(&blob).await
}

async fn explicit_function(server: &Server) -> Outcome {
    let blob = server.fresh_by(Blake3, 1000);
    server.store(&blob).await?;
    server.serves(&blob).await
}

async fn implied_function(server: &Server) -> Outcome {
    let blob = server.fresh_by(Sha256, 1000);
    let named = |name: String| name.replace("blobs/", "blobs/sha256/");
    let name = named(server.write_name(&blob));
    ok(&format!("Write of {name}"), server.write(messages(&name, &blob.data, 500)).await)?;
    let name = named(server.read_name(&blob));
    let read = ok(&format!("Read of {name}"), server.read(&name, 0, 0).await)?;
    same_bytes("the blob", &blob.data, &read)
}

async fn shared_uuid(server: &Server) -> Outcome {
    let uuid = server.uuid();
    let blobs: Vec<_> = (0..4).map(|_| server.fresh(300_000)).collect();
    let uploads = blobs.iter().map(|blob| {
        let name = server.name(&format!("uploads/{uuid}/blobs"), blob.function, &blob.digest);
        server.write(messages(&name, &blob.data, 10_000))
    });
    for (committed, blob) in futures::future::join_all(uploads).await.into_iter().zip(&blobs) {
        same("committed_size", &blob.digest.size_bytes, &ok("Write", committed)?)?;
        server.serves(blob).await?;
    }
    Ok(())
}

async fn repeated(server: &Server) -> Outcome {
    let blob = server.fresh(3000);
    let name = server.write_name(&blob);
    let mut upload = messages(&name, &blob.data, 1000);
    upload.iter_mut().for_each(|message| message.resource_name.clone_from(&name));
    ok("Write", server.write(upload).await)?;
    server.serves(&blob).await
}

async fn changed(server: &Server) -> Outcome {
    let blob = server.fresh(3000);
    let mut upload = messages(&server.write_name(&blob), &blob.data, 1000);
    upload[1].resource_name = server.write_name(&server.fresh(3000));
    refused("Write", &[Code::InvalidArgument], server.write(upload).await)?;
    server.lacks(&blob).await
}

async fn nonsense(server: &Server) -> Outcome {
    let hash = server.fresh(1000).digest.hash;
    let codes = [Code::InvalidArgument, Code::NotFound];
    let reads = ["", "blobs", "nonsense/of/someone", "blobs/zz/5"].map(str::to_owned);
    let sizes = [format!("blobs/{hash}"), format!("blobs/{hash}/five"), format!("blobs/{hash}/-5")];
    for name in reads.into_iter().chain(sizes) {
        refused(&format!("Read of `{name}`"), &codes, server.read(&name, 0, 0).await)?;
        for name in [name.clone(), format!("uploads/{name}"), format!("uploads/{}/{name}", server.uuid())] {
            let upload = vec![message(&name, 0, b"bytes", true)];
            refused(&format!("Write of `{name}`"), &codes, server.write(upload).await)?;
        }
    }
    Ok(())
}

async fn unknown_compressor(server: &Server) -> Outcome {
    let blob = server.stored(1000).await?;
    let name = server.name("compressed-blobs/lzma", blob.function, &blob.digest);
    refused(&format!("Read of {name}"), &[Code::InvalidArgument], server.read(&name, 0, 0).await)?;
    let kind = format!("uploads/{}/compressed-blobs/lzma", server.uuid());
    let name = server.name(&kind, blob.function, &server.fresh(5).digest);
    let upload = vec![message(&name, 0, b"bytes", true)];
    refused(&format!("Write of {name}"), &[Code::InvalidArgument], server.write(upload).await)
}

async fn header(server: &Server) -> Outcome {
    let blob = server.stored(1000).await?;
    let name = server.read_name(&blob);
    let mut request = Request::new(ReadRequest { resource_name: name.clone(), ..Default::default() });
    if let Ok(value) = name.parse() {
        request.metadata_mut().insert("build.bazel.remote.execution.v2.resource-name", value);
    }
    let mut client: ByteStreamClient<_> = server.byte_stream();
    let call = async { client.read(request).await?.into_inner().message().await };
    let first = ok("Read with the header", within(server.deadline(), call).await)?;
    same_bytes("the blob", &blob.data, &first.map(|message| message.data.to_vec()).unwrap_or_default())
}
