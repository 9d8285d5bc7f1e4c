//! Opens a bot: checks what it is told, takes its directory, and puts its parts together.

use super::{Attempts, Bot, BotError, settle::Former};
use crate::{
    Config, SandboxKind,
    executor::{self, Cgroups, Executor, Sandbox},
    health::{Examiner, Health, Limits, Schedule},
    hooks::Hooks,
    host::{Host, Told, dimensions, told},
    record::Record,
    remote::{Identity, Scheduler},
    spool::Spool,
    synchronize::Synchronizer,
    task::Worker,
    update::Updater,
    workdir::{DataDir, DataDirError, WorkDir},
};
use bytesize::ByteSize;
use cas::{
    BlobStore,
    disk::{DiskCache, DiskCacheOptions},
    named::{NamedCacheOptions, NamedCaches},
};
use proto::{BotId, SessionId};
use runtime::{Clock, Entropy};
use std::{path::Path, sync::Arc, time::Duration};

/// No host changes faster.
const SOONEST: Duration = Duration::from_millis(100);

/// Nothing starts in less.
const LEAST_MEMORY: ByteSize = ByteSize::mib(4);

/// The supervisor, for a moment, and the command with something of its own.
const LEAST_PIDS: u64 = 4;

impl Bot {
    /// Checks the configuration, takes the data directory and clears it of what a former bot left. Servers need not be
    /// up: the bot keeps calling.
    pub async fn open(
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, BotError> {
        let address = cas::Address::open(&config.cas, config.ca_cert.as_deref());
        let store = cas::connect(address, Arc::clone(&clock), Arc::clone(&entropy))?;
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
        let configured = told(&config.dimension)?;
        // What is refused is refused at the start.
        dimensions(&Host::default(), &id, &configured, &Told::new())?;
        let session = SessionId::new(&entropy.name())?;
        let channel = runtime::connect::Failover::new(&config.scheduler, config.ca_cert.as_deref())?;
        let path = config.data.clone();
        let (data, left) = tokio::task::spawn_blocking(move || DataDir::open(&path)).await??;
        let data = Arc::new(data);
        let (cache, named_caches) = caches(&config, &data).await?;
        let cgroups = cgroups(&config, data.root())?;
        let plain = Executor::plain(config.supervisor.clone(), Arc::clone(&clock));
        let executor = Executor { cgroups, sandbox: sandbox(&config, data.root())?, ..plain.clone() };
        // A bot on trial is seen by nobody but the scheduler.
        let hooks = config.hooks.as_deref().filter(|_| !config.trial);
        let hooks = Arc::new(Hooks::open(hooks, plain, config.hook_timeout, id.to_string())?);
        let examiner = Examiner {
            bot: id.clone(),
            configured,
            hooks: Arc::clone(&hooks),
            data: Arc::clone(&data),
            limits: Limits {
                min_free_disk: config.min_free_disk.as_u64(),
                max_clock_skew: config.max_clock_skew,
            },
            cache: cache.clone(),
            named_caches: named_caches.clone(),
            clock: Arc::clone(&clock),
            started: (clock.now(), clock.elapsed()),
        };
        let health = Health::new(examiner, schedule(&config));
        let own = config.supervisor.filter(|_| config.update && !config.trial);
        let updater = Updater::new(own, data.programs(), Arc::clone(&store), Arc::clone(&clock));
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
        let mut attempts = Attempts::new(worker, data, session.clone(), hooks);
        // One on trial touches nothing of it.
        let left = if config.trial { Vec::new() } else { left };
        let former = take_over(left, &mut attempts, &id, &clock);
        let identity = Identity { bot: id.clone(), session, slots: config.slots };
        Ok(Self {
            id,
            address: config.scheduler,
            drain_timeout: config.drain_timeout,
            clock,
            entropy,
            scheduler: Scheduler::new(channel, identity),
            attempts,
            synchronizer: Synchronizer::new(config.slots as usize),
            former,
            health,
            updater,
            updating: false,
            leaving: false,
            trial: config.trial,
            exit_when_idle: config.exit_when_idle,
            idle_since: None,
        })
    }
}

/// Holds what a former process has left in these places, as far as it is of one session of this bot; the rest goes.
fn take_over(
    left: Vec<WorkDir>,
    attempts: &mut Attempts,
    bot: &BotId,
    clock: &Arc<dyn Clock>,
) -> Option<Former> {
    let mut session: Option<SessionId> = None;
    let mut over = Vec::new();
    for dir in left {
        let record = Record::read(&dir.record()).filter(|record| {
            record.bot == *bot && session.as_ref().is_none_or(|session| *session == record.session)
        });
        let spool = Spool::open(&dir.spool(), Arc::clone(clock));
        let (Some(record), Ok(spool)) = (record, spool) else {
            if let Err(error) = dir.remove() {
                tracing::warn!(%error, "cannot remove what a former process left");
            }
            continue;
        };
        let Record { lease, result, session: of, .. } = record;
        session.get_or_insert(of);
        over.push((lease, spool.len(), result));
        attempts.take_over(dir, spool, lease);
    }
    let synchronizer = Synchronizer::of_former(over);
    session.map(|session| Former { session, synchronizer })
}

/// What attempts leave to each other.
async fn caches(config: &Config, data: &DataDir) -> Result<(DiskCache, NamedCaches), BotError> {
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
    Ok(tokio::task::spawn_blocking(open).await??)
}

fn schedule(config: &Config) -> Schedule {
    Schedule {
        every: config.check_interval.max(SOONEST),
        max_failures: config.max_failures,
        retry_after: config.retry_after,
    }
}

/// Groups for what attempts may use.
fn cgroups(config: &Config, data: &Path) -> Result<Option<Arc<Cgroups>>, BotError> {
    let refused = |key, given: String, remedy| BotError::Limit { key, given, remedy };
    if let Some(bytes) = config.memory_limit.filter(|bytes| *bytes < LEAST_MEMORY) {
        return Err(refused("memory-limit", bytes.to_string(), "give 4MiB or more"));
    }
    if let Some(most) = config.pids_limit.filter(|most| *most < LEAST_PIDS) {
        return Err(refused("pids-limit", most.to_string(), "give 4 or more"));
    }
    if let Some(cpus) = config.cpu_limit.filter(|cpus| !cpus.is_finite() || *cpus < 0.01) {
        return Err(refused("cpu-limit", cpus.to_string(), "give 0.01 or more"));
    }
    let limits = executor::Limits {
        memory: config.memory_limit.map(|bytes| bytes.as_u64()),
        pids: config.pids_limit,
        cpu: config.cpu_limit,
    };
    // The data directory is locked: nobody else has its name.
    let stat = rustix::fs::stat(data)
        .map_err(|errno| DataDirError::Io { path: data.to_owned(), source: errno.into() })?;
    let name = format!("isoswarm-{:x}-{:x}", stat.st_dev, stat.st_ino);
    Ok(Cgroups::open(limits, &name)?.map(Arc::new))
}

fn sandbox(config: &Config, data: &Path) -> Result<Option<Sandbox>, BotError> {
    if config.sandbox == SandboxKind::None {
        return Ok(None);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).map(|dir| dir.join("bwrap")).find(|program| program.is_file());
    let program = program.ok_or(BotError::Bubblewrap)?;
    Ok(Some(Sandbox { program, data: data.to_owned(), network: config.sandbox_network }))
}

/// The host's name, as far as a bot's name allows.
fn host_name() -> Result<BotId, BotError> {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    Ok(BotId::new(&name.replace(|c| !allowed(c), "-"))?)
}
