//! The bot as it runs: asks the scheduler, performs what [`Synchronizer`](crate::synchronize) decides, and stops.
//!
//! One task owns everything: at most one call to the scheduler is in flight, each attempt is a task of a `JoinSet`, and
//! so is each removal of what an attempt left. A scheduler that is away changes nothing for what runs.

mod attempts;
mod call;
mod error;
mod open;
mod settle;

pub use error::BotError;

use crate::{
    attempt::Lease,
    health::Health,
    remote::Scheduler,
    synchronize::{Action, Synchronizer},
    update::{Update, Updater},
};
use attempts::{Attempts, Remains};
pub(crate) use call::PATIENCE;
use call::{Call, CallError};
use proto::{BotId, Digest, SessionId};
use runtime::{Clock, Entropy, Shutdown};
use settle::Former;
use std::{sync::Arc, time::Duration};

/// How long the attempts that are stopped may take to be gone.
const STOP: Duration = Duration::from_secs(30);

/// What is slept when there is nothing to wake up for.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// The two ways to ask a bot to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Finish what runs, within [`crate::Config::drain_timeout`], and take nothing new.
    pub drain: Shutdown,
    /// End what runs. The scheduler gives it to other bots.
    pub now: Shutdown,
}

/// A bot that holds its data directory and has not called the scheduler yet.
#[derive(Debug)]
pub struct Bot {
    id: BotId,
    /// Where the scheduler is.
    address: String,
    drain_timeout: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    scheduler: Scheduler,
    attempts: Attempts,
    synchronizer: Synchronizer,
    former: Option<Former>,
    health: Health,
    updater: Updater,
    /// Takes nothing new because another program is to take the place of this one.
    updating: bool,
    /// Takes nothing new because it is to end.
    leaving: bool,
    trial: bool,
    exit_when_idle: Option<Duration>,
    /// Since when nothing is held.
    idle_since: Option<Duration>,
}

/// Why a bot has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It was told to, or had nothing to do for long enough.
    Stopped,
    /// Another program is to be tried in its place. Nothing of this bot is left.
    Update(Update),
}

impl Bot {
    /// The bot's name.
    pub fn id(&self) -> &BotId {
        &self.id
    }

    /// Works until it is told to stop, or another process takes its name over.
    pub async fn run_until(mut self, stop: Stop) -> Result<Finish, BotError> {
        if self.trial {
            self.synchronizer.drain();
        }
        let began = tokio::select! {
            () = self.health.begin(&*self.clock) => true,
            () = stop.now.requested() => false,
        };
        if began {
            let (stop, clock, idle) = (stop.clone(), Arc::clone(&self.clock), self.exit_when_idle);
            // What is left stays on the disk.
            let enough = async move {
                tokio::select! {
                    () = stop.drain.requested() => {}
                    () = stop.now.requested() => {}
                    () = clock.sleep(idle.unwrap_or_default()), if idle.is_some() => {}
                }
            };
            self.settle_former(enough).await;
        }
        tracing::info!(bot = %self.id, "polling for work");
        // A call in the new session would lose what is not told of the former one.
        let begins = began && self.former.is_none();
        let worked = if begins { self.work(&stop).await } else { Ok(Finish::Stopped) };
        let running = self.attempts.abandon_running();
        let remains = if worked.is_ok() { self.leave_off(running).await } else { Remains::Removed };
        if tokio::time::timeout(STOP, self.attempts.finish(remains)).await.is_err() {
            tracing::warn!("some attempts could not be stopped in time");
        }
        self.health.end().await;
        worked
    }

    async fn work(&mut self, stop: &Stop) -> Result<Finish, BotError> {
        let mut call: Option<Call> = None;
        let mut drain_by: Option<Duration> = None;
        loop {
            let now = self.clock.elapsed();
            let idle_until = self.idle_until(now);
            if drain_by.is_none() && idle_until.is_some_and(|until| now >= until) {
                tracing::info!("there was nothing to do for long enough: ending");
                self.leave();
                drain_by = Some(now + self.drain_timeout);
            }
            if let Some(finish) = self.finish(drain_by, now) {
                return Ok(finish);
            }
            let news = self.synchronizer.news_from();
            if call.as_ref().is_some_and(Call::is_idle) && news.is_some_and(|from| from <= now) {
                call = None;
            }
            if call.is_none() && self.synchronizer.not_before() <= now {
                let plan = self.synchronizer.plan(now);
                call = Some(Call::begin(&self.scheduler, plan, &self.attempts, self.health.word().clone()));
            }
            let wake = match &call {
                None => Some(self.synchronizer.not_before()),
                Some(call) if call.is_idle() => news,
                Some(_) => None,
            };
            let idle_until = idle_until.filter(|_| drain_by.is_none());
            let wake = wake
                .into_iter()
                .chain(drain_by)
                .chain(idle_until)
                .min()
                .map_or(LONG, |wake| wake.saturating_sub(now));
            tokio::select! {
                answer = Call::ended(&mut call) => self.take_answer(answer)?,
                attempted = self.attempts.news(&mut self.synchronizer) => {
                    if let Some(attempted) = attempted {
                        let now = self.clock.elapsed();
                        self.health.attempted(&attempted, now);
                        self.judge(now);
                    }
                }
                () = self.health.news(&*self.clock) => self.judge(self.clock.elapsed()),
                () = self.clock.sleep(wake) => {}
                () = stop.drain.requested(), if drain_by.is_none() => {
                    tracing::info!("finishing what runs, taking nothing new");
                    self.leave();
                    drain_by = Some(self.clock.elapsed() + self.drain_timeout);
                }
                () = self.updater.news() => self.follow(None),
                () = stop.now.requested() => return Ok(Finish::Stopped),
            }
        }
    }

