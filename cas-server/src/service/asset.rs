//! Remote Asset `Fetch` and `Push`: what a URI with qualifiers was found to be, by whoever found it. Nothing is fetched
//! from anywhere: an asset that nobody pushed is not found.
//!
//! An asset is a value under its kind, instance, URI and qualifiers. It says which digest it is, since when and for how
//! long. It is given only when everything that it refers to is there, which is a use of all that.

use super::{
    completeness::Completeness,
    digest::{Named, to_wire},
};
use crate::engine::{Engine, ValueName};
use cas::{Error, status::to_status};
use prost::Message as _;
use proto::{
    Digest, Timestamp,
    asset::{
        FetchBlobRequest, FetchBlobResponse, FetchDirectoryRequest, FetchDirectoryResponse, PushBlobRequest,
        PushBlobResponse, PushDirectoryRequest, PushDirectoryResponse, Qualifier, fetch_server::Fetch,
        push_server::Push,
    },
    google, reapi, rpc,
};
use runtime::Clock;
use std::{collections::BTreeMap, sync::Arc};
use tonic::{Code, Request, Response, Status};

/// Most URIs and most qualifiers of one request.
const MAX_NAMES: usize = 256;

/// Most digests that one asset refers to.
const MAX_REFERENCES: usize = 10_000;

/// The services.
#[derive(Clone, Debug)]
pub(super) struct AssetService {
    engine: Arc<Engine>,
    completeness: Completeness,
    clock: Arc<dyn Clock>,
}

/// An asset at rest. Fields are only added, as in any message.
#[derive(Clone, PartialEq, prost::Message)]
struct Asset {
    /// Of all digests here.
    #[prost(int32, tag = "1")]
    digest_function: i32,
    #[prost(message, optional, tag = "2")]
    digest: Option<reapi::Digest>,
    /// Microseconds since the epoch, as the others.
    #[prost(uint64, tag = "3")]
    pushed: u64,
    #[prost(uint64, optional, tag = "4")]
    expires: Option<u64>,
    #[prost(message, repeated, tag = "5")]
    blobs: Vec<reapi::Digest>,
    #[prost(message, repeated, tag = "6")]
    directories: Vec<reapi::Digest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Blob,
    Directory,
}

/// What a fetch asks for.
struct Wanted {
    kind: Kind,
    instance: String,
    uris: Vec<String>,
    qualifiers: Vec<Qualifier>,
    oldest: Option<google::protobuf::Timestamp>,
    function: i32,
}

/// What a fetch finds.
struct Found {
    uri: String,
    digest: Digest,
    expires: Option<Timestamp>,
}

/// What is pushed.
struct Pushed {
    kind: Kind,
    instance: String,
    uris: Vec<String>,
    qualifiers: Vec<Qualifier>,
    expires: Option<google::protobuf::Timestamp>,
    function: i32,
    digest: Option<reapi::Digest>,
    blobs: Vec<reapi::Digest>,
    directories: Vec<reapi::Digest>,
}

impl AssetService {
    pub(super) fn new(engine: Arc<Engine>, clock: Arc<dyn Clock>) -> Self {
        Self { completeness: Completeness::new(Arc::clone(&engine) as _), engine, clock }
    }

    /// The first of the URIs that leads to something.
    async fn fetch(&self, wanted: &Wanted) -> Result<Option<Found>, Status> {
        let suffix = names(&wanted.uris, &wanted.qualifiers)?;
        let oldest = wanted.oldest.as_ref().map(from_wire).unwrap_or_default();
        for uri in &wanted.uris {
            let name = name(wanted.kind, &wanted.instance, uri, &suffix);
            let value = self.engine.get_value(&name).await.map_err(|error| to_status(&error))?;
            let Some(asset) = value.and_then(|bytes| Asset::decode(bytes).ok()) else { continue };
            let expires = asset.expires.map(Timestamp::from_micros);
            if expires.is_some_and(|expires| expires <= self.clock.now()) {
                self.engine.delete_value(&name).await.map_err(|error| to_status(&error))?;
                continue;
            }
            let of_function = [0, asset.digest_function].contains(&wanted.function);
            if !of_function || Timestamp::from_micros(asset.pushed) < oldest {
                continue;
            }
            let digest = self.resolve(wanted.kind, &asset).await.map_err(|error| to_status(&error))?;
            if let Some(digest) = digest {
                return Ok(Some(Found { uri: uri.clone(), digest, expires }));
            }
        }
        Ok(None)
    }

