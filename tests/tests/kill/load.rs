//! Clients of all kinds, each until the server is gone.

use crate::{
    content::content,
    ledger::{Broken, History, Ledger},
};
use bytes::Bytes;
use cas::{
    BlobStore as _, Error,
    isolated::{Entry, Isolated},
    remote::RemoteStore,
    status::from_status,
};
use futures::stream;
use prost::Message as _;
use proto::{
    Digest, DigestFunction,
    bytestream::{QueryWriteStatusRequest, WriteRequest, byte_stream_client::ByteStreamClient},
    reapi::{self, action_cache_client::ActionCacheClient},
    v1::{self, pins_client::PinsClient},
};
use runtime::{Entropy as _, SeededEntropy};
use std::{net::SocketAddr, sync::Arc};
use tonic::{Code, transport::Channel};

/// Bytes in a message of a stream.
const CHUNK: usize = 100_000;

const MIB: u64 = 1 << 20;

/// What a worker works with.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) channel: Channel,
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Arc<Ledger>,
    /// Of this worker in this life.
    pub(crate) entropy: SeededEntropy,
    /// Workers of one kind have names of their own to write to.
    pub(crate) number: u64,
}

impl Worker {
    /// Uniform below `most`.
    fn below(&self, most: u64) -> u64 {
        self.entropy.next() % most
    }

    fn bytes(&self, least: u64, most: u64) -> Bytes {
        let len = least + self.below(most - least);
        content(self.entropy.next(), usize::try_from(len).unwrap())
    }

    fn store(&self) -> RemoteStore {
        RemoteStore::new(self.channel.clone(), "")
    }

