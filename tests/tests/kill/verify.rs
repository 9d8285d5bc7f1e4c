//! What a server that was started after a death must have.

use crate::{
    ledger::{History, Ledger},
    load::wire,
};
use cas::{BlobStore as _, BlobStoreExt as _, Error, isolated::Isolated, remote::RemoteStore};
use prost::Message as _;
use proto::{
    Digest, DigestFunction,
    reapi::{self, action_cache_client::ActionCacheClient},
    v1::{self, pins_client::PinsClient},
};
use std::{collections::BTreeMap, net::SocketAddr};
use tonic::{Code, transport::Channel};

/// Blobs that are read again as a whole, of those that older rounds wrote.
const SAMPLE: usize = 50;

/// Larger ones are read as streams.
const BATCHED: u64 = 100_000;

/// Checks all that was told against the server, and takes note of what was open. Gives how many blobs it had to have.
pub(crate) async fn verify(ledger: &Ledger, channel: Channel, address: SocketAddr, new: usize) -> usize {
    let store = RemoteStore::new(channel.clone(), "");
    let held = blobs(ledger, &store, new).await;
    attempts(ledger, &store).await;
    keys(ledger, address).await;
    results(ledger, &store, channel.clone()).await;
    pins(ledger, &store, channel).await;
    held
}

/// Acknowledged blobs are there as long as they are leased, and whole. The last `new` ones are all read.
async fn blobs(ledger: &Ledger, store: &RemoteStore, new: usize) -> usize {
    let leased: Vec<_> = {
        let mut entries = ledger.entries();
        entries.acknowledged.retain(|(_, since)| ledger.is_leased(*since));
        entries.acknowledged.clone()
    };
    let digests: Vec<_> = leased.iter().map(|(digest, _)| *digest).collect();
    let missing = store.find_missing(&digests).await.unwrap();
    for (digest, since) in &leased {
        assert!(
            !missing.contains(digest) || !ledger.is_leased(*since),
            "{digest} was acknowledged and is gone"
        );
    }
    let (old, new) = leased.split_at(leased.len().saturating_sub(new));
    let sample = old.iter().step_by(old.len().div_ceil(SAMPLE).max(1)).chain(new);
    for (digest, since) in sample {
        let found = read(store, *digest).await;
        assert!(found || !ledger.is_leased(*since), "{digest} was acknowledged and is gone");
    }
    leased.len()
}

/// What was not acknowledged is whole or absent.
async fn attempts(ledger: &Ledger, store: &RemoteStore) {
    let attempted = std::mem::take(&mut ledger.entries().attempted);
    let missing = store.find_missing(&attempted).await.unwrap();
    for digest in attempted {
        let since = ledger.now();
        let found = read(store, digest).await;
        assert!(
            found || missing.contains(&digest) || !ledger.is_leased(since),
            "{digest} is said to be there"
        );
    }
}

/// Whether it is there. If it is, it is whole.
async fn read(store: &RemoteStore, digest: Digest) -> bool {
    let bytes = if digest.size() < BATCHED {
        store.read_batch(&[digest]).await.unwrap().remove(0)
    } else {
        store.get(digest).await
    };
    match bytes {
        Ok(bytes) => {
            assert_eq!(digest.function().digest(&bytes), digest);
            true
        }
        Err(Error::NotFound { .. }) => false,
        Err(error) => panic!("of {digest}: {error}"),
    }
}

/// A value is the one that was acknowledged last, or a later one; it may be gone after its lease.
fn check(ledger: &Ledger, name: &str, history: &mut History, found: Option<Digest>) {
    let evicted = found.is_none() && !ledger.is_leased(history.since);
    assert!(history.allows(found) || evicted, "{name} is {found:?} after {history:?}");
    history.settle(found);
}

async fn keys(ledger: &Ledger, address: SocketAddr) {
    let mut keys = std::mem::take(&mut ledger.entries().keys);
    for (key, history) in &mut keys {
        let found = match tests::http(address, "GET", key, b"").await {
            (200, bytes) => Some(DigestFunction::Blake3.digest(&bytes)),
            (404, _) => None,
            (status, text) => panic!("of {key}: {status} {}", String::from_utf8_lossy(&text)),
        };
        check(ledger, key, history, found);
    }
    ledger.entries().keys = keys;
}

async fn results(ledger: &Ledger, store: &RemoteStore, channel: Channel) {
    let mut client = ActionCacheClient::new(channel);
    let mut results = std::mem::take(&mut ledger.entries().results);
    for (action, history) in &mut results {
        let request =
            reapi::GetActionResultRequest { action_digest: Some(wire(action)), ..Default::default() };
        let found = match client.get_action_result(request).await {
            Ok(result) => Some(result.into_inner()),
            Err(status) => {
                assert_eq!(status.code(), Code::NotFound, "{status}");
                None
            }
        };
        // A result is a promise of its outputs.
        for file in found.iter().flat_map(|result| &result.output_files) {
            let named = file.digest.as_ref().unwrap();
            let size = named.size_bytes.cast_unsigned();
            let digest = Digest::from_hex(DigestFunction::Sha256, &named.hash, size).unwrap();
            assert!(read(store, digest).await, "an output of {action} is gone");
        }
        let found = found.map(|result| DigestFunction::Sha256.digest(&result.encode_to_vec()));
        check(ledger, &action.to_string(), history, found);
    }
    ledger.entries().results = results;
}

/// Pins are held as they were acknowledged last, or later; whatever they hold is whole.
async fn pins(ledger: &Ledger, store: &RemoteStore, channel: Channel) {
    let listed = PinsClient::new(channel).list_pins(v1::ListPinsRequest {}).await.unwrap().into_inner().pins;
    let mut roots = BTreeMap::new();
    for pin in listed {
        let root = Digest::try_from(pin.root.as_ref().unwrap()).unwrap();
        let manifest = store.get(root).await.unwrap_or_else(|error| panic!("of {}: {error}", pin.name));
        let files = Isolated::parse(&manifest).unwrap().files;
        assert_eq!(files.len(), 3);
        for digest in files.values().filter_map(cas::isolated::Entry::digest) {
            assert!(read(store, digest).await, "{digest} is pinned by {} and gone", pin.name);
        }
        roots.insert(pin.name, root);
    }
    let mut entries = ledger.entries();
    for (name, history) in &mut entries.pins {
        let found = roots.remove(name);
        assert!(history.allows(found), "{name} is {found:?} after {history:?}");
        history.settle(found);
    }
    assert!(roots.is_empty(), "nobody asked for {roots:?}");
}