    /// The digest of an asset, if all that it refers to is there.
    async fn resolve(&self, kind: Kind, asset: &Asset) -> cas::Result<Option<Digest>> {
        let parsed = || {
            let named = Named::parse(asset.digest_function)?;
            let list =
                |wire: &[reapi::Digest]| wire.iter().map(|wire| named.digest(wire)).collect::<Result<_, _>>();
            let (blobs, directories) = (list(&asset.blobs)?, list(&asset.directories)?);
            Ok::<(Digest, Vec<_>, Vec<_>), proto::DigestError>((
                named.required(asset.digest.as_ref())?,
                blobs,
                directories,
            ))
        };
        let Ok((digest, mut blobs, mut directories)) = parsed() else { return Ok(None) };
        match kind {
            Kind::Blob => blobs.push(digest),
            Kind::Directory => directories.push(digest),
        }
        let there =
            self.completeness.all_there(&blobs).await? && self.completeness.roots(&directories).await?;
        Ok(there.then_some(digest))
    }

    async fn push(&self, pushed: Pushed) -> Result<(), Status> {
        let suffix = names(&pushed.uris, &pushed.qualifiers)?;
        if pushed.blobs.len() + pushed.directories.len() > MAX_REFERENCES {
            return Err(Status::invalid_argument(format!("{MAX_REFERENCES} references are the most")));
        }
        let invalid = |error: proto::DigestError| Status::invalid_argument(error.to_string());
        let named = Named::parse(pushed.function).map_err(invalid)?;
        let digest = named.required(pushed.digest.as_ref()).map_err(invalid)?;
        self.engine.check([&digest]).map_err(|error: Error| to_status(&error))?;
        // All of one function, also where it is told by the length.
        let named = Named::of(digest.function());
        for wire in pushed.blobs.iter().chain(&pushed.directories) {
            named.digest(wire).map_err(invalid)?;
        }
        let asset = Asset {
            digest_function: i32::from(digest.function().number()),
            digest: Some(to_wire(&digest)),
            pushed: self.clock.now().as_micros(),
            expires: pushed.expires.as_ref().map(|time| from_wire(time).as_micros()),
            blobs: pushed.blobs,
            directories: pushed.directories,
        };
        let bytes = asset.encode_to_vec();
        for uri in &pushed.uris {
            let name = name(pushed.kind, &pushed.instance, uri, &suffix);
            let kept = self.engine.put_value(name, bytes.clone().into()).await;
            kept.map_err(|error| to_status(&error))?;
        }
        Ok(())
    }
}

/// The qualifiers as a part of names, in one order. Fails on what no asset is named by.
fn names(uris: &[String], qualifiers: &[Qualifier]) -> Result<String, Status> {
    if uris.is_empty() || uris.len() > MAX_NAMES || qualifiers.len() > MAX_NAMES {
        let reason = format!("an asset has from one to {MAX_NAMES} URIs, and up to {MAX_NAMES} qualifiers");
        return Err(Status::invalid_argument(reason));
    }
    let sorted: BTreeMap<&str, &str> =
        qualifiers.iter().map(|qualifier| (qualifier.name.as_str(), qualifier.value.as_str())).collect();
    if sorted.len() != qualifiers.len() {
        return Err(Status::invalid_argument("a qualifier comes twice"));
    }
    Ok(sorted.iter().flat_map(|(name, value)| [part(name), part(value)]).collect())
}

/// Part of the format at rest.
fn name(kind: Kind, instance: &str, uri: &str, qualifiers: &str) -> ValueName {
    let kind = match kind {
        Kind::Blob => "blob",
        Kind::Directory => "directory",
    };
    ValueName::Asset { key: format!("{kind}/{}{}{qualifiers}", part(instance), part(uri)) }
}

/// Text with its length, so that no two lists of texts look the same.
fn part(text: &str) -> String {
    format!("{}:{text}", text.len())
}

