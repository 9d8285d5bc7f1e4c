//! kill -9 of bots, of the scheduler and of the CAS at random instants, while runs come in. In the end the ledger is
//! complete: every run that was acknowledged is there once, every shard of it has ended once with whole output, and
//! nobody has left anything behind.
//!
//! What dies, and when, follows from one seed, which is printed: `CHAOS_SEED=N` takes another one, `CHAOS_SECONDS=N` goes on
//! for so long. How far everybody is by then is up to the machine.

use super::user::User;
use proto::v1::{self, ShardState};
use runtime::{Clock as _, Entropy as _, SeededEntropy, SystemClock, SystemEntropy};
use std::{collections::BTreeMap, time::Duration};
use tests::{Suite, System, eventually, processes_below};

const BOTS: usize = 50;

/// Shards of a run, and how many may be unfinished before the next run comes.
const SHARDS: u32 = 20;
const BUSY: usize = 200;

/// How many runs have their output files looked at.
const LOOKED_INTO: usize = 8;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

/// What died how often.
#[derive(Debug, Default)]
struct Deaths {
    bots: usize,
    scheduler: usize,
    cas: usize,
}

/// Kills, waits, and starts again; several bots may be gone at a time.
struct Killer<'a> {
    system: &'a mut System,
    entropy: &'a SeededEntropy,
    clock: SystemClock,
    /// Bots that are gone, and when they come back.
    gone: BTreeMap<usize, Duration>,
    deaths: Deaths,
}

impl Killer<'_> {
    fn draw(&self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.entropy.next() % milliseconds)
    }

    async fn strike(&mut self) {
        match self.entropy.next() % 20 {
            0 | 1 => {
                self.system.kill_scheduler().await;
                self.clock.sleep(self.draw(1500)).await;
                self.system.restart_scheduler().await;
                self.deaths.scheduler += 1;
            }
            2 | 3 => {
                self.system.kill_cas().await;
                self.clock.sleep(self.draw(1500)).await;
                self.system.restart_cas().await;
                self.deaths.cas += 1;
            }
            _ => {
                let bot = usize::try_from(self.entropy.next() % BOTS as u64).unwrap();
                if !self.gone.contains_key(&bot) {
                    self.system.kill_bot(bot).await;
                    self.gone.insert(bot, self.clock.elapsed() + self.draw(3000));
                    self.deaths.bots += 1;
                }
            }
        }
    }

    async fn revive(&mut self, until: Duration) {
        let back: Vec<usize> =
            self.gone.iter().filter(|(_, at)| **at <= until).map(|(bot, _)| *bot).collect();
        for bot in back {
            self.gone.remove(&bot);
            self.system.restart_bot(bot).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_the_ledger_is_complete() {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| SystemEntropy::shared().next());
    let seconds = number("CHAOS_SECONDS").unwrap_or(60);
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds}");
    let mut system = System::start(BOTS).await;
    let suite = Suite::new(20, "0.05");
    let digest = system.archive(&suite).await;
    let mut user = User::new(&system, &digest);
    let entropy = SeededEntropy::new(seed);
    let clock = SystemClock::new();
    let end = clock.elapsed() + Duration::from_secs(seconds);
    let mut killer = Killer {
        system: &mut system,
        entropy: &entropy,
        clock,
        gone: BTreeMap::new(),
        deaths: Deaths::default(),
    };
    let mut unfinished = Vec::new();
    while clock.elapsed() < end {
        if unfinished.len() * (SHARDS as usize) < BUSY {
            user.trigger(SHARDS).await;
            unfinished.extend(user.runs.values().last().cloned());
        }
        killer.strike().await;
        clock.sleep(killer.draw(700)).await;
        killer.revive(clock.elapsed()).await;
        // One a round: this is about what dies, not about who asks.
        if let Some(oldest) = unfinished.first()
            && user.get(oldest).await.ended.is_some()
        {
            unfinished.remove(0);
        }
    }
    killer.revive(Duration::MAX).await;
    let deaths = killer.deaths;
    let runs = all_ended(&system, &user).await;
    assert_eq!(user.list().await.len(), user.runs.len(), "no run is there that nobody asked for, or twice");
    let attempts = check(&system, &suite, &runs).await;
    nothing_is_left(&mut system, &user, &runs).await;
    println!("{deaths:?}: {} runs, {} shards, {attempts} attempts", runs.len(), runs.len() * SHARDS as usize);
    assert!(deaths.bots > 10 && deaths.scheduler + deaths.cas > 1 || seconds < 60, "{deaths:?}");
}

async fn all_ended(system: &System, user: &User) -> Vec<v1::Run> {
    let mut runs = Vec::new();
    for id in user.runs.values() {
        runs.push(system.wait_for(id, |run| run.ended.is_some()).await);
    }
    runs
}

/// Every shard has completed once; returns how many attempts that took.
async fn check(system: &System, suite: &Suite, runs: &[v1::Run]) -> usize {
    let mut attempts = 0;
    for (number, run) in runs.iter().enumerate() {
        assert_eq!(run.shards.len(), SHARDS as usize);
        if number % runs.len().div_ceil(LOOKED_INTO) == 0 {
            system.assert_whole(run, suite).await;
        }
        for shard in &run.shards {
            assert_eq!(shard.state(), ShardState::Completed, "{shard:#?}");
            let (last, lost) = shard.attempts.split_last().unwrap();
            assert!(last.result.as_ref().is_some_and(|result| result.exit_code == Some(0)), "{shard:#?}");
            assert!(lost.iter().all(|one| one.result.is_none() && !one.lost.is_empty()), "{shard:#?}");
            assert_eq!(system.output(&shard.id).await, suite.output(shard.index, SHARDS), "{}", shard.id);
            attempts += shard.attempts.len();
        }
    }
    attempts
}

/// No process, no file in a work directory, no lease; and the journal says the same once more.
async fn nothing_is_left(system: &mut System, user: &User, runs: &[v1::Run]) {
    let below = system.path().to_str().unwrap().to_owned();
    let work = |bot: usize| system.path().join(format!("bot-{bot}/work"));
    eventually("bots to leave nothing behind", || {
        let tasks = processes_below(&below).iter().any(|line| line.contains("suite.sh"));
        let files = (0..BOTS).any(|bot| std::fs::read_dir(work(bot)).unwrap().next().is_some());
        async move { (!tasks && !files).then_some(()) }
    })
    .await;
    let (_, metrics) =
        tests::http(system.scheduler.as_ref().unwrap().address(), "GET", "/metrics", b"").await;
    let metrics = String::from_utf8(metrics).unwrap();
    for gauge in ["scheduler_leases 0", "scheduler_shards_pending 0"] {
        assert!(metrics.lines().any(|line| line == gauge), "{gauge} in\n{metrics}");
    }
    system.kill_scheduler().await;
    system.restart_scheduler().await;
    for run in runs {
        assert_eq!(user.get(&run.id).await, *run, "it is what its journal says");
    }
}
