//! Whether the bot is fit for work, by its own word: a bot that would fail everything it is given says so and gets nothing.
//!
//! It looks at its host now and then ([`examine`]), counts its own failures ([`strikes`]), and compares its clock with the
//! scheduler's ([`limits`]). It comes back by itself when the next look finds nothing wrong.

mod examine;
mod limits;
mod strikes;

pub(crate) use examine::{Examiner, Findings};
pub(crate) use limits::Limits;

use crate::{
    attempt::{AttemptResult, Ending},
    hooks::Hook,
    remote::Word,
};
use limits::one_line;
use proto::Timestamp;
use runtime::Clock;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use strikes::Strikes;
use tokio::task::JoinSet;

/// Longest that a bot that ends waits for hooks that are not done.
const LEAVE: Duration = Duration::from_secs(30);

/// Looks for the sake of attempts are at least so far apart.
const AFTER_ATTEMPTS: Duration = Duration::from_secs(5);

/// How often the bot looks, and what it puts up with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) every: Duration,
    /// Failures in a row.
    pub(crate) max_failures: u32,
    /// How long it stays away for failures.
    pub(crate) retry_after: Duration,
}

/// What became of an attempt, as far as it says something of the bot.
#[derive(Clone, Debug)]
pub(crate) struct Attempted {
    pub(crate) result: AttemptResult,
    /// Why a hook of it failed.
    pub(crate) hook_failure: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Health {
    examiner: Arc<Examiner>,
    every: Duration,
    /// At most one look at a time, and what goes on beside it.
    examining: JoinSet<Findings>,
    calling: JoinSet<()>,
    /// When the last look ended, and when the next one begins.
    looked: Duration,
    next: Duration,
    idle_since: Option<Duration>,
    strikes: Strikes,
    /// What is wrong with the clock.
    clock: Option<String>,
    findings: Findings,
    /// What the scheduler is told; the state only as long as it was not told.
    word: Word,
}

impl Health {
    pub(crate) fn new(examiner: Examiner, schedule: Schedule) -> Self {
        Self {
            examiner: Arc::new(examiner),
            every: schedule.every,
            examining: JoinSet::new(),
            calling: JoinSet::new(),
            looked: Duration::ZERO,
            next: Duration::ZERO,
            idle_since: None,
            strikes: Strikes::new(schedule.max_failures, schedule.retry_after),
            clock: None,
            findings: Findings::default(),
            word: Word::default(),
        }
    }

    /// Looks for the first time, before anything is said.
    pub(crate) async fn begin(&mut self, clock: &dyn Clock) {
        let started = self.examiner.call(Hook::OnStartup, json!({})).await;
        self.findings = Arc::clone(&self.examiner).examine(None, 0).await;
        if let Err(why) = started {
            self.strikes.hook_failed(&why, clock.elapsed());
        }
        self.looked = clock.elapsed();
        self.next = self.looked + self.every;
        self.judge(clock.elapsed());
    }

    /// Waits until something may have changed that [`Health::judge`] should look at. May be dropped at any time.
    pub(crate) async fn news(&mut self, clock: &dyn Clock) {
        loop {
            let now = clock.elapsed();
            if now >= self.next && self.examining.is_empty() {
                let idle = self.idle_since.map(|since| now.saturating_sub(since));
                let examined = Arc::clone(&self.examiner).examine(idle, self.strikes.in_a_row());
                self.examining.spawn(examined);
            }
            let wake = [(self.examining.is_empty()).then_some(self.next), self.strikes.until()];
            let wake = wake.into_iter().flatten().min().unwrap_or(now + self.every).saturating_sub(now);
            tokio::select! {
                Some(examined) = self.examining.join_next() => {
                    self.looked = clock.elapsed();
                    self.next = self.looked + self.every;
                    match examined {
                        Ok(findings) => self.findings = findings,
                        Err(error) => tracing::error!(%error, "the look at the host was lost"),
                    }
                    return;
                }
                Some(_) = self.calling.join_next() => {}
                () = clock.sleep(wake) => {
                    if self.strikes.until().is_some_and(|until| until <= clock.elapsed()) {
                        return;
                    }
                }
            }
        }
    }