fn from_wire(time: &google::protobuf::Timestamp) -> Timestamp {
    let micros = u64::try_from(time.seconds).unwrap_or_default().saturating_mul(1_000_000);
    Timestamp::from_micros(micros.saturating_add(u64::try_from(time.nanos / 1000).unwrap_or_default()))
}

fn to_wire_time(time: Timestamp) -> google::protobuf::Timestamp {
    let prost_types::Timestamp { seconds, nanos } = time.into();
    google::protobuf::Timestamp { seconds, nanos }
}

fn status(found: Option<&Found>) -> rpc::Status {
    let message = "nobody has pushed this asset, or what it refers to is gone";
    found.map_or_else(
        || rpc::Status { code: Code::NotFound as i32, message: message.into(), details: Vec::new() },
        |_| rpc::Status::default(),
    )
}

#[tonic::async_trait]
impl Fetch for AssetService {
    async fn fetch_blob(
        &self,
        request: Request<FetchBlobRequest>,
    ) -> Result<Response<FetchBlobResponse>, Status> {
        let request = request.into_inner();
        let wanted = Wanted {
            kind: Kind::Blob,
            instance: request.instance_name,
            uris: request.uris,
            qualifiers: request.qualifiers,
            oldest: request.oldest_content_accepted,
            function: request.digest_function,
        };
        let found = self.fetch(&wanted).await?;
        Ok(Response::new(FetchBlobResponse {
            status: Some(status(found.as_ref())),
            digest_function: found.as_ref().map_or(0, |found| i32::from(found.digest.function().number())),
            blob_digest: found.as_ref().map(|found| to_wire(&found.digest)),
            expires_at: found.as_ref().and_then(|found| found.expires).map(to_wire_time),
            uri: found.map(|found| found.uri).unwrap_or_default(),
            qualifiers: wanted.qualifiers,
        }))
    }

    async fn fetch_directory(
        &self,
        request: Request<FetchDirectoryRequest>,
    ) -> Result<Response<FetchDirectoryResponse>, Status> {
        let request = request.into_inner();
        let wanted = Wanted {
            kind: Kind::Directory,
            instance: request.instance_name,
            uris: request.uris,
            qualifiers: request.qualifiers,
            oldest: request.oldest_content_accepted,
            function: request.digest_function,
        };
        let found = self.fetch(&wanted).await?;
        Ok(Response::new(FetchDirectoryResponse {
            status: Some(status(found.as_ref())),
            digest_function: found.as_ref().map_or(0, |found| i32::from(found.digest.function().number())),
            root_directory_digest: found.as_ref().map(|found| to_wire(&found.digest)),
            expires_at: found.as_ref().and_then(|found| found.expires).map(to_wire_time),
            uri: found.map(|found| found.uri).unwrap_or_default(),
            qualifiers: wanted.qualifiers,
        }))
    }
}

#[tonic::async_trait]
impl Push for AssetService {
    async fn push_blob(
        &self,
        request: Request<PushBlobRequest>,
    ) -> Result<Response<PushBlobResponse>, Status> {
        let request = request.into_inner();
        let pushed = Pushed {
            kind: Kind::Blob,
            instance: request.instance_name,
            uris: request.uris,
            qualifiers: request.qualifiers,
            expires: request.expire_at,
            function: request.digest_function,
            digest: request.blob_digest,
            blobs: request.references_blobs,
            directories: request.references_directories,
        };
        self.push(pushed).await?;
        Ok(Response::new(PushBlobResponse {}))
    }

    async fn push_directory(
        &self,
        request: Request<PushDirectoryRequest>,
    ) -> Result<Response<PushDirectoryResponse>, Status> {
        let request = request.into_inner();
        let pushed = Pushed {
            kind: Kind::Directory,
            instance: request.instance_name,
            uris: request.uris,
            qualifiers: request.qualifiers,
            expires: request.expire_at,
            function: request.digest_function,
            digest: request.root_directory_digest,
            blobs: request.references_blobs,
            directories: request.references_directories,
        };
        self.push(pushed).await?;
        Ok(Response::new(PushDirectoryResponse {}))
    }
}
