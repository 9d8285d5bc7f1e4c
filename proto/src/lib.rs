//! The contract: wire messages and the validated names inside them. No I/O.
//!
//! Wire messages ([`v1`], [`journal`], [`reapi`], [`bytestream`]) stop in `service/` folders and in
//! `cas::remote`; everything else speaks [`Digest`], [`RelPath`], [`ShardId`], [`Dimensions`], which are always valid.

mod codec;
mod cut;
mod decimal;
mod digest;
mod dimensions;
mod environment_prefix;
pub mod framing;
mod ids;
mod into_dir;
pub mod limits;
pub mod listing;
mod named_cache;
mod part;
mod path;
mod secret;
mod time;

pub use cut::Cut;
pub use decimal::decimal;
pub use digest::{Digest, DigestError, DigestFunction, Hasher};
pub use dimensions::{DimensionError, Dimensions, Requirement, Requirements};
pub use environment_prefix::{EnvironmentPrefix, EnvironmentPrefixError};
pub use ids::{BotId, CacheName, IdError, RequestId, RunId, SessionId, ShardId};
pub use into_dir::{IntoDir, IntoDirError};
pub use named_cache::{NamedCache, NamedCacheError};
pub use part::{Part, PartError};
pub use path::{PathError, RelPath};
pub use secret::{Secret, SecretError};
pub use time::Timestamp;

/// Messages and services of `isoswarm.v1`: the scheduler's interface to its clients and bots, and what the CAS server
/// does beside the Remote Execution API.
#[expect(missing_docs, clippy::allow_attributes, clippy::large_enum_variant, reason = "generated")]
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

pub use build::bazel::remote::asset::v1 as asset;
pub use build::bazel::remote::execution::v2 as reapi;
pub use build::bazel::semver;
pub use google::{bytestream, rpc};

/// The public protocols, in the modules of their packages, as what is generated looks for each other there.
#[expect(missing_docs, clippy::allow_attributes, reason = "generated")]
mod build {
    pub(crate) mod bazel {
        pub(crate) mod remote {
            pub(crate) mod asset {
                pub mod v1 {
                    tonic::include_proto!("build.bazel.remote.asset.v1");
                }
            }
            pub(crate) mod execution {
                pub mod v2 {
                    tonic::include_proto!("build.bazel.remote.execution.v2");
                    include!(concat!(env!("OUT_DIR"), "/build.bazel.remote.execution.v2.serde.rs"));
                }
            }
        }
        pub mod semver {
            tonic::include_proto!("build.bazel.semver");
        }
    }
}

/// Packages of Google that the public protocols use.
#[expect(missing_docs, clippy::allow_attributes, reason = "generated")]
pub mod google {
    pub use pbjson_types as protobuf;
    pub mod bytestream {
        tonic::include_proto!("google.bytestream");
    }
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

/// The encoded `FileDescriptorSet` of our own protocols, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The same of the Remote Execution API, Remote Asset and ByteStream.
pub const REAPI_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reapi.bin"));
