//! Follows a run to its end, through cut connections and restarts of the scheduler.

mod arrivals;
mod feed;

pub use arrivals::{Arrival, arrivals};
pub use feed::TestsNews;

use crate::{
    live::Live,
    model::Run,
    remote::{CallError, Scheduler, Update},
};
use feed::Feed;
use futures::StreamExt as _;
use proto::RunId;
use std::{pin::pin, time::Duration};

/// How often what is shown is brought up to date while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// How long a scheduler that was there once may be away.
const ABSENCE: Duration = Duration::from_secs(300);

/// Of a run with more shards not every change is shown at once: each costs a look at all of them.
const CROWD: usize = 1000;

/// So many tries fail without a word.
const QUIET_TRIES: u32 = 3;

/// Whether the scheduler has answered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquaintance {
    /// It has: should it be away, it is worth waiting for.
    Known,
    /// It may not be there at all.
    Unknown,
}

/// For how long a scheduler may be away, counted from the first try that failed: what was silent before was no absence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    acquaintance: Acquaintance,
    lost_at: Option<Duration>,
    tries: u32,
}

impl Patience {
    pub(crate) fn with(acquaintance: Acquaintance) -> Self {
        Self { acquaintance, lost_at: None, tries: 0 }
    }

    /// The scheduler is there: the next absence is counted from its own beginning.
    pub(crate) fn heard(&mut self) {
        self.lost_at = None;
        self.tries = 0;
    }

    /// A try failed. Waits before the next one and gives its number, unless there has been enough of it.
    pub(crate) async fn lost(&mut self, scheduler: &Scheduler, error: CallError) -> Result<u32, CallError> {
        let now = scheduler.clock().elapsed();
        let away = now.saturating_sub(*self.lost_at.get_or_insert(now));
        let most = match self.acquaintance {
            Acquaintance::Known => ABSENCE,
            Acquaintance::Unknown => scheduler.patience(),
        };
        if !error.is_transient() || away >= most {
            return Err(error);
        }
        scheduler.back_off(self.tries).await;
        self.tries += 1;
        Ok(self.tries)
    }
}

/// How following ended.
#[derive(Clone, Debug)]
pub enum Followed {
    /// The run has ended.
    Ended(Run),
    /// Time is up; the run goes on, as it was seen last.
    TimedOut(Option<Run>),
}

/// Follows `run` until it has ended, or for `timeout`.
pub async fn follow(
    scheduler: &Scheduler,
    run: RunId,
    acquaintance: Acquaintance,
    timeout: Option<Duration>,
    live: &mut dyn Live,
) -> Result<Followed, CallError> {
    let deadline = timeout.map(|timeout| scheduler.clock().elapsed() + timeout);
    let mut patience = Patience::with(acquaintance);
    let mut following = Following {
        scheduler,
        live,
        deadline,
        heard: false,
        seen: None,
        shown: Duration::ZERO,
        feed: Feed::default(),
    };
    loop {
        let error = match following.session(run).await {
            Ok(Session::Ended(run)) => return Ok(Followed::Ended(*run)),
            Ok(Session::TimeIsUp) => return Ok(Followed::TimedOut(following.seen)),
            Err(error) => error,
        };
        if std::mem::take(&mut following.heard) {
            patience = Patience::with(Acquaintance::Known);
        }
        if following.time_is_up() {
            return Ok(Followed::TimedOut(following.seen));
        }
        let text = error.to_string();
        // The first tries again are quick, and most often enough.
        if patience.lost(scheduler, error).await? == QUIET_TRIES {
            following.live.note(&format!("{text}; trying again"));
        }
    }
}

struct Following<'a> {
    scheduler: &'a Scheduler,
    live: &'a mut dyn Live,
    /// On the clock's own time.
    deadline: Option<Duration>,
    /// Whether this connection has brought anything.
    heard: bool,
    seen: Option<Run>,
    /// When, on the clock's own time.
    shown: Duration,
    /// What becomes of tests.
    feed: Feed,
}

