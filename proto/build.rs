//! Compiles our `.proto` files with protox, so that no `protoc` is needed.

use prost::Message as _;
use std::{env, error::Error, fs, path::PathBuf};

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
    // Their types are those of `bazel-remote-apis`.
    let reapi = protox::compile(
        [
            "build/bazel/remote/execution/v2/remote_execution.proto",
            "build/bazel/remote/asset/v1/remote_asset.proto",
            "google/bytestream/bytestream.proto",
        ],
        ["protos"],
    )?;
    // With `Bytes` for what blobs consist of: a copy less for each of them.
    let streams = protox::compile(["google/bytestream/bytestream.proto"], ["protos"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    fs::write(out.join("reapi.bin"), reapi.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".isoswarm.v1.HeldAttempt")
        .bytes(".isoswarm.v1.TestReport")
        .bytes(".isoswarm.v1.ReadOutputResponse")
        // Shown as redacted by an implementation of ours.
        .skip_debug([".isoswarm.v1.Secret"])
        .compile_fds(descriptors)?;
    tonic_prost_build::configure().bytes(".google.bytestream").compile_fds(streams)?;
    Ok(())
}
