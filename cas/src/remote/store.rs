//! [`RemoteStore`]: the calls.

use super::{Headers, batch, broken::Broken, reading, resource, writing};
use crate::{BlobStore, BlobStoreExt as _, ByteStream, Error, Range, Reopen, Result, batches, status};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream as streams};
use proto::{
    Digest, DigestFunction,
    bytestream::{
        QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, byte_stream_client::ByteStreamClient,
    },
    limits,
    reapi::{
        BatchReadBlobsRequest, BatchUpdateBlobsRequest, FindMissingBlobsRequest,
        batch_update_blobs_request::Request as Update, compressor,
        content_addressable_storage_client::ContentAddressableStorageClient,
    },
    v1::{WritePatchRequest, patches_client::PatchesClient},
};
use runtime::{Entropy, SystemEntropy};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tonic::{Request, Response, Status, service::interceptor::InterceptedService, transport::Channel};
use uuid::Uuid;

/// How long a call with one answer may take.
const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// How long a stream may stand still.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// One of a stream that does.
pub(super) fn stalled(digest: Digest) -> Error {
    let seconds = STALL.as_secs();
    Error::Unavailable { reason: format!("the transfer of {digest} made no progress for {seconds} s") }
}

/// How many calls one method keeps in flight when it has to split.
const IN_FLIGHT: usize = 4;

/// What calls go through.
pub(super) type Wire = InterceptedService<Channel, Headers>;

/// A server, reached over a channel that connects by itself. Clones share the connection.
#[derive(Clone, Debug)]
pub struct RemoteStore {
    wire: Wire,
    blobs: ContentAddressableStorageClient<Wire>,
    streams: ByteStreamClient<Wire>,
    patches: PatchesClient<Wire>,
    instance: Arc<str>,
    entropy: Arc<dyn Entropy>,
    broken: Arc<Broken>,
}

impl RemoteStore {
    /// Speaks to `instance`, mostly the empty name, of the server behind `channel`.
    pub fn new(channel: Channel, instance: &str) -> Self {
        Self::with_headers(channel, instance, Headers::default(), SystemEntropy::shared())
    }

    /// Sends `headers` with each call, and takes the names of uploads from `entropy`.
    pub fn with_headers(
        channel: Channel,
        instance: &str,
        headers: Headers,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let most = limits::MAX_MESSAGE_BYTES;
        let wire = InterceptedService::new(channel, headers);
        let blobs = ContentAddressableStorageClient::new(wire.clone());
        let patches = PatchesClient::new(wire.clone());
        let streams = ByteStreamClient::new(wire.clone());
        Self {
            wire,
            blobs: blobs.max_decoding_message_size(most).max_encoding_message_size(most),
            streams: streams.max_encoding_message_size(most),
            patches,
            instance: instance.into(),
            entropy,
            broken: Arc::default(),
        }
    }

