//! What clients were told, and what they asked for without being told.

use cas::Error;
use proto::Digest;
use runtime::{Clock as _, SystemClock};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// How long the servers keep what was written. Long enough for most of what a round writes to be seen in the next one.
pub(crate) const LEASE: Duration = Duration::from_secs(4);

/// The state of one name: a key's bytes, an action's result, a pin's root. `None`: there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// What was acknowledged last, and when that call began.
    pub(crate) last: Option<Digest>,
    pub(crate) since: Duration,
    /// What was asked for since then without an acknowledgement.
    pub(crate) open: Vec<Option<Digest>>,
}

impl History {
    /// All that there may be now.
    pub(crate) fn allows(&self, found: Option<Digest>) -> bool {
        self.last == found || self.open.contains(&found)
    }

    /// It was looked at: what was found is what there is.
    pub(crate) fn settle(&mut self, found: Option<Digest>) {
        self.last = found;
        self.open.clear();
    }
}

/// A stream that broke off, and what was sent of it at most.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) digest: Digest,
}

#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// Blobs with the time at which the call that was acknowledged began.
    pub(crate) acknowledged: Vec<(Digest, Duration)>,
    /// Blobs whose upload began in the last life and was not acknowledged.
    pub(crate) attempted: Vec<Digest>,
    pub(crate) keys: BTreeMap<String, History>,
    pub(crate) results: BTreeMap<Digest, History>,
    pub(crate) pins: BTreeMap<String, History>,
    pub(crate) broken: Vec<Broken>,
    /// Bytes of all blobs that were acknowledged ever.
    pub(crate) bytes: u64,
}

/// Outlives all servers.
#[derive(Debug)]
pub(crate) struct Ledger {
    clock: SystemClock,
    entries: Mutex<Entries>,
    killed: AtomicBool,
    pub(crate) news: Notify,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            clock: SystemClock::new(),
            entries: Mutex::default(),
            killed: AtomicBool::new(false),
            news: Notify::new(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap()
    }

    /// An upload begins.
    pub(crate) fn attempt(&self, digests: impl IntoIterator<Item = Digest>) -> Duration {
        self.entries().attempted.extend(digests);
        self.now()
    }

    /// An upload that began at `at` was acknowledged.
    pub(crate) fn acknowledge(&self, digest: Digest, at: Duration) {
        let mut entries = self.entries();
        entries.acknowledged.push((digest, at));
        entries.attempted.retain(|attempted| *attempted != digest);
        entries.bytes += digest.size();
        drop(entries);
        self.news.notify_one();
    }

    /// Errors from now on are what a death looks like.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// A server is up again.
    pub(crate) fn revive(&self) {
        self.killed.store(false, Ordering::SeqCst);
    }

    /// Whether to go on after this error. A server that lives refuses for want of room and for no other reason.
    pub(crate) async fn survives(&self, error: &Error) -> bool {
        if self.is_killed() {
            return false;
        }
        assert!(matches!(error, Error::Exhausted { .. }), "from a server that lives: {error:?}");
        self.clock.sleep(Duration::from_millis(2)).await;
        true
    }

    /// Between two rounds of one client.
    pub(crate) async fn pause(&self) {
        self.clock.sleep(Duration::from_millis(1)).await;
    }

    /// Still to be had, when this was acknowledged.
    pub(crate) fn is_leased(&self, since: Duration) -> bool {
        self.now() < since + LEASE
    }
}
