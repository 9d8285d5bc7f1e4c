//! `Capabilities`: what this server does, and nothing that it does not.

use proto::{DigestFunction, limits, reapi, semver::SemVer};
use reapi::{ActionCacheUpdateCapabilities, CacheCapabilities, GetCapabilitiesRequest, ServerCapabilities};
use tonic::{Request, Response, Status};

/// The service. Instance names share one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct CapabilitiesService;

#[tonic::async_trait]
impl reapi::capabilities_server::Capabilities for CapabilitiesService {
    async fn get_capabilities(
        &self,
        _: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<ServerCapabilities>, Status> {
        Ok(Response::new(capabilities()))
    }
}

fn capabilities() -> ServerCapabilities {
    let version = |major, minor| Some(SemVer { major, minor, ..SemVer::default() });
    // Old clients take the first of the list.
    let functions =
        [DigestFunction::Sha256, DigestFunction::Blake3, DigestFunction::Sha1, DigestFunction::Sha512];
    ServerCapabilities {
        cache_capabilities: Some(CacheCapabilities {
            digest_functions: functions.map(|function| i32::from(function.number())).to_vec(),
            action_cache_update_capabilities: Some(ActionCacheUpdateCapabilities { update_enabled: false }),
            max_batch_total_size_bytes: limits::MAX_BATCH_BYTES.cast_signed(),
            symlink_absolute_path_strategy: reapi::symlink_absolute_path_strategy::Value::Allowed as i32,
            ..CacheCapabilities::default()
        }),
        deprecated_api_version: version(2, 0),
        low_api_version: version(2, 0),
        high_api_version: version(2, 12),
        ..ServerCapabilities::default()
    }
}