    /// A name of its own for an upload.
    fn upload(&self) -> Uuid {
        let [high, low] = [self.entropy.next(), self.entropy.next()];
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// Where an upload that broke off goes on. `None`: the blob is there.
    async fn committed(&self, name: String, digest: Digest) -> Result<Option<u64>> {
        let request = QueryWriteStatusRequest { resource_name: name };
        match answer(self.streams.clone().query_write_status(deadline(request))).await {
            Ok(QueryWriteStatusResponse { complete: true, .. }) => Ok(None),
            Ok(QueryWriteStatusResponse { committed_size, .. }) => {
                Ok(Some(u64::try_from(committed_size).unwrap_or(0).min(digest.size())))
            }
            Err(error) if error.is_transient() => Err(error),
            // Servers that do not know, or cannot tell.
            Err(_) => Ok(Some(0)),
        }
    }

    async fn find_in_parts(&self, digests: &[Digest], most: usize) -> Result<HashSet<Digest>> {
        let parts = batch::by_function(digests, most);
        let calls = streams::iter(parts).map(|(function, part)| self.find_part(function, part));
        let missing: Vec<Vec<Digest>> = calls.buffered(IN_FLIGHT).try_collect().await?;
        Ok(missing.into_iter().flatten().collect())
    }

    async fn find_part(&self, function: DigestFunction, digests: Vec<Digest>) -> Result<Vec<Digest>> {
        let request = FindMissingBlobsRequest {
            instance_name: self.instance.to_string(),
            blob_digests: digests.into_iter().map(batch::to_wire).collect(),
            digest_function: i32::from(function.number()),
        };
        let answer = answer(self.blobs.clone().find_missing_blobs(deadline(request))).await?;
        answer.missing_blob_digests.iter().map(|wire| batch::from_wire(function, Some(wire))).collect()
    }

    async fn read_part(
        &self,
        function: DigestFunction,
        digests: Vec<Digest>,
    ) -> Result<Vec<(Digest, Result<Bytes>)>> {
        let request = BatchReadBlobsRequest {
            instance_name: self.instance.to_string(),
            digests: digests.into_iter().map(batch::to_wire).collect(),
            digest_function: i32::from(function.number()),
            ..Default::default()
        };
        let answer = answer(self.blobs.clone().batch_read_blobs(deadline(request))).await?;
        let blob = |response: proto::reapi::batch_read_blobs_response::Response| {
            let digest = batch::from_wire(function, response.digest.as_ref())?;
            let verified = batch::outcome(response.status, digest).and_then(|()| {
                if response.compressor != compressor::Value::Identity as i32 {
                    return Err(Error::Internal {
                        reason: "compressed answer that was not asked for".into(),
                    });
                }
                Ok(response.data)
            });
            Ok((digest, verified))
        };
        answer.responses.into_iter().map(blob).collect()
    }

    async fn write_part(
        &self,
        function: DigestFunction,
        blobs: Vec<(Digest, Bytes)>,
    ) -> Result<Vec<(Digest, Result<()>)>> {
        let update = |(digest, data): (Digest, Bytes)| Update {
            digest: Some(batch::to_wire(digest)),
            data,
            ..Default::default()
        };
        let request = BatchUpdateBlobsRequest {
            instance_name: self.instance.to_string(),
            requests: blobs.into_iter().map(update).collect(),
            digest_function: i32::from(function.number()),
        };
        let answer = answer(self.blobs.clone().batch_update_blobs(deadline(request))).await?;
        let outcome = |response: proto::reapi::batch_update_blobs_response::Response| {
            let digest = batch::from_wire(function, response.digest.as_ref())?;
            Ok((digest, batch::outcome(response.status, digest)))
        };
        answer.responses.into_iter().map(outcome).collect()
    }
}

/// Tells the server how long its answer is waited for.
fn deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_DEADLINE);
    request
}

/// The whole answer, or an error when it takes too long: the channel's own deadline ends where the answer begins.
async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T> {
    answer_about(None, call).await
}

