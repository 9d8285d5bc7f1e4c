//! The bot as it runs: asks the scheduler, performs what [`Synchronizer`](crate::synchronize) decides, and stops.
//!
//! One task owns everything: at most one call to the scheduler is in flight, each attempt is a task of a `JoinSet`, and
//! so is each removal of what an attempt left. A scheduler that is away changes nothing for what runs.

mod attempts;
mod call;
mod error;

pub use error::BotError;

use crate::{
    Config,
    attempt::Lease,
    dimensions::{Host, dimensions},
    executor::Executor,
    remote::{Identity, Scheduler},
    synchronize::{Action, Synchronizer},
    task::Worker,
    workdir::DataDir,
};
use attempts::Attempts;
use call::{Call, CallError};
use cas::{
    BlobStore,
    disk::{DiskCache, DiskCacheOptions},
    named::{NamedCacheOptions, NamedCaches},
};
use proto::{BotId, SessionId};
use runtime::{Clock, Entropy, Shutdown};
use std::{sync::Arc, time::Duration};

/// How long the attempts that are stopped may take to be gone.
const STOP: Duration = Duration::from_secs(30);

/// What is slept when there is nothing to wake up for.
const LONG: Duration = Duration::from_secs(3600);

/// The two ways to ask a bot to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Finish what runs, within [`Config::drain_timeout`], and take nothing new.
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
}

/// Opens a bot and runs it until `shutdown`, which drains it.
pub async fn run(
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    shutdown: Shutdown,
) -> Result<(), BotError> {
    let bot = Bot::open(config, clock, entropy).await?;
    bot.run_until(Stop { drain: shutdown, now: Shutdown::new() }).await
}

impl Bot {
    /// Checks the configuration, takes the data directory and clears it of what a former bot left. Servers need not be
    /// up: the bot keeps calling.
    pub async fn open(
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, BotError> {
        let ca_cert = config.ca_cert.as_deref();
        let store = cas::connect(&config.cas, ca_cert, Arc::clone(&clock), Arc::clone(&entropy))?;
        Self::open_over(store, config, clock, entropy).await
    }

    /// Like [`Bot::open`], with a store of the caller's instead of the one that `config` names.
    pub async fn open_over(
        store: Arc<dyn BlobStore>,
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, BotError> {
        let id = match &config.id {
            Some(id) => BotId::new(id)?,
            None => host_name()?,
        };
        if config.slots == 0 {
            return Err(BotError::Slots);
        }
        let dimensions = dimensions(&Host::inspect(), &id, &config.dimension)?;
        let session = SessionId::new(&entropy.name())?;
        let channel = runtime::connect::Failover::new(&config.scheduler, config.ca_cert.as_deref())?;
        let path = config.data.clone();
        let data = tokio::task::spawn_blocking(move || DataDir::open(&path)).await??;
        let options = DiskCacheOptions {
            max_bytes: config.cache_size.as_u64(),
            max_items: config.cache_max_items,
            min_free: config.cache_min_free_space.as_u64(),
            max_age: config.cache_max_age,
        };
        let named_options = NamedCacheOptions {
            min_free: options.min_free,
            max_age: options.max_age,
            ..NamedCacheOptions::default()
        };
        let (dir, named) = (data.cache(), data.named_caches());
        let open = move || {
            Ok::<_, cas::Error>((DiskCache::open(&dir, options)?, NamedCaches::open(&named, named_options)?))
        };
        let (cache, named_caches) = tokio::task::spawn_blocking(open).await??;
        let executor = Executor { supervisor: config.supervisor, clock: Arc::clone(&clock) };
        let worker = Worker {
            outputs: Arc::clone(&store),
            store,
            cache,
            named_caches,
            executor,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            bot: id.clone(),
        };
        let identity = Identity { bot: id.clone(), session, dimensions, slots: config.slots };
        Ok(Self {
            id,
            address: config.scheduler,
            drain_timeout: config.drain_timeout,
            clock,
            entropy,
            scheduler: Scheduler::new(channel, identity),
            attempts: Attempts::new(worker, data),
            synchronizer: Synchronizer::new(config.slots as usize),
        })
    }

    /// The bot's name.
    pub fn id(&self) -> &BotId {
        &self.id
    }

    /// Works until it is told to stop, or another process takes its name over.
    pub async fn run_until(mut self, stop: Stop) -> Result<(), BotError> {
        tracing::info!(bot = %self.id, "polling for work");
        let worked = self.work(&stop).await;
        let abandoned = self.attempts.abandon_all();
        if !abandoned.is_empty() && worked.is_ok() {
            self.give_up_leases(abandoned).await;
        }
        if tokio::time::timeout(STOP, self.attempts.finish()).await.is_err() {
            tracing::warn!("some attempts could not be stopped in time");
        }
        worked
    }

    async fn work(&mut self, stop: &Stop) -> Result<(), BotError> {
        let mut call: Option<Call> = None;
        let mut drain_by: Option<Duration> = None;
        loop {
            let now = self.clock.elapsed();
            if self.synchronizer.is_drained() || drain_by.is_some_and(|by| now >= by) {
                return Ok(());
            }
            let news = self.synchronizer.news_from();
            if call.as_ref().is_some_and(Call::is_idle) && news.is_some_and(|from| from <= now) {
                call = None;
            }
            if call.is_none() && self.synchronizer.not_before() <= now {
                let plan = self.synchronizer.plan(now);
                call = Some(Call::begin(&self.scheduler, plan, &self.attempts));
            }
            let wake = match &call {
                None => Some(self.synchronizer.not_before()),
                Some(call) if call.is_idle() => news,
                Some(_) => None,
            };
            let wake = wake.into_iter().chain(drain_by).min().map_or(LONG, |wake| wake.saturating_sub(now));
            tokio::select! {
                answer = Call::ended(&mut call) => self.take_answer(answer)?,
                () = self.attempts.news(&mut self.synchronizer) => {}
                () = self.clock.sleep(wake) => {}
                () = stop.drain.requested(), if drain_by.is_none() => {
                    tracing::info!("finishing what runs, taking nothing new");
                    self.synchronizer.drain();
                    drain_by = Some(self.clock.elapsed() + self.drain_timeout);
                }
                () = stop.now.requested() => return Ok(()),
            }
        }
    }

    fn take_answer(&mut self, (plan, answer): call::Ended) -> Result<(), BotError> {
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
        if answer.terminate && self.synchronizer.drain() {
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

    /// Gives what was held back to the scheduler, which need not wait for the leases to expire. Under a new session: a
    /// call of the old one that is still under way is refused and takes nothing.
    async fn give_up_leases(&self, leases: Vec<Lease>) {
        let Ok(session) = SessionId::new(&self.entropy.name()) else { return };
        if let Err(error) = call::farewell(&self.scheduler.in_session(session), leases).await {
            tracing::debug!(%error, "the scheduler will notice by itself that the bot is gone");
        }
    }
}

/// The host's name, as far as a bot's name allows.
fn host_name() -> Result<BotId, BotError> {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    Ok(BotId::new(&name.replace(|c| !allowed(c), "-"))?)
}
