//! The protocols, one file each. Wire types stop here: what goes on to the engine is parsed and valid.

mod action_cache;
mod actions;
mod asset;
mod bytestream;
mod capabilities;
mod cas;
mod chunks;
mod closure;
mod completeness;
mod digest;
mod explain;
pub(crate) mod fuzzing;
mod health;
mod held;
mod http;
mod http_body;
mod http_dispatch;
mod http_encoding;
mod http_paths;
mod http_values;
mod patches;
mod pins;
mod reads;
mod resource;
mod tree;
mod wire;
mod zstd;

pub(crate) use health::Health;
pub use wire::explanation;

use crate::{Config, engine::Engine};
use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use held::{holding, keeping_room};
use http_dispatch::Dispatch;
use proto::{
    asset::{fetch_server::FetchServer, push_server::PushServer},
    bytestream::byte_stream_server::ByteStreamServer,
    framing,
    limits::MAX_MESSAGE_BYTES,
    reapi::{
        action_cache_server::ActionCacheServer, capabilities_server::CapabilitiesServer,
        content_addressable_storage_server::ContentAddressableStorageServer,
    },
    v1::{patches_server::PatchesServer, pins_server::PinsServer, store_server::StoreServer},
};
use runtime::Clock;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tonic::{Status, service::Routes};

/// What is measured by name.
pub(crate) const METHODS: &[&str] = &[
    "/build.bazel.remote.asset.v1.Fetch/FetchBlob",
    "/build.bazel.remote.asset.v1.Fetch/FetchDirectory",
    "/build.bazel.remote.asset.v1.Push/PushBlob",
    "/build.bazel.remote.asset.v1.Push/PushDirectory",
    "/build.bazel.remote.execution.v2.ActionCache/GetActionResult",
    "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult",
    "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/GetTree",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/SplitBlob",
    "/google.bytestream.ByteStream/QueryWriteStatus",
    framing::READ,
    "/google.bytestream.ByteStream/Write",
    "/grpc.health.v1.Health/Check",
    "/ac",
    "/isoswarm.v1.Patches/WritePatch",
    "/isoswarm.v1.Pins/CreatePin",
    "/isoswarm.v1.Pins/ListPins",
    "/isoswarm.v1.Pins/ReleasePin",
    "/isoswarm.v1.Pins/RenewPin",
    "/isoswarm.v1.Pins/SwapPin",
    "/isoswarm.v1.Store/ExplainBlob",
    "/cas",
    "/ccache",
    "/kv",
    "/sccache",
    "/status",
];

/// A call of [`WHOLE`] has ended after this long, whatever it waits for.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a call waits for memory before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// And one that goes through a blob of any size, as splitting and splicing do.
const LONG_DEADLINE: Duration = Duration::from_secs(1800);

/// Calls of these services have their whole messages in memory.
const WHOLE: [&str; 3] = [
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/",
    "/build.bazel.remote.execution.v2.ActionCache/",
    "/isoswarm.v1.Patches/",
];

/// Bytes that such a call is taken to have in memory: a full batch.
const CALL_BYTES: u64 = 4 << 20;

/// All that speaks for a store.
pub(crate) struct Service {
    pub(crate) router: Router,
    pub(crate) health: Health,
    /// Uploads, which go on for a moment when their connection is gone.
    pub(crate) uploads: TaskTracker,
}

/// Everything that the server speaks, with as many calls at a time that are in memory as a whole as there is room for.
pub(crate) async fn router(
    engine: Arc<Engine>,
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<Service, tonic_reflection::server::Error> {
    let max_memory = config.max_memory.as_u64();
    let zstd = zstd::Zstd::new(max_memory);
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let mut health = Health::new(reporter);
    let cas = ContentAddressableStorageServer::new(cas::CasService::new(Arc::clone(&engine)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let uploads = TaskTracker::new();
    let streams = bytestream::ByteStreamService::new(Arc::clone(&engine), zstd.clone(), uploads.clone());
    let reads = reads::routes(streams.clone());
    let bytestream = ByteStreamServer::new(streams).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (md5, max_blob) = (config.md5, engine.max_blob_bytes());
    let capabilities = CapabilitiesServer::new(capabilities::CapabilitiesService { md5, max_blob });
    let actions = actions::Actions::new(Arc::clone(&engine), config.check_completeness);
    let action_cache = ActionCacheServer::new(action_cache::ActionCacheService::new(actions.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let asset = asset::AssetService::new(Arc::clone(&engine), clock);
    health.add::<PinsServer<pins::PinsService>>().await;
    health.add::<PatchesServer<patches::PatchesService>>().await;
    health.add::<StoreServer<explain::StoreService>>().await;
    health.add::<FetchServer<asset::AssetService>>().await;
    health.add::<PushServer<asset::AssetService>>().await;
    health.add::<CapabilitiesServer<capabilities::CapabilitiesService>>().await;
    health.add::<ActionCacheServer<action_cache::ActionCacheService>>().await;
    health.add::<ContentAddressableStorageServer<cas::CasService>>().await;
    health.add::<ByteStreamServer<bytestream::ByteStreamService>>().await;
    let grpc = Routes::new(cas)
        .add_service(bytestream)
        .add_service(capabilities)
        .add_service(action_cache)
        .add_service(FetchServer::new(asset.clone()))
        .add_service(PushServer::new(asset))
        .add_service(PinsServer::new(pins::PinsService::new(Arc::clone(&engine))))
        .add_service(PatchesServer::new(patches::PatchesService::new(Arc::clone(&engine))))
        .add_service(StoreServer::new(explain::StoreService::new(Arc::clone(&engine))))
        .add_service(health_service)
        // Older tools ask the alpha version only.
        .add_service(described().build_v1()?)
        .add_service(described().build_v1alpha()?);
    let calls = usize::try_from(max_memory / CALL_BYTES).unwrap_or(usize::MAX).clamp(1, 1024);
    let bounded = from_fn_with_state(Arc::new(Semaphore::new(calls)), bounded);
    let blobs = http::routes(Arc::clone(&engine), zstd);
    let router = beside_blobs(engine, config, actions, blobs)
        .around(reads.merge(grpc.into_axum_router()))
        .layer(bounded);
    Ok(Service { router, health, uploads })
}

/// What HTTP has beside the routes of blobs.
fn beside_blobs(engine: Arc<Engine>, config: &Config, actions: actions::Actions, blobs: Router) -> Dispatch {
    let bodies = http_body::Bodies::new(config.max_memory.as_u64());
    let values = http_values::Values { engine, actions, bodies, validate: config.http_ac_validation };
    Dispatch { blobs, prefixes: config.http_keys.clone(), values }
}

/// What reflection tells of.
fn described() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(proto::REAPI_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Lets a call begin, and its message be read, when there is memory for it.
async fn bounded(State(calls): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !WHOLE.iter().any(|service| path.starts_with(service)) {
        return keeping_room(next.run(request).await);
    }
    let long = path.ends_with("/SplitBlob") || path.ends_with("/SpliceBlob");
    let deadline = if long { LONG_DEADLINE } else { DEADLINE };
    let call = async {
        let Ok(Ok(room)) = tokio::time::timeout(PATIENCE, calls.acquire_owned()).await else {
            return Status::unavailable(
                "too many calls are in memory at a time, or their clients are slow to read",
            )
            .into_http();
        };
        next.run(request).await.map(|body| holding(body, room))
    };
    let late =
        |_| Status::deadline_exceeded("the server is overloaded, or the request stands still").into_http();
    tokio::time::timeout(deadline, call).await.unwrap_or_else(late)
}
