//! The contract: wire messages and the validated names inside them. No I/O.
//!
//! Wire messages ([`v1`], [`journal`], [`reapi`], [`bytestream`]) stop in `service/` folders and in
//! `cas::remote`; everything else speaks [`Digest`], [`RelPath`], [`ShardId`], [`Dimensions`], which are always valid.

mod digest;
mod dimensions;
mod environment_prefix;
mod ids;
pub mod limits;
mod named_cache;
mod path;
mod secret;
mod time;

pub use digest::{Digest, DigestError, DigestFunction, Hasher};
pub use dimensions::{DimensionError, Dimensions, Requirement, Requirements};
pub use environment_prefix::{EnvironmentPrefix, EnvironmentPrefixError};
pub use ids::{BotId, CacheName, IdError, RequestId, RunId, SessionId, ShardId};
pub use named_cache::{NamedCache, NamedCacheError};
pub use path::{PathError, RelPath};
pub use secret::{Secret, SecretError};
pub use time::Timestamp;

/// Messages and services of `isoswarm.v1`: the scheduler's interface to its clients and bots, and what the CAS server
/// does beside the Remote Execution API.
#[expect(missing_docs, clippy::allow_attributes, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("isoswarm.v1");
}

/// What the scheduler's journal keeps.
pub mod journal {
    /// Messages of `isoswarm.journal.v1`.
    #[expect(missing_docs, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("isoswarm.journal.v1");
    }
}

pub use bazel_remote_apis::build::bazel::remote::asset::v1 as asset;
pub use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
pub use bazel_remote_apis::build::bazel::semver;
pub use bazel_remote_apis::google::{self, rpc};

/// Messages and the service of `google.bytestream`: blobs of any size as streams.
#[expect(missing_docs, clippy::allow_attributes, reason = "generated")]
pub mod bytestream {
    tonic::include_proto!("google.bytestream");
}

/// The encoded `FileDescriptorSet` of our own protocols, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The same of the Remote Execution API, Remote Asset and ByteStream.
pub const REAPI_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reapi.bin"));
