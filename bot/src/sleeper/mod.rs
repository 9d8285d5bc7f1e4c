//! A bot without processes: it speaks to the scheduler as every bot does, and its tests sleep. For measuring how evenly
//! tests end (`make bench-sharding`), which is why it is public.
//!
//! What it says and when is decided by the same [`Synchronizer`] and written by the same `remote` as a real bot's. It has
//! one slot, no store, no data directory and no output, and is fit whatever its host is like.

mod worker;

use crate::{
    BotError,
    attempt::{AttemptResult, CommandExit, Ending, Lease, Stats},
    remote::{Answer, HeldAttempt, Identity, Scheduler, Statement, Word},
    shell::{LONG, PATIENCE},
    suite::TestsCommand,
    synchronize::{Action, Plan, Synchronizer},
};
use futures::future::BoxFuture;
use proto::{BotId, SessionId};
use runtime::{Clock, Entropy, connect::Failover};
use std::{fmt, sync::Arc, time::Duration};
use worker::Worker;

/// A suite whose tests sleep.
#[derive(Clone, Debug)]
pub struct Sleeps {
    /// Names, and how long each takes, in listing order.
    pub tests: Arc<[(String, Duration)]>,
    /// So many times as long each takes on this bot.
    pub pace: f64,
    /// Part of what it tells that it really sleeps: 0 tells of a whole suite at once.
    pub slept: f64,
    /// How long a runner takes to start.
    pub start: Duration,
    /// Whether each batch starts a runner, and not only the first one.
    pub per_batch: bool,
}

impl Sleeps {
    /// What a test takes on this bot; nothing, when it is none of these.
    fn took(&self, index: u32) -> Duration {
        self.tests.get(index as usize).map_or(Duration::ZERO, |(_, took)| took.mul_f64(self.pace))
    }
}

/// What happens to a sleeping bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// It has a lease.
    Leased,
    /// It may run the test at this place of the listing.
    Granted(u32),
    /// It has begun it.
    Begun(u32),
    /// It has ended it.
    Ended(u32),
    /// It was told that there is nothing more, or its lease is over.
    Released,
}

/// See the module.
pub struct Sleeper {
    scheduler: Scheduler,
    synchronizer: Synchronizer,
    sleeps: Sleeps,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    observe: Box<dyn FnMut(Slept) + Send>,
    held: Option<(Lease, Worker)>,
}

impl fmt::Debug for Sleeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleeper").field("scheduler", &self.scheduler).field("held", &self.held).finish()
    }
}

struct Call {
    plan: Plan,
    answer: BoxFuture<'static, Option<Answer>>,
}

impl Sleeper {
    /// A bot of this name, which has not called yet. `observe` is told what happens to it, when it happens.
    pub fn new(
        id: BotId,
        scheduler: &str,
        sleeps: Sleeps,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        observe: impl FnMut(Slept) + Send + 'static,
    ) -> Result<Self, BotError> {
        let channel = Failover::new(scheduler, None)?;
        let session = SessionId::new(&entropy.name())?;
        let identity = Identity { bot: id, session, slots: 1 };
        Ok(Self {
            scheduler: Scheduler::new(channel, identity),
            synchronizer: Synchronizer::new(1),
            sleeps,
            clock,
            entropy,
            observe: Box::new(observe),
            held: None,
        })
    }

    /// Works for as long as it is polled: a bot that is dropped is one that has died.
    pub async fn run(mut self) {
        let mut call: Option<Call> = None;
        loop {
            let now = self.clock.elapsed();
            self.sleep_on(now);
            let news = self.synchronizer.news_from();
            if call.as_ref().is_some_and(|call| call.plan.is_idle()) && news.is_some_and(|from| from <= now) {
                call = None;
            }
            if call.is_none() && self.synchronizer.not_before() <= now {
                call = Some(self.call(now));
            }
            let wake = match &call {
                None => Some(self.synchronizer.not_before()),
                Some(call) if call.plan.is_idle() => news,
                Some(_) => None,
            };
            let due = self.held.as_ref().and_then(|(_, worker)| worker.due());
            let wake = wake.into_iter().chain(due).min().map_or(LONG, |wake| wake.saturating_sub(now));
            tokio::select! {
                (plan, answer) = ended(&mut call) => self.take(&plan, answer),
                () = self.clock.sleep(wake) => {}
            }
        }
    }

