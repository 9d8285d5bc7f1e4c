//! Calls that failed for a moment are made again.

use crate::{BlobStore, ByteStream, Error, Range, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use proto::Digest;
use runtime::{Clock, Entropy};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
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
/// `find_missing` whether the blob arrived, which waits until the store is back, and writes again.
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
}

/// What is left of the patience with one call.
struct Tries {
    made: u32,
    began: Duration,
}

impl<S: BlobStore> Retrying<S> {
    /// Around `inner`.
    pub fn new(inner: S, patience: Patience, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let reached = AtomicBool::new(false);
        Self { shared: Arc::new(Shared { inner, patience, clock, entropy, reached }) }
    }
}

impl<S: BlobStore> Shared<S> {
    fn tries(&self) -> Tries {
        Tries { made: 0, began: self.clock.elapsed() }
    }

    fn inner(&self) -> &S {
        &self.inner
    }

    /// Takes note of an outcome. `true` after a wait: try again.
    async fn again(&self, tries: &mut Tries, error: Option<&Error>) -> bool {
        let Some(error) = error.filter(|error| error.is_transient()) else {
            self.reached.store(true, Ordering::Relaxed);
            return false;
        };
        tries.made += 1;
        let patience = &self.patience;
        let longest = patience.first.saturating_mul(1 << (tries.made - 1).min(16)).min(patience.longest);
        let wait = self.entropy.jitter(longest);
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
        self.shared.inner().write(digest, source).await
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