/// What came next.
enum Heard {
    Update(Option<Result<Update, CallError>>),
    Tests(TestsNews),
}

/// How one connection ended.
enum Session {
    Ended(Box<Run>),
    TimeIsUp,
}

impl Following<'_> {
    async fn session(&mut self, run: RunId) -> Result<Session, CallError> {
        let opening = self.scheduler.watch(run);
        let left = self.deadline.map(|deadline| deadline.saturating_sub(self.scheduler.clock().elapsed()));
        let Ok(opened) = tokio::time::timeout(left.unwrap_or(Duration::MAX), opening).await else {
            return Ok(Session::TimeIsUp);
        };
        let mut updates = pin!(opened?);
        loop {
            let heard = tokio::time::timeout(TICK, async {
                tokio::select! {
                    update = updates.next() => Heard::Update(update),
                    news = self.feed.next() => Heard::Tests(news),
                }
            });
            match heard.await {
                Ok(Heard::Update(Some(update))) => self.take(update?),
                // Of a run that has ended the scheduler has told everything, and this was seen below.
                Ok(Heard::Update(None)) => {
                    return Err(self.scheduler.unavailable("it ended the watch early"));
                }
                Ok(Heard::Tests(news)) => self.take_tests(&news),
                Err(_) => {}
            }
            if let Some(run) = &self.seen {
                let (now, ended) = (self.scheduler.clock().elapsed(), run.is_whole() && run.state.is_final());
                if ended || run.shards.len() <= CROWD || now.saturating_sub(self.shown) >= TICK {
                    self.live.update(run, self.scheduler.clock().now());
                    self.shown = now;
                }
                if ended {
                    return Ok(Session::Ended(Box::new(run.clone())));
                }
            }
            if self.time_is_up() {
                return Ok(Session::TimeIsUp);
            }
        }
    }

    fn take(&mut self, update: Update) {
        self.heard = true;
        match (update, &mut self.seen) {
            (Update::Whole(run), seen) => {
                self.feed.begin(self.scheduler, &run);
                *seen = Some(*run);
            }
            (Update::Changes(changes), Some(run)) => run.apply(changes),
            (Update::Changes(_), None) => tracing::warn!("the scheduler told changes before the run itself"),
        }
    }

    fn take_tests(&mut self, news: &TestsNews) {
        if let (Some(run), Some(counts)) = (&mut self.seen, news.counts) {
            run.count_tests(news.step, counts);
        }
        self.live.tests(news);
    }

    fn time_is_up(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.scheduler.clock().elapsed() >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Timestamp;
    use runtime::{ManualClock, SeededEntropy};
    use std::sync::Arc;

    #[tokio::test]
    async fn patience_counts_from_the_first_failure_and_starts_over_when_the_scheduler_is_heard() {
        let clock = ManualClock::new(Timestamp::from_micros(0));
        let entropy = Arc::new(SeededEntropy::new(1));
        let scheduler = Scheduler::new("127.0.0.1:1", None, Arc::new(clock.clone()), entropy).unwrap();
        let mut patience = Patience::with(Acquaintance::Unknown);
        let lose = async |patience: &mut Patience, then: u64| {
            let advance = async || clock.advance(Duration::from_secs(then));
            let lost = patience.lost(&scheduler, scheduler.unavailable("gone"));
            tokio::join!(biased; lost, advance()).0
        };
        // A test that prints nothing for an hour is no absence.
        clock.advance(Duration::from_secs(3600));
        assert_eq!(lose(&mut patience, 3).await.unwrap(), 1);
        assert_eq!(lose(&mut patience, 3).await.unwrap(), 2);
        assert!(lose(&mut patience, 0).await.is_err(), "six seconds are enough");
        patience.heard();
        assert_eq!(lose(&mut patience, 3).await.unwrap(), 1);
        let refused = CallError::Invalid { reason: "no".into() };
        assert!(patience.lost(&scheduler, refused).await.is_err(), "no patience helps");
    }
}
