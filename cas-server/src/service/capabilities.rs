//! `Capabilities`: what this server does, and nothing that it does not.

use super::chunks;
use proto::{DigestFunction, limits, reapi, semver::SemVer};
use reapi::{ActionCacheUpdateCapabilities, CacheCapabilities, GetCapabilitiesRequest, ServerCapabilities};
use tonic::{Request, Response, Status};

/// The service. Instance names share one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct CapabilitiesService {
    /// Whether MD5 is taken.
    pub(super) md5: bool,
    /// Bytes of the largest blob that is taken.
    pub(super) max_blob: u64,
}

#[tonic::async_trait]
impl reapi::capabilities_server::Capabilities for CapabilitiesService {
    async fn get_capabilities(
        &self,
        _: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<ServerCapabilities>, Status> {
        Ok(Response::new(capabilities(self.md5, self.max_blob)))
    }
}

fn capabilities(md5: bool, max_blob: u64) -> ServerCapabilities {
    let version = |major, minor| Some(SemVer { major, minor, ..SemVer::default() });
    // Old clients take the first of the list.
    let mut functions = DigestFunction::ALL.to_vec();
    functions.sort_by_key(|function| *function != DigestFunction::Sha256);
    if md5 {
        functions.push(DigestFunction::Md5);
    }
    ServerCapabilities {
        cache_capabilities: Some(CacheCapabilities {
            digest_functions: functions.iter().map(|function| i32::from(function.number())).collect(),
            action_cache_update_capabilities: Some(ActionCacheUpdateCapabilities { update_enabled: true }),
            max_batch_total_size_bytes: limits::MAX_BATCH_BYTES.cast_signed(),
            supported_compressors: vec![reapi::compressor::Value::Zstd as i32],
            supported_batch_update_compressors: vec![reapi::compressor::Value::Zstd as i32],
            max_cas_blob_size_bytes: i64::try_from(max_blob).unwrap_or(i64::MAX),
            symlink_absolute_path_strategy: reapi::symlink_absolute_path_strategy::Value::Allowed as i32,
            split_blob_support: true,
            splice_blob_support: true,
            fast_cdc_2020_params: Some(reapi::FastCdc2020Params {
                avg_chunk_size_bytes: chunks::AVERAGE as u64,
                seed: chunks::SEED,
            }),
            ..CacheCapabilities::default()
        }),
        deprecated_api_version: version(2, 0),
        low_api_version: version(2, 0),
        high_api_version: version(2, 12),
        ..ServerCapabilities::default()
    }
}
