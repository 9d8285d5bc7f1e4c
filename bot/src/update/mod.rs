//! The bot's program, when the scheduler names another one: fetched by digest while work goes on, tried when there is
//! none, and left alone for a while when that failed.
//!
//! `DATA/program/HEX` is a program, verified. `DATA/program/failed` is the last failure, JSON. What the bot was started from
//! is never touched: it is the last-known-good one, and goes on when the new one fails. The trial is the new program
//! itself under the same arguments with [`TRIAL`] in its environment: it takes the data directory, makes one call that
//! wants no work, and ends with 0. Only then does it take the place of this process, under the same process number.

mod fetch;
mod trial;

pub use trial::{PATIENCE as TRIAL_PATIENCE, TRIAL, become_program};

use fetch::{Fetched, Fetcher};
use proto::{Digest, Timestamp};
use runtime::Clock;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinSet;

/// How long a program that has failed, or could not be fetched, is left alone.
const LATER: Duration = Duration::from_secs(3600);
const FETCH_LATER: Duration = Duration::from_secs(60);

/// A program that is ready to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Its name.
    pub digest: Digest,
    /// Where it is.
    pub path: PathBuf,
}

/// What a program has failed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    digest: String,
    reason: String,
    /// Seconds since the epoch.
    at: u64,
}

impl Failed {
    fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(FAILED)).ok()?).ok()
    }

    /// What an operator is told.
    fn notice(&self) -> String {
        format!("the update to program {} failed, this one goes on: {}", self.digest, self.reason)
    }
}

const FAILED: &str = "failed";

/// Follows what the scheduler names. Without a program of one's own (in tests, within another process) nothing.
#[derive(Debug)]
pub(crate) struct Updater {
    fetcher: Option<Arc<Fetcher>>,
    clock: Arc<dyn Clock>,
    fetching: JoinSet<(Digest, Result<Fetched, String>)>,
    /// What this process runs, once known.
    own: Option<Digest>,
    /// What the scheduler named last, unless it is what runs.
    wanted: Option<Digest>,
    ready: Option<Update>,
    failed: Option<Failed>,
    not_before: Duration,
    notice: String,
}

impl Updater {
    /// `own` is the program that runs; `dir` where others are kept.
    pub(crate) fn new(
        own: Option<PathBuf>,
        dir: PathBuf,
        store: Arc<dyn cas::BlobStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let failed = Failed::read(&dir);
        let notice = failed.as_ref().map(Failed::notice).unwrap_or_default();
        let fetcher = own.map(|own| Arc::new(Fetcher { own, dir, store }));
        let fetching = JoinSet::new();
        let not_before = Duration::ZERO;
        let (own, wanted, ready) = (None, None, None);
        Self { fetcher, clock, fetching, own, wanted, ready, failed, not_before, notice }
    }

    /// The scheduler names this program.
    pub(crate) fn name(&mut self, program: Option<Digest>) {
        let Some(fetcher) = &self.fetcher else { return };
        self.wanted = program.filter(|program| self.own != Some(*program));
        self.ready.take_if(|ready| self.wanted != Some(ready.digest));
        let Some(program) = self.wanted else {
            self.notice.clear();
            return;
        };
        if self.ready.is_some() || !self.fetching.is_empty() || self.clock.elapsed() < self.not_before {
            return;
        }
        if let Some(failed) = self.failed.as_ref().filter(|failed| failed.digest == program.to_string())
            && self.clock.now().since(Timestamp::from_micros(failed.at.saturating_mul(1_000_000))) < LATER
        {
            return;
        }
        let fetcher = Arc::clone(fetcher);
        let own = self.own;
        self.fetching.spawn(async move { (program, fetcher.fetch(program, own).await) });
    }

    /// Waits until a program was fetched, or cannot be. May be dropped at any time.
    pub(crate) async fn news(&mut self) {
        let Some(fetched) = self.fetching.join_next().await else { return std::future::pending().await };
        let (digest, fetched) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => return tracing::error!(%error, "the fetch of a program was lost"),
        };
        match fetched {
            Ok(Fetched { own, path: None }) => {
                (self.own, self.notice) = (Some(own), String::new());
            }
            // The scheduler has changed its mind meanwhile.
            Ok(Fetched { own, .. }) if self.wanted != Some(digest) => self.own = Some(own),
            Err(_) if self.wanted != Some(digest) => {}
            Ok(Fetched { own, path: Some(path) }) => {
                tracing::info!(%digest, "the scheduler names another program: trying it when nothing runs");
                (self.own, self.ready) = (Some(own), Some(Update { digest, path }));
            }
            Err(reason) => {
                self.not_before = self.clock.elapsed() + FETCH_LATER;
                self.notice = format!("cannot fetch program {digest}: {reason}");
                tracing::warn!(%digest, reason, "cannot fetch the program that the scheduler names");
            }
        }
    }

    /// What is to be tried: what the scheduler wants now.
    pub(crate) fn ready(&self) -> Option<&Update> {
        self.ready.as_ref()
    }

    /// What an operator should know.
    pub(crate) fn notice(&self) -> &str {
        &self.notice
    }
}

impl Update {
    /// Remembers that the trial failed: this program goes on, and says why.
    pub fn note_failure(&self, reason: &str, now: Timestamp) -> std::io::Result<()> {
        let at = now.as_micros() / 1_000_000;
        let failed = Failed { digest: self.digest.to_string(), reason: reason.to_owned(), at };
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let staged = dir.join("failed.new");
        fs::write(&staged, serde_json::to_vec(&failed)?)?;
        fs::rename(staged, dir.join(FAILED))
    }
}

#[cfg(test)]
mod tests;
