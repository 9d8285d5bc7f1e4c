//! What a server says of itself.

use super::{
    expect::{Outcome, ok, same, that},
    rule::rule,
    server::failed,
};
use crate::conformance::{Rule, Server};
use proto::reapi::{self, digest_function, symlink_absolute_path_strategy};
use std::collections::BTreeSet;
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "capabilities.cache",
        "GetCapabilities answers with cache_capabilities",
        "REAPI: Capabilities.GetCapabilities",
        [],
        cache
    ),
    rule!(
        "capabilities.version-range",
        "low_api_version is not above high_api_version, and both are of major version 2",
        "REAPI: ServerCapabilities",
        [],
        version_range
    ),
    rule!(
        "capabilities.old-clients",
        "low_api_version is 2.0",
        "Bazel 4 speaks 2.0 and refuses a server that begins later",
        [],
        old_clients
    ),
    rule!(
        "capabilities.digest-functions",
        "digest_functions lists at least one, none twice, and not UNKNOWN",
        "REAPI: CacheCapabilities.digest_functions",
        [],
        digest_functions
    ),
    rule!(
        "capabilities.batch-limit",
        "max_batch_total_size_bytes is above 0 and at most 4 MiB",
        "Buck2 takes 0 for 4,000,000; gRPC clients refuse messages above 4 MiB unless told otherwise",
        [],
        batch_limit
    ),
    rule!(
        "capabilities.symlinks",
        "symlink_absolute_path_strategy is ALLOWED or DISALLOWED",
        "REAPI: SymlinkAbsolutePathStrategy; Bazel and BuildStream look at it",
        [],
        symlinks
    ),
    rule!(
        "capabilities.any-instance",
        "an instance name that nobody has set up is served",
        "moon names the instance moon-outputs unless told otherwise; other clients invent names as well",
        [],
        any_instance
    ),
    rule!(
        "capabilities.update-enabled",
        "update_enabled says whether UpdateActionResult is allowed to this caller",
        "REAPI: ActionCacheUpdateCapabilities; Bazel stops when it wants to upload and must not",
        [],
        update_enabled
    ),
    rule!(
        "capabilities.blob-limit",
        "max_cas_blob_size_bytes is not negative",
        "REAPI: CacheCapabilities.max_cas_blob_size_bytes",
        [],
        blob_limit
    ),
    rule!(
        "capabilities.chunking",
        "the parameters of chunking functions are in range",
        "REAPI: FastCdc2020Params, RepMaxCdcParams; clients ignore what is not",
        [],
        chunking
    ),
];

async fn cache(server: &Server) -> Outcome {
    let capabilities = ok("GetCapabilities", server.get_capabilities(server.instance()).await)?;
    that(capabilities.cache_capabilities.is_some(), "cache_capabilities", "none")
}

fn versions(server: &Server) -> Outcome<[(i32, i32); 2]> {
    let reapi::ServerCapabilities { low_api_version, high_api_version, .. } = server.capabilities();
    match (low_api_version, high_api_version) {
        (Some(low), Some(high)) => Ok([(low.major, low.minor), (high.major, high.minor)]),
        _ => Err(failed("low_api_version and high_api_version", "not both")),
    }
}

async fn version_range(server: &Server) -> Outcome {
    let [low, high] = versions(server)?;
    that(low <= high && low.0 == 2 && high.0 == 2, "2.x to 2.y", format!("{low:?} to {high:?}"))
}

async fn old_clients(server: &Server) -> Outcome {
    let [low, _] = versions(server)?;
    same("low_api_version", &(2, 0), &low)
}

async fn digest_functions(server: &Server) -> Outcome {
    let listed = server.cache().digest_functions;
    let different: BTreeSet<_> = listed.iter().copied().collect();
    let unknown = different.contains(&(digest_function::Value::Unknown as i32));
    let holds = !listed.is_empty() && different.len() == listed.len() && !unknown;
    that(holds, "functions, each once", format!("{listed:?}"))
}

async fn batch_limit(server: &Server) -> Outcome {
    let limit = server.cache().max_batch_total_size_bytes;
    that((1..=4 << 20).contains(&limit), "1 to 4194304", limit.to_string())
}

async fn symlinks(server: &Server) -> Outcome {
    use symlink_absolute_path_strategy::Value;
    let strategy = Value::try_from(server.cache().symlink_absolute_path_strategy);
    that(
        matches!(strategy, Ok(Value::Allowed | Value::Disallowed)),
        "ALLOWED or DISALLOWED",
        format!("{strategy:?}"),
    )
}

async fn any_instance(server: &Server) -> Outcome {
    let name = format!("nobody-has-set-this-up/{}", server.uuid());
    ok(&format!("GetCapabilities of instance {name}"), server.get_capabilities(&name).await)?;
    let request =
        reapi::FindMissingBlobsRequest { instance_name: name, blob_digests: vec![], digest_function: 0 };
    let call = async { server.cas().find_missing_blobs(request).await };
    ok("FindMissingBlobs of that instance", super::server::within(server.deadline(), call).await).map(|_| ())
}

async fn update_enabled(server: &Server) -> Outcome {
    let action = server.fresh(100);
    let request = reapi::UpdateActionResultRequest {
        instance_name: server.instance().to_owned(),
        action_digest: Some(action.digest.clone()),
        action_result: Some(reapi::ActionResult { exit_code: 1, ..Default::default() }),
        digest_function: super::server::number(action.function),
        ..Default::default()
    };
    let mut client = server.action_cache();
    let answer = super::server::within(server.deadline(), client.update_action_result(request)).await;
    if server.takes_results() {
        return ok("UpdateActionResult, with update_enabled", answer).map(|_| ());
    }
    let codes = [Code::PermissionDenied, Code::Unauthenticated, Code::Unimplemented];
    super::expect::refused("UpdateActionResult, without update_enabled", &codes, answer)
}

async fn blob_limit(server: &Server) -> Outcome {
    let limit = server.cache().max_cas_blob_size_bytes;
    that(limit >= 0, "0 or more", limit.to_string())
}

async fn chunking(server: &Server) -> Outcome {
    let cache = server.cache();
    if let Some(params) = cache.fast_cdc_2020_params {
        let average = params.avg_chunk_size_bytes;
        that(
            (1 << 10..=8 << 20).contains(&average),
            "avg_chunk_size_bytes of 1 KiB to 8 MiB",
            average.to_string(),
        )?;
    }
    let least = cache.rep_max_cdc_params.map_or(64, |params| params.min_chunk_size_bytes);
    that(least >= 64, "min_chunk_size_bytes of 64 at least", least.to_string())
}
