//! Calls that failed for a moment are made again.

use crate::{BlobStore, ByteStream, Error, Range, Reopen, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use proto::Digest;
use runtime::{Clock, Entropy};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

/// How long to keep trying, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Most tries of one call.
    pub tries: u32,
    /// The first wait is up to this long, each further one up to twice as long as the one before.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
    /// No try begins later after the first one, when the store never answered before.
    pub unreached: Duration,
    /// No try begins later after the first one, when the store did answer before: it is being started again.
    pub reached: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 30,
            first: Duration::from_millis(50),
            longest: Duration::from_secs(3),
            unreached: Duration::from_secs(4),
            reached: Duration::from_secs(60),
        }
    }
}

/// Makes calls again that failed with a transient error, with full jitter between them. A read that breaks in the middle
/// goes on from there. `write` is not repeated, because its source is used up: whoever can open the source again asks
/// `find_missing` whether the blob arrived, which waits until the store is back, and writes again. A write that failed for
/// a moment ends after a wait, so that whoever does so need not wait.
#[derive(Clone, Debug)]
pub struct Retrying<S> {
    shared: Arc<Shared<S>>,
}

#[derive(Debug)]
struct Shared<S> {
    inner: S,
    patience: Patience,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Whether the store ever answered anything.
    reached: AtomicBool,
    /// Writes that failed for a moment since the last one that did not.
    failed_writes: AtomicU32,
}

/// What is left of the patience with one call.
struct Tries {
    made: u32,
    began: Duration,
}

impl<S: BlobStore> Retrying<S> {
    /// Around `inner`.
    pub fn new(inner: S, patience: Patience, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let (reached, failed_writes) = (AtomicBool::new(false), AtomicU32::new(0));
        Self { shared: Arc::new(Shared { inner, patience, clock, entropy, reached, failed_writes }) }
    }
}

impl<S: BlobStore> Shared<S> {
    fn tries(&self) -> Tries {
        Tries { made: 0, began: self.clock.elapsed() }
    }

    fn inner(&self) -> &S {
        &self.inner
    }

    /// How long to wait after so many failures and one more.
    fn wait(&self, failures: u32) -> Duration {
        let longest = self.patience.first.saturating_mul(1 << failures.min(16));
        self.entropy.jitter(longest.min(self.patience.longest))
    }

    /// Takes note of the outcome of a write, and waits after one that failed for a moment.
    async fn pace(&self, error: Option<&Error>) {
        if error.is_some_and(Error::is_transient) {
            let failures = self.failed_writes.fetch_add(1, Ordering::Relaxed);
            self.clock.sleep(self.wait(failures)).await;
        } else {
            self.reached.store(true, Ordering::Relaxed);
            self.failed_writes.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note of an outcome. `true` after a wait: try again.
    async fn again(&self, tries: &mut Tries, error: Option<&Error>) -> bool {
        let Some(error) = error.filter(|error| error.is_transient()) else {
            self.reached.store(true, Ordering::Relaxed);
            return false;
        };
        tries.made += 1;
        let patience = &self.patience;
        let wait = self.wait(tries.made - 1);
        let reached = self.reached.load(Ordering::Relaxed);
        let limit = if reached { patience.reached } else { patience.unreached };
        if tries.made >= patience.tries || self.clock.elapsed() + wait > tries.began + limit {
            return false;
        }
        tracing::debug!(%error, tries = tries.made, ?wait, "store call failed for now");
        self.clock.sleep(wait).await;
        true
    }

    async fn open(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        let mut tries = self.tries();
        loop {
            let outcome = self.inner().read(digest, range).await;
            if !self.again(&mut tries, outcome.as_ref().err()).await {
                return outcome;
            }
        }
    }
}

/// A read that goes on after a break.
struct Resuming<S> {
    shared: Arc<Shared<S>>,
    digest: Digest,
    source: ByteStream,
    rest: Range,
    tries: Tries,
}

impl<S: BlobStore> Resuming<S> {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            let Some(outcome) = self.source.next().await else { return Ok(None) };
            if self.shared.again(&mut self.tries, outcome.as_ref().err()).await {
                self.source = self.shared.open(self.digest, self.rest).await?;
                continue;
            }
            let chunk = outcome?;
            self.rest.offset += chunk.len() as u64;
            self.rest.limit = self.rest.limit.map(|limit| limit.saturating_sub(chunk.len() as u64));
            if !chunk.is_empty() {
                self.tries = self.shared.tries();
            }
            return Ok(Some((chunk, self)));
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: BlobStore> BlobStore for Retrying<S> {
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let mut tries = self.shared.tries();
        loop {
            let outcome = self.shared.inner().find_missing(digests).await;
            if !self.shared.again(&mut tries, outcome.as_ref().err()).await {
                return outcome;
            }
        }
    }

    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        let mut tries = self.shared.tries();
        loop {
            let outcome = self.shared.inner().read_batch(digests).await.and_then(all_or_transient);
            if !self.shared.again(&mut tries, outcome.as_ref().err()).await {
                return outcome;
            }
        }
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        let mut tries = self.shared.tries();
        loop {
            let outcome = self.shared.inner().write_batch(blobs.clone()).await.and_then(all_or_transient);
            if !self.shared.again(&mut tries, outcome.as_ref().err()).await {
                return outcome;
            }
        }
    }

    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        let shared = self.shared.clone();
        let source = shared.open(digest, range).await?;
        let tries = shared.tries();
        let resuming = Resuming { shared, digest, source, rest: range, tries };
        Ok(stream::try_unfold(resuming, Resuming::next).boxed())
    }