    /// Small blobs in batches, now and then the ones that are there already.
    pub(crate) async fn batches(self) {
        loop {
            let count = 1 + self.below(20);
            let function = DigestFunction::ALL[usize::try_from(self.below(3)).unwrap()];
            let blob = |_| {
                let bytes = self.bytes(1, 20_000);
                (function.digest(&bytes), bytes)
            };
            let blobs: Vec<_> = (0..count).map(blob).collect();
            for _ in 0..=self.below(2) {
                if self.batch(blobs.clone()).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Whether all of them were acknowledged. `None`: the server is gone.
    async fn batch(&self, blobs: Vec<(Digest, Bytes)>) -> Option<bool> {
        let digests: Vec<_> = blobs.iter().map(|(digest, _)| *digest).collect();
        let at = self.ledger.attempt(digests.iter().copied());
        let outcomes = match self.store().write_batch(blobs).await {
            Ok(outcomes) => outcomes,
            Err(error) => return self.ledger.survives(&error).await.then_some(false),
        };
        let mut all = true;
        for (digest, outcome) in digests.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => self.ledger.acknowledge(digest, at),
                Err(error) if self.ledger.survives(&error).await => all = false,
                Err(_) => return None,
            }
        }
        Some(all)
    }

    /// Blobs of some MiB as streams, those first that broke off in the last life.
    pub(crate) async fn streams(self) {
        loop {
            let broken = self.ledger.entries().broken.pop();
            let (broken, bytes) = match broken {
                Some(broken) => {
                    let len = usize::try_from(broken.digest.size()).unwrap();
                    let bytes = content(broken.seed, len);
                    (broken, bytes)
                }
                None => self.new_stream(),
            };
            if !self.stream(broken, bytes).await {
                return;
            }
        }
    }

    fn new_stream(&self) -> (Broken, Bytes) {
        let seed = self.entropy.next();
        let bytes = content(seed, usize::try_from(MIB + self.below(2 * MIB)).unwrap());
        let digest = DigestFunction::Sha256.digest(&bytes);
        let name = format!("uploads/{}/blobs/{}/{}", uuid(seed), digest.hex(), digest.size());
        (Broken { name, seed, digest }, bytes)
    }

    async fn stream(&self, broken: Broken, bytes: Bytes) -> bool {
        let at = self.ledger.attempt([broken.digest]);
        let mut streams = ByteStreamClient::new(self.channel.clone());
        let query = QueryWriteStatusRequest { resource_name: broken.name.clone() };
        let written = async {
            let committed = streams.query_write_status(query).await?.into_inner();
            let from = usize::try_from(committed.committed_size).expect("no size is negative");
            assert!(from <= bytes.len(), "it was never sent more");
            if !committed.complete {
                let messages = messages(&broken.name, bytes, from);
                streams.write(stream::iter(messages)).await?;
            }
            Ok(())
        };
        match written.await.map_err(|status| from_status(&status, None)) {
            Ok(()) => {
                self.ledger.acknowledge(broken.digest, at);
                true
            }
            Err(error) => {
                self.ledger.entries().broken.push(broken);
                self.ledger.survives(&error).await
            }
        }
    }

    /// The same compressed.
    pub(crate) async fn compressed(self) {
        loop {
            let bytes = self.bytes(1, 2 * MIB);
            let digest = DigestFunction::Sha256.digest(&bytes);
            let packed = Bytes::from(zstd::bulk::compress(&bytes, 1).unwrap());
            let uuid = uuid(self.entropy.next());
            let name = format!("uploads/{uuid}/compressed-blobs/zstd/{}/{}", digest.hex(), digest.size());
            let at = self.ledger.attempt([digest]);
            let messages = messages(&name, packed, 0);
            match ByteStreamClient::new(self.channel.clone()).write(stream::iter(messages)).await {
                Ok(_) => self.ledger.acknowledge(digest, at),
                Err(status) if self.ledger.survives(&from_status(&status, None)).await => {}
                Err(_) => return,
            }
        }
    }

    /// Values under keys: written, overwritten and deleted.
    pub(crate) async fn keys(self) {
        loop {
            let key = format!("/kv/{}/{}", self.number, self.below(8));
            let most = if self.below(20) == 0 { 2 * MIB } else { 30_000 };
            let bytes = (self.below(4) > 0).then(|| self.bytes(1, most));
            let digest = bytes.as_ref().map(|bytes| DigestFunction::Blake3.digest(bytes));
            let at = self.ledger.now();
            self.ledger.entries().keys.entry(key.clone()).or_default().open.push(digest);
            let method = if bytes.is_some() { "PUT" } else { "DELETE" };
            let answer =
                tests::try_http(self.address, method, &key, bytes.as_deref().unwrap_or_default()).await;
            match answer {
                // What is not there needs no deleting.
                Some((200..300 | 404, _)) => {
                    let mut entries = self.ledger.entries();
                    acknowledge(entries.keys.get_mut(&key).unwrap(), digest, at);
                    drop(entries);
                    self.ledger.news.notify_one();
                }
                Some((507, _)) => {}
                _ if self.ledger.is_killed() => return,
                other => panic!("{method} {key} by a server that lives: {other:?}"),
            }
        }
    }

    /// Results of actions, each with an output that is uploaded before.
    pub(crate) async fn results(self) {
        loop {
            let output = self.bytes(1, 10_000);
            let file = DigestFunction::Sha256.digest(&output);
            let at = self.ledger.now();
            match self.batch(vec![(file, output)]).await {
                Some(true) => {}
                Some(false) => continue,
                None => return,
            }
            let action = DigestFunction::Sha256.digest(&[u8::try_from(self.below(12)).unwrap()]);
            let result = reapi::ActionResult {
                output_files: vec![reapi::OutputFile {
                    path: "out".into(),
                    digest: Some(wire(&file)),
                    ..Default::default()
                }],
                exit_code: i32::try_from(self.below(100)).unwrap(),
                ..Default::default()
            };
            let digest = DigestFunction::Sha256.digest(&result.encode_to_vec());
            self.ledger.entries().results.entry(action).or_default().open.push(Some(digest));
            let request = reapi::UpdateActionResultRequest {
                action_digest: Some(wire(&action)),
                action_result: Some(result),
                ..Default::default()
            };
            match ActionCacheClient::new(self.channel.clone()).update_action_result(request).await {
                Ok(_) => {
                    acknowledge(self.ledger.entries().results.get_mut(&action).unwrap(), Some(digest), at);
                }
                Err(status) if self.ledger.survives(&from_status(&status, None)).await => {}
                Err(_) => return,
            }
        }
    }

    /// Pins of small trees: created, swapped, released.
    pub(crate) async fn pins(self) {
        let mut pins = PinsClient::new(self.channel.clone());
        loop {
            let name = format!("pin-{}-{}", self.number, self.below(4));
            let held = self.ledger.entries().pins.get(&name).cloned().unwrap_or_default();
            assert!(held.open.is_empty(), "one call at a time, and each is looked at after a death");
            let at = self.ledger.now();
            let open = |root| self.ledger.entries().pins.entry(name.clone()).or_default().open.push(root);
            let lifetime = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
            let kind = v1::PinKind::Isolated.into();
            let (root, outcome) = if held.last.is_some() && self.below(4) == 0 {
                open(None);
                let request = v1::ReleasePinRequest { name: name.clone() };
                (None, pins.release_pin(request).await.map(|_| ()))
            } else {
                let Some(root) = self.tree().await else { return };
                open(Some(root));
                let (name, wire) = (name.clone(), Some(root.into()));
                let outcome = if held.last.is_some() {
                    let request = v1::SwapPinRequest { name, root: wire, kind, lifetime };
                    pins.swap_pin(request).await
                } else {
                    let request = v1::CreatePinRequest { name, root: wire, kind, lifetime };
                    pins.create_pin(request).await
                };
                (Some(root), outcome.map(|_| ()))
            };
            let settle = |found| {
                acknowledge(self.ledger.entries().pins.get_mut(&name).unwrap(), found, at);
                self.ledger.news.notify_one();
            };
            match outcome {
                Ok(()) => settle(root),
                Err(_) if self.ledger.is_killed() => return,
                // Its blobs may be older than a lease by now, if the machine is slow.
                Err(status)
                    if matches!(status.code(), Code::ResourceExhausted | Code::FailedPrecondition) =>
                {
                    settle(held.last);
                }
                Err(status) => panic!("of {name}, from a server that lives: {status}"),
            }
        }
    }

    /// Uploads a manifest with three files. `None`: the server is gone.
    async fn tree(&self) -> Option<Digest> {
        loop {
            let blob = |_| {
                let bytes = self.bytes(1, 60_000);
                (DigestFunction::Blake3.digest(&bytes), bytes)
            };
            let mut blobs: Vec<_> = (0..3).map(blob).collect();
            let file = |(at, (digest, _)): (usize, &(Digest, Bytes))| {
                (format!("file-{at}").parse().unwrap(), Entry::File { digest: *digest, mode: None })
            };
            let files = blobs.iter().enumerate().map(file).collect();
            let manifest = Isolated { files, ..Isolated::new(DigestFunction::Blake3) }.to_bytes();
            let root = DigestFunction::Blake3.digest(&manifest);
            blobs.push((root, manifest.into()));
            if self.batch(blobs).await? {
                return Some(root);
            }
        }
    }

    /// Asks for what was acknowledged. What is said to be there is there.
    pub(crate) async fn reads(self) {
        while !self.ledger.is_killed() {
            let known = self.ledger.entries().acknowledged.clone();
            let picked: Vec<_> = (0..known.len().min(20))
                .map(|_| known[usize::try_from(self.below(known.len() as u64)).unwrap()])
                .collect();
            let digests: Vec<_> = picked.iter().map(|(digest, _)| *digest).collect();
            let asked = self.ledger.now();
            let found = async {
                let missing = self.store().find_missing(&digests).await?;
                Ok((missing, self.store().read_batch(&digests).await?))
            };
            let (missing, read) = match found.await {
                Ok(found) => found,
                Err(error) if self.ledger.survives(&error).await => continue,
                Err(_) => return,
            };
            for ((digest, since), outcome) in picked.into_iter().zip(read) {
                let promised = self.ledger.is_leased(since)
                    || (!missing.contains(&digest) && self.ledger.is_leased(asked));
                match outcome {
                    Ok(bytes) => assert_eq!(digest.function().digest(&bytes), digest),
                    Err(Error::NotFound { .. }) if !promised => {}
                    Err(_) if self.ledger.is_killed() => return,
                    Err(error) => panic!("of {digest}, which was promised: {error}"),
                }
            }
            self.ledger.pause().await;
        }
    }
}

fn acknowledge(history: &mut History, state: Option<Digest>, at: std::time::Duration) {
    history.settle(state);
    history.since = at;
}

fn uuid(seed: u64) -> String {
    format!("00000000-0000-4000-8000-{:012x}", seed >> 16)
}

pub(crate) fn wire(digest: &Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size().cast_signed() }
}

/// The messages of a write from `from` on.
fn messages(name: &str, bytes: Bytes, from: usize) -> Vec<WriteRequest> {
    let starts = (from..bytes.len().max(from + 1)).step_by(CHUNK);
    let message = |at: usize| {
        let to = bytes.len().min(at + CHUNK);
        WriteRequest {
            resource_name: name.to_owned(),
            write_offset: i64::try_from(at).unwrap(),
            finish_write: to == bytes.len(),
            data: bytes[at..to].to_vec().into(),
        }
    };
    starts.map(message).collect()
}
