//! A rule, and what a server must have for the rule to concern it.

use super::{Server, expect::Outcome};
use futures::future::BoxFuture;
use proto::DigestFunction;

/// One thing that a server has to do.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// `GROUP.NAME`, the same in every version of the suite.
    pub id: &'static str,
    /// The rule.
    pub says: &'static str,
    /// The part of the specification that says so, or the clients that fail without it.
    pub source: &'static str,
    /// The rule concerns only servers that have all of these.
    pub(super) needs: &'static [Needs],
    /// Finds out whether it holds.
    pub(super) check: Check,
}

/// Speaks to the server until it knows whether a rule holds.
pub(super) type Check = for<'a> fn(&'a Server) -> BoxFuture<'a, Outcome>;

/// What a server says that it has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needs {
    Function(DigestFunction),
    Zstd,
    ZstdBatches,
    ActionCacheUpdates,
    BatchLimit,
    BlobLimit,
    Split,
    Splice,
    FastCdc,
    Minor(i32),
    Http,
}

impl Needs {
    /// What the server says instead; `None` when it has this.
    pub(super) fn lacking(self, server: &Server) -> Option<String> {
        let cache = server.cache();
        let (has, otherwise) = match self {
            Self::Function(function) => {
                (server.has_function(function), format!("digest_functions is without {}", function.name()))
            }
            Self::Zstd => (
                cache.supported_compressors.contains(&ZSTD),
                "supported_compressors is without ZSTD".to_owned(),
            ),
            Self::ZstdBatches => (
                cache.supported_batch_update_compressors.contains(&ZSTD),
                "supported_batch_update_compressors is without ZSTD".to_owned(),
            ),
            Self::ActionCacheUpdates => {
                (server.takes_results(), "action_cache_update_capabilities is without update_enabled".into())
            }
            Self::BatchLimit => (server.batch_limit() > 0, "max_batch_total_size_bytes is 0".to_owned()),
            Self::BlobLimit => (cache.max_cas_blob_size_bytes > 0, "max_cas_blob_size_bytes is 0".to_owned()),
            Self::Split => (cache.split_blob_support, "split_blob_support is false".to_owned()),
            Self::Splice => (cache.splice_blob_support, "splice_blob_support is false".to_owned()),
            Self::FastCdc => {
                (cache.fast_cdc_2020_params.is_some(), "fast_cdc_2020_params is not set".to_owned())
            }
            Self::Minor(minor) => {
                (server.minor() >= minor, format!("high_api_version is 2.{}", server.minor()))
            }
            Self::Http => (server.http().is_some(), "the port does not answer HTTP/1.1".to_owned()),
        };
        (!has).then_some(otherwise)
    }
}

/// The number of zstd among the compressors.
pub(super) const ZSTD: i32 = proto::reapi::compressor::Value::Zstd as i32;

/// A row of a table of rules: id, sentence, source, needs, and the function that checks it.
macro_rules! rule {
    ($id:literal, $says:literal, $source:literal, [$($needs:expr),*], $check:expr) => {
        $crate::conformance::Rule {
            id: $id,
            says: $says,
            source: $source,
            needs: &[$($needs),*],
            check: |server| futures::FutureExt::boxed($check(server)),
        }
    };
}

pub(super) use rule;