    async fn write(&self, digest: Digest, source: ByteStream) -> Result<()> {
        let outcome = self.shared.inner().write(digest, source).await;
        self.shared.pace(outcome.as_ref().err()).await;
        outcome
    }

    async fn write_from(&self, digest: Digest, source: &Reopen<'_>) -> Result<()> {
        let outcome = self.shared.inner().write_from(digest, source).await;
        self.shared.pace(outcome.as_ref().err()).await;
        outcome
    }

    /// Once: whoever has the patch has the blob, whose write takes the patience that it needs.
    async fn write_patch(&self, base: Digest, digest: Digest, patch: Bytes) -> Result<()> {
        self.shared.inner().write_patch(base, digest, patch).await
    }

    /// Puts reads that broke off together from several, which nobody has hashed as one.
    fn verifies_reads(&self) -> bool {
        false
    }
}

/// One blob that failed for a moment has the whole batch made again: batches are idempotent and bounded.
fn all_or_transient<T>(outcomes: Vec<Result<T>>) -> Result<Vec<Result<T>>> {
    let kept = |outcome: Result<T>| match outcome {
        Err(error) if error.is_transient() => Err(error),
        kept => Ok(kept),
    };
    outcomes.into_iter().map(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BlobStoreExt as _,
        memory::MemoryStore,
        testing::{Call, Faulty, noise, stream_of},
    };
    use futures::TryStreamExt as _;
    use proto::{DigestFunction, Timestamp};
    use runtime::SeededEntropy;
    use std::{
        pin::Pin,
        sync::{Mutex, atomic::AtomicUsize},
    };

    /// Time passes by sleeping only.
    #[derive(Clone, Debug, Default)]
    struct Sleeper(Arc<Mutex<Vec<Duration>>>);

    impl Sleeper {
        fn slept(&self) -> Vec<Duration> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Clock for Sleeper {
        fn now(&self) -> Timestamp {
            Timestamp::default() + self.elapsed()
        }

        fn elapsed(&self) -> Duration {
            self.slept().iter().sum()
        }

        fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            self.0.lock().unwrap().push(duration);
            Box::pin(std::future::ready(()))
        }
    }

    fn around<S: BlobStore>(inner: S) -> (Retrying<S>, Sleeper) {
        let clock = Sleeper::default();
        let entropy = Arc::new(SeededEntropy::new(1));
        (Retrying::new(inner, Patience::default(), Arc::new(clock.clone()), entropy), clock)
    }

    fn unavailable() -> Error {
        Error::Unavailable { reason: "for a test".into() }
    }

    /// Fails so many calls.
    fn failing(calls: usize) -> Faulty<MemoryStore> {
        let left = AtomicUsize::new(calls);
        let fail =
            move || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        Faulty::new(MemoryStore::new(), move |_| fail().then(unavailable))
    }

    #[tokio::test]
    async fn calls_that_failed_for_a_moment_are_made_again_after_a_wait() {
        let bytes = noise(1, 100);
        let digest = DigestFunction::Blake3.digest(&bytes);
        let (store, clock) = around(failing(3));
        assert_eq!(store.find_missing(&[digest]).await.unwrap(), [digest]);
        assert_eq!(clock.slept().len(), 3);
        let (store, _) = around(failing(3));
        assert!(store.write_batch(vec![(digest, bytes.clone())]).await.unwrap().remove(0).is_ok());
        let (store, _) = around(failing(3));
        assert!(matches!(store.get(digest).await, Err(Error::NotFound { .. })));
    }

    #[tokio::test]
    async fn patience_ends_sooner_with_a_store_that_never_answered() {
        let digest = DigestFunction::Blake3.digest(b"any");
        let (store, clock) = around(failing(usize::MAX));
        assert!(store.find_missing(&[digest]).await.unwrap_err().is_transient());
        assert!(clock.elapsed() <= Patience::default().unreached, "{:?}", clock.elapsed());
        let down = Arc::new(AtomicBool::new(false));
        let is_down = down.clone();
        let fault = move |_| is_down.load(Ordering::SeqCst).then(unavailable);
        let (store, clock) = around(Faulty::new(MemoryStore::new(), fault));
        store.find_missing(&[digest]).await.unwrap();
        down.store(true, Ordering::SeqCst);
        assert!(store.find_missing(&[digest]).await.unwrap_err().is_transient());
        let patience = Patience::default();
        assert!(clock.elapsed() > patience.unreached && clock.elapsed() <= patience.reached);
        assert!(clock.slept().iter().all(|wait| *wait <= patience.longest));
    }

    #[tokio::test]
    async fn errors_that_will_stay_are_told_at_once() {
        let denied = |_| Some(Error::Denied { reason: "for a test".into() });
        let (store, clock) = around(Faulty::new(MemoryStore::new(), denied));
        assert!(matches!(store.find_missing(&[]).await, Err(Error::Denied { .. })));
        assert_eq!(clock.slept(), []);
    }

    #[tokio::test]
    async fn a_read_goes_on_where_it_broke() {
        let bytes = noise(1, 5_000_000);
        let inner = Faulty::new(MemoryStore::new(), |_| None).cutting(|| Some(700_001));
        let (store, _) = around(inner);
        let digest = store.put(DigestFunction::Blake3, bytes.clone()).await.unwrap();
        for range in [Range::ALL, Range { offset: 5, limit: Some(3_000_000) }] {
            let chunks: Vec<Bytes> = store.read(digest, range).await.unwrap().try_collect().await.unwrap();
            assert!(chunks.concat() == range.of(&bytes).unwrap());
        }
    }

    #[tokio::test]
    async fn a_read_that_never_gets_any_further_ends() {
        let inner = Faulty::new(MemoryStore::new(), |_| None).cutting(|| Some(0));
        let (store, _) = around(inner);
        let digest = store.put(DigestFunction::Blake3, noise(1, 5_000_000)).await.unwrap();
        let source = store.read(digest, Range::ALL).await.unwrap();
        assert!(source.try_collect::<Vec<Bytes>>().await.unwrap_err().is_transient());
    }

    #[tokio::test]
    async fn writes_are_not_repeated_and_their_failures_take_their_time() {
        let bytes = noise(1, 100);
        let digest = DigestFunction::Blake3.digest(&bytes);
        let write_fails = {
            let failing = AtomicUsize::new(5);
            let fail = move || {
                failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
            };
            move |call| (call == Call::Write && fail()).then(unavailable)
        };
        let (store, clock) = around(Faulty::new(MemoryStore::new(), write_fails));
        for failures in 1..=5 {
            assert!(store.write(digest, stream_of(bytes.clone(), 10)).await.unwrap_err().is_transient());
            assert_eq!(clock.slept().len(), failures);
        }
        assert!(clock.slept()[4] <= Patience::default().first * 16);
        store.write(digest, stream_of(bytes, 10)).await.unwrap();
        assert_eq!(clock.slept().len(), 5);
    }
}