    fn call(&mut self, now: Duration) -> Call {
        let plan = self.synchronizer.plan(now);
        let held = plan.reports.iter().map(|report| HeldAttempt {
            lease: report.lease,
            output_offset: report.output.start,
            output: bytes::Bytes::new(),
            result: report.result.clone(),
            tests: report.tests.clone(),
        });
        let statement = Statement {
            accepting: plan.accepting,
            word: Word::default(),
            held: held.collect(),
            returned: Vec::new(),
            caches: Vec::new(),
            wait: plan.wait,
        };
        let (scheduler, limit) = (self.scheduler.clone(), plan.wait + PATIENCE);
        let answer = Box::pin(async move {
            let answer = tokio::time::timeout(limit, scheduler.synchronize(statement)).await;
            answer.ok().and_then(|answer| {
                answer.inspect_err(|error| tracing::warn!(%error, "the scheduler does not answer")).ok()
            })
        });
        Call { plan, answer }
    }

    fn take(&mut self, plan: &Plan, answer: Option<Answer>) {
        let now = self.clock.elapsed();
        let Some(answer) = answer else {
            return self.synchronizer.failed(now, |most| self.entropy.jitter(most));
        };
        for action in self.synchronizer.answered(plan, answer, now) {
            match action {
                Action::Start(lease, assignment) => match assignment.tests {
                    Some(order) => {
                        self.held = Some((lease, Worker::new(order.list, &self.sleeps, now)));
                        (self.observe)(Slept::Leased);
                    }
                    None => self.finish(lease, Ending::ClientError, "this bot only sleeps: it has no tests"),
                },
                Action::Tests(lease, command) => {
                    if let Some((_, worker)) = self.held.as_mut().filter(|(held, _)| *held == lease) {
                        tell(&command, &mut *self.observe);
                        worker.obey(command, &self.sleeps, now);
                    }
                }
                Action::Kill(lease) => self.finish(lease, Ending::Killed, "killed on request"),
                Action::Forget(lease) => self.let_go(lease),
            }
        }
    }

    /// All that has ended by now.
    fn sleep_on(&mut self, now: Duration) {
        let Some((lease, worker)) = &mut self.held else { return };
        let lease = *lease;
        for news in worker.pass(&self.sleeps, now, self.clock.now(), &mut *self.observe) {
            self.synchronizer.tests(lease, news);
        }
        if worker.is_over() {
            self.finish(lease, Ending::Completed, "");
        }
    }

    fn finish(&mut self, lease: Lease, ending: Ending, message: &str) {
        let result = AttemptResult {
            ending,
            exit: (ending == Ending::Completed).then_some(CommandExit::Code(0)),
            message: message.to_owned(),
            outputs: None,
            stats: Stats::default(),
            out_of_memory: false,
        };
        self.synchronizer.finished(lease, result);
        self.let_go(lease);
    }

    fn let_go(&mut self, lease: Lease) {
        // What was told that there is nothing more has been released before.
        if self.held.take_if(|(held, _)| *held == lease).is_some_and(|(_, worker)| !worker.is_complete()) {
            (self.observe)(Slept::Released);
        }
    }
}

/// Says what a command brings.
fn tell(command: &TestsCommand, observe: &mut dyn FnMut(Slept)) {
    match command {
        TestsCommand::Batch(batch) => batch.tests.iter().for_each(|test| observe(Slept::Granted(test.index))),
        TestsCommand::Complete => observe(Slept::Released),
    }
}

/// Ends when the call in `slot` has ended, and takes it out. Never, when there is none.
async fn ended(slot: &mut Option<Call>) -> (Plan, Option<Answer>) {
    let answer = match slot {
        Some(call) => (&mut call.answer).await,
        None => std::future::pending().await,
    };
    match slot.take() {
        Some(Call { plan, .. }) => (plan, answer),
        None => std::future::pending().await,
    }
}