    /// What the bot ends with now, if it does.
    fn finish(&mut self, drain_by: Option<Duration>, now: Duration) -> Option<Finish> {
        if self.trial {
            return self.synchronizer.is_announced().then_some(Finish::Stopped);
        }
        let drained = self.synchronizer.is_drained();
        if let Some(by) = drain_by {
            return (drained || now >= by).then_some(Finish::Stopped);
        }
        let update = self.updater.ready().filter(|_| self.updating);
        drained.then(|| update.cloned().map_or(Finish::Stopped, Finish::Update))
    }

    /// Takes nothing new, and ends when nothing runs any more. Says whether that is new.
    fn leave(&mut self) -> bool {
        self.synchronizer.drain();
        self.updating = false;
        !std::mem::replace(&mut self.leaving, true)
    }

    /// Looks at what is known of the program that this one should be; `named` is what the scheduler says just now.
    fn follow(&mut self, named: Option<Option<Digest>>) {
        if let Some(program) = named {
            self.updater.name(program);
        }
        if self.health.set_notice(self.updater.notice()) {
            self.synchronizer.announce();
        }
        if self.leaving || self.trial {
            return;
        }
        match (self.updater.ready().is_some(), self.updating) {
            (true, false) => {
                self.synchronizer.drain();
                self.updating = true;
            }
            (false, true) => {
                tracing::info!("the other program is not wanted any more: taking work again");
                self.synchronizer.resume();
                self.updating = false;
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Tells the scheduler when the bot is fit in another way than before.
    fn judge(&mut self, now: Duration) {
        if self.health.judge(now) {
            self.synchronizer.announce();
        }
    }

    /// When the bot is to end, if nothing comes.
    fn idle_until(&mut self, now: Duration) -> Option<Duration> {
        let idle = self.synchronizer.is_idle();
        self.idle_since = idle.then(|| self.idle_since.unwrap_or(now));
        self.health.set_idle_since(self.idle_since);
        Some(self.idle_since? + self.exit_when_idle?)
    }

    fn take_answer(&mut self, ended: call::Ended) -> Result<(), BotError> {
        let call::Ended { plan, state, answer } = ended;
        let now = self.clock.elapsed();
        let answer = match answer {
            Ok(answer) => answer,
            Err(CallError::Replaced { reason }) => {
                return Err(BotError::Replaced { id: self.id.clone(), reason });
            }
            Err(error) => {
                self.synchronizer.failed(now, |most| self.entropy.jitter(most));
                let failures = self.synchronizer.failures();
                // Once for each outage, and then now and then.
                if failures.is_power_of_two() {
                    let scheduler = &self.address;
                    tracing::warn!(
                        scheduler, %error, failures,
                        "cannot reach the scheduler, trying on: start it, or name another with --scheduler"
                    );
                }
                return Ok(());
            }
        };
        if self.synchronizer.failures() > 0 {
            tracing::info!("the scheduler answers again");
        }
        self.health.state_was_told(&state);
        self.health.compare_clocks(self.clock.now(), answer.now);
        self.judge(now);
        self.follow(Some(answer.program));
        if answer.terminate && self.leave() {
            tracing::info!("an operator wants the bot to end: finishing what runs, taking nothing new");
        }
        for action in self.synchronizer.answered(&plan, answer, now) {
            match action {
                Action::Start(lease, assignment) => {
                    self.attempts.start(lease, assignment, &mut self.synchronizer);
                }
                Action::Kill(lease) => self.attempts.kill(lease),
                Action::Tests(lease, command) => {
                    self.attempts.command(lease, command, &mut self.synchronizer);
                }
                Action::Forget(lease) => self.attempts.forget(lease),
            }
        }
        Ok(())
    }

    /// Tells what is over and gives back what runs. What the scheduler cannot be told of what is over remains.
    async fn leave_off(&mut self, mut running: Vec<Lease>) -> Remains {
        if self.synchronizer.untold().0 > 0 {
            match self.settle_own(call::FAREWELL).await {
                Ok(leased) => running.extend(leased),
                Err(CallError::Replaced { .. }) => return Remains::Removed,
                Err(_) => {
                    self.give_up_leases(running).await;
                    return Remains::Removed;
                }
            }
        }
        if self.synchronizer.untold().0 > 0 || self.former.is_some() {
            tracing::warn!("the scheduler cannot be told of all that is over: the next start tells it");
            // Under another session they would be worth nothing.
            return Remains::Kept;
        }
        self.give_up_leases(running).await;
        Remains::Removed
    }

    /// Gives what was held back to the scheduler, which need not wait for the leases to expire. Under a new session: a
    /// call of the old one that is still under way is refused and takes nothing.
    async fn give_up_leases(&self, leases: Vec<Lease>) {
        if leases.is_empty() {
            return;
        }
        let Ok(session) = SessionId::new(&self.entropy.name()) else { return };
        let word = self.health.word().clone();
        if let Err(error) = call::farewell(&self.scheduler.in_session(session), word, leases).await {
            tracing::debug!(%error, "the scheduler will notice by itself that the bot is gone");
        }
    }
}