/// The same, where only one blob may be what is not found.
async fn answer_about<T>(
    digest: Option<Digest>,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T> {
    let seconds = CALL_DEADLINE.as_secs();
    let late = |_| Error::Unavailable { reason: format!("the server did not answer within {seconds} s") };
    let answered = tokio::time::timeout(CALL_DEADLINE, call).await.map_err(late)?;
    answered.map(Response::into_inner).map_err(|status| status::from_status(&status, digest))
}

/// What a server said about each blob, in whatever order it did. Equal digests are answered in the order given.
struct Answers<T>(HashMap<Digest, VecDeque<Result<T>>>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Answers<T> {
    fn extend(&mut self, answers: impl IntoIterator<Item = (Digest, Result<T>)>) {
        for (digest, answer) in answers {
            self.0.entry(digest).or_default().push_back(answer);
        }
    }

    fn take(&mut self, digest: Digest) -> Result<T> {
        let none = || Error::Internal { reason: format!("the server did not answer about {digest}") };
        self.0.get_mut(&digest).and_then(VecDeque::pop_front).ok_or_else(none)?
    }
}

impl Answers<Bytes> {
    /// Leaves the answer for whoever asks for the same blob again.
    fn share(&mut self, digest: Digest) -> Result<Bytes> {
        let answer = self.take(digest);
        match &answer {
            Ok(bytes) => self.extend([(digest, Ok(bytes.clone()))]),
            Err(Error::NotFound { digest }) => {
                self.extend([(*digest, Err(Error::NotFound { digest: *digest }))]);
            }
            Err(_) => {}
        }
        answer
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BlobStore for RemoteStore {
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        // Fewer and larger calls than every server takes, where there is more to ask than fits into one of those.
        let missing = match self.find_in_parts(digests, limits::MAX_FIND_MISSING_OURS).await {
            Err(Error::Exhausted { .. } | Error::Invalid { .. })
                if digests.len() > limits::MAX_FIND_MISSING =>
            {
                self.find_in_parts(digests, limits::MAX_FIND_MISSING).await?
            }
            missing => missing?,
        };
        Ok(digests.iter().filter(|digest| missing.contains(digest)).copied().collect())
    }

    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        let mut wanted: Vec<Digest> = digests.iter().filter(|digest| !digest.is_empty()).copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let split = batches::split(wanted, |digest| *digest);
        let calls = streams::iter(split.batches).map(|(function, part)| self.read_part(function, part));
        let found: Vec<_> = calls.buffered(IN_FLIGHT).try_collect().await?;
        let found: Vec<(Digest, Result<Bytes>)> = found.into_iter().flatten().collect();
        if found.iter().map(|(digest, _)| digest).eq(digests) {
            // As servers answer a single call about blobs in order, mostly.
            return Ok(found.into_iter().map(|(_, blob)| blob).collect());
        }
        let mut answers = Answers::default();
        answers.extend(found);
        for digest in split.large {
            answers.extend([(digest, self.get(digest).await)]);
        }
        let blob = |digest: &Digest| match digest.is_empty() {
            true => Ok(Bytes::new()),
            false => answers.share(*digest),
        };
        Ok(digests.iter().map(blob).collect())
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        let order: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
        let split = batches::split(blobs, |(digest, _)| *digest);
        let calls = streams::iter(split.batches).map(|(function, part)| self.write_part(function, part));
        let written: Vec<_> = calls.buffered(IN_FLIGHT).try_collect().await?;
        let written: Vec<(Digest, Result<()>)> = written.into_iter().flatten().collect();
        if written.iter().map(|(digest, _)| digest).eq(&order) {
            // As servers answer a single call, mostly.
            return Ok(written.into_iter().map(|(_, outcome)| outcome).collect());
        }
        let mut answers = Answers::default();
        answers.extend(written);
        for (digest, bytes) in split.large {
            answers.extend([(digest, self.write(digest, streams::once(async { Ok(bytes) }).boxed()).await)]);
        }
        Ok(order.into_iter().map(|digest| answers.take(digest)).collect())
    }

    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        let bounds = range.bounds(digest.size())?;
        if bounds.is_empty() {
            // Zero would mean no limit on the wire.
            return Ok(streams::empty().boxed());
        }
        let request = ReadRequest {
            resource_name: resource::read(&self.instance, digest),
            read_offset: bounds.start.cast_signed(),
            read_limit: range.limit.map_or(0, |_| (bounds.end - bounds.start).cast_signed()),
        };
        reading::read(self.wire.clone(), &request, digest, bounds.end - bounds.start).await
    }

    async fn write(&self, digest: Digest, source: ByteStream) -> Result<()> {
        let name = resource::write(&self.instance, self.upload(), digest);
        writing::write(self.streams.clone(), name, digest, 0, source).await
    }

    async fn write_from(&self, digest: Digest, source: &Reopen<'_>) -> Result<()> {
        let known = self.broken.take(digest);
        let upload = known.unwrap_or_else(|| self.upload());
        let name = resource::write(&self.instance, upload, digest);
        let mut begins = 0;
        let write = async {
            if known.is_some() {
                match self.committed(name.clone(), digest).await? {
                    Some(committed) => begins = committed,
                    None => return Ok(()),
                }
            }
            writing::write(self.streams.clone(), name, digest, begins, source(begins).await?).await
        };
        match write.await {
            Err(error) if error.is_transient() => {
                self.broken.keep(digest, upload);
                Err(error)
            }
            // The server may be wrong about what it has: the next one starts over, and shows whether we are.
            Err(Error::Invalid { reason }) if begins > 0 => Err(Error::Unavailable { reason }),
            outcome => outcome,
        }
    }

    async fn write_patch(&self, base: Digest, digest: Digest, patch: Bytes) -> Result<()> {
        let request = WritePatchRequest {
            instance_name: self.instance.to_string(),
            base: Some(base.into()),
            target: Some(digest.into()),
            patch,
        };
        answer_about(Some(base), self.patches.clone().write_patch(deadline(request))).await.map(drop)
    }

    /// See [`connect`](crate::connect()), which puts [`Verified`](crate::layers::Verified) above.
    fn verifies_reads(&self) -> bool {
        false
    }
}
