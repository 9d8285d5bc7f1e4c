//! Compiles our `.proto` files with protox, so that no `protoc` is needed.

use prost::Message as _;
use std::{env, error::Error, fs, path::PathBuf};

/// What an `ActionResult` consists of, which HTTP has as JSON, too.
const JSON: [&str; 8] = [
    "ActionResult",
    "Digest",
    "ExecutedActionMetadata",
    "NodeProperties",
    "NodeProperty",
    "OutputDirectory",
    "OutputFile",
    "OutputSymlink",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=protos");
    let descriptors = protox::compile(
        [
            "isoswarm/v1/swarm.proto",
            "isoswarm/v1/bots.proto",
            "isoswarm/v1/cas.proto",
            "isoswarm/journal/v1/journal.proto",
        ],
        ["protos"],
    )?;
    // The types of the public protocols, too, are made here: what blobs consist of are `Bytes`, parts of the message that
    // they came in, where other crates of these protocols copy each blob.
    let public = protox::compile(
        [
            "build/bazel/remote/execution/v2/remote_execution.proto",
            "build/bazel/remote/asset/v1/remote_asset.proto",
            "google/bytestream/bytestream.proto",
        ],
        ["protos"],
    )?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let public_bytes = public.encode_to_vec();
    fs::write(out.join("reapi.bin"), &public_bytes)?;
    tonic_prost_build::configure()
        .bytes(".isoswarm.v1.HeldAttempt")
        .bytes(".isoswarm.v1.TestReport")
        .bytes(".isoswarm.v1.WritePatchRequest")
        .bytes(".isoswarm.v1.ReadOutputResponse")
        // Shown as redacted by an implementation of ours.
        .skip_debug([".isoswarm.v1.Secret"])
        .compile_fds(descriptors)?;
    tonic_prost_build::configure()
        .bytes(".google.bytestream")
        .bytes(".build.bazel.remote.execution.v2.BatchUpdateBlobsRequest")
        .bytes(".build.bazel.remote.execution.v2.BatchReadBlobsResponse")
        .codec_path("crate::codec::WholeCodec")
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_fds(public)?;
    let parts = JSON.map(|message| format!(".build.bazel.remote.execution.v2.{message}"));
    pbjson_build::Builder::new().register_descriptors(&public_bytes)?.build(&parts)?;
    Ok(())
}