    /// Since when the bot has had nothing to do.
    pub(crate) fn set_idle_since(&mut self, since: Option<Duration>) {
        self.idle_since = since;
    }

    /// An attempt has ended.
    pub(crate) fn attempted(&mut self, attempted: &Attempted, now: Duration) {
        match (&attempted.hook_failure, attempted.result.ending) {
            (Some(why), _) => self.strikes.hook_failed(why, now),
            (None, Ending::InternalError) => self.strikes.failed(&attempted.result.message, now),
            (None, Ending::Completed | Ending::TimedOut) => self.strikes.succeeded(),
            // Nothing was run, and not by our fault.
            (None, Ending::Killed | Ending::ClientError) => {}
        }
        // An attempt that has filled the disk should be found soon; short ones should not wear out the host.
        self.next = self.next.min((self.looked + AFTER_ATTEMPTS).max(now));
    }

    /// The scheduler has said what time it is.
    pub(crate) fn compare_clocks(&mut self, own: Timestamp, scheduler: Option<Timestamp>) {
        self.clock = scheduler.and_then(|scheduler| self.examiner.limits.clock(own, scheduler));
    }

    /// What an operator should know, beside what keeps the bot from work. Says whether that is new.
    pub(crate) fn set_notice(&mut self, notice: &str) -> bool {
        let notice = one_line(notice);
        let new = self.word.notice != notice;
        self.word.notice = notice;
        new
    }

    /// What the scheduler is to be told.
    pub(crate) fn word(&self) -> &Word {
        &self.word
    }

    /// The scheduler has this state.
    pub(crate) fn state_was_told(&mut self, state: &str) {
        if self.word.state == state {
            self.word.state.clear();
        }
    }

    /// Makes the word from all that is known. Says whether the bot is fit in another way than before.
    pub(crate) fn judge(&mut self, now: Duration) -> bool {
        let findings = &mut self.findings;
        let strikes = self.strikes.reason(now);
        let wrong: Vec<&str> =
            findings.wrong.iter().chain(&self.clock).chain(&strikes).map(String::as_str).collect();
        let quarantined = one_line(&wrong.join("; "));
        let state = std::mem::take(&mut findings.state);
        let word = Word {
            dimensions: findings.dimensions.clone(),
            quarantined,
            maintenance: one_line(&findings.maintenance),
            notice: self.word.notice.clone(),
            state: if state.is_empty() { std::mem::take(&mut self.word.state) } else { state },
        };
        let before = std::mem::replace(&mut self.word, word);
        let now = &self.word;
        if before.quarantined != now.quarantined {
            if now.quarantined.is_empty() {
                tracing::info!("out of quarantine");
            } else {
                tracing::warn!(reason = now.quarantined, "in quarantine: no new attempts until it is over");
            }
            if before.quarantined.is_empty() {
                let (examiner, reason) = (Arc::clone(&self.examiner), now.quarantined.clone());
                self.calling.spawn(async move {
                    if let Err(why) = examiner.call(Hook::OnQuarantine, json!({ "reason": reason })).await {
                        tracing::warn!(why, "a hook failed in quarantine");
                    }
                });
            }
        }
        (&before.dimensions, &before.quarantined, &before.maintenance)
            != (&now.dimensions, &now.quarantined, &now.maintenance)
    }

    /// The bot ends.
    pub(crate) async fn end(&mut self) {
        let end = async {
            while self.examining.join_next().await.is_some() {}
            while self.calling.join_next().await.is_some() {}
            if let Err(why) = self.examiner.call(Hook::OnShutdown, json!({})).await {
                tracing::warn!(why, "a hook failed at the end");
            }
        };
        if tokio::time::timeout(LEAVE, end).await.is_err() {
            tracing::warn!("a hook does not come to its end");
        }
    }
}
