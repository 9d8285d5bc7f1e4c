//! kill -9 of the cache server at random instants under mixed load, in one data directory that lives through all of it.
//!
//! The store is so small that eviction and reclaim run all the time. The instants of death and all that clients do follow
//! from one seed, which is printed: `KILL_SEED=N` takes another one, `KILL_ROUNDS=N` another number of rounds. How far the
//! server is when it dies is up to the machine, so that a seed makes a failure likely to come again, and no more.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may unwrap, also in their helpers")]

mod content;
mod ledger;
mod load;
mod verify;

use ledger::{LEASE, Ledger};
use load::Worker;
use runtime::{Clock as _, Entropy as _, SeededEntropy, SystemClock, SystemEntropy};
use std::{path::Path, sync::Arc, time::Duration};
use tests::{Finished, Program, binary, soon};
use tokio::{process::Command, task::JoinSet};

/// What the store is told to stay below.
const BUDGET: u64 = 48 << 20;

/// What 200 rounds write at least: most of it has to be evicted.
const ENOUGH: u64 = 3 * BUDGET;

/// Every so many rounds the store is looked at while no server runs.
const SCRUBBED: u64 = 50;

fn arguments(data: &Path) -> [String; 5] {
    [
        "--listen=127.0.0.1:0".into(),
        format!("--data={}", data.display()),
        format!("--max-size={BUDGET}"),
        "--min-free=0".into(),
        format!("--lease={}ms", LEASE.as_millis()),
    ]
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

/// One of each kind and two of the small ones.
fn work(server: &Program, ledger: &Arc<Ledger>, entropy: &SeededEntropy) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    let worker = |number| Worker {
        // Death breaks all calls of a connection at once, so that there is more than one of them.
        channel: runtime::connect::channel(server.url(), None).unwrap(),
        address: server.address(),
        ledger: Arc::clone(ledger),
        entropy: SeededEntropy::new(entropy.next()),
        number,
    };
    for number in 0..2 {
        workers.spawn(worker(number).batches());
        workers.spawn(worker(number).keys());
    }
    workers.spawn(worker(0).streams());
    workers.spawn(worker(0).compressed());
    workers.spawn(worker(0).results());
    workers.spawn(worker(0).pins());
    workers.spawn(worker(0).reads());
    workers
}

/// Waits for a first acknowledgement, until so many bytes are acknowledged in all, and some time more, mostly little.
async fn live(ledger: &Ledger, entropy: &SeededEntropy, bytes: u64) {
    let acknowledged = async {
        ledger.news.notified().await;
        while ledger.entries().bytes < bytes {
            ledger.news.notified().await;
        }
    };
    soon("acknowledgements", acknowledged).await;
    let most = if entropy.next().is_multiple_of(8) { 300_000 } else { 30_000 };
    SystemClock::new().sleep(Duration::from_micros(entropy.next() % most)).await;
}

async fn assert_sound(data: &Path) {
    let mut scrub = Command::new(binary("cas-server"));
    scrub.arg("scrub").arg("--data").arg(data);
    let found = Finished::of(&mut scrub).await.expect(0).stdout;
    assert!(found.contains(" 0 were damaged, 0 cannot be read, 0 leftover files"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_server_is_killed_what_it_acknowledged_is_there_and_nothing_is_half_there() {
    let seed = number("KILL_SEED").unwrap_or_else(|| SystemEntropy::shared().next());
    let rounds = number("KILL_ROUNDS").unwrap_or(200);
    println!("KILL_SEED={seed} KILL_ROUNDS={rounds}");
    let entropy = SeededEntropy::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::new());
    let (mut new, mut held) = (0, 0);
    for round in 1..=rounds {
        if entropy.next().is_multiple_of(10) {
            let delay = Duration::from_micros(entropy.next() % 40_000);
            Program::start_and_kill("cas-server", arguments(dir.path()), delay).await;
        }
        let server = Program::start("cas-server", arguments(dir.path())).await;
        ledger.revive();
        let channel = runtime::connect::channel(server.url(), None).unwrap();
        held += verify::verify(&ledger, channel, server.address(), new).await;

        let before = ledger.entries().acknowledged.len();
        let mut workers = work(&server, &ledger, &entropy);
        live(&ledger, &entropy, ENOUGH * round / rounds.max(200)).await;
        ledger.kill();
        server.kill().await;
        while let Some(worker) = workers.join_next().await {
            worker.unwrap();
        }
        new = ledger.entries().acknowledged.len() - before;
        if round % SCRUBBED == 0 {
            assert_sound(dir.path()).await;
        }
    }
    let server = Program::start("cas-server", arguments(dir.path())).await;
    let channel = runtime::connect::channel(server.url(), None).unwrap();
    held += verify::verify(&ledger, channel, server.address(), new).await;
    assert!(server.terminate().await.success());
    assert_sound(dir.path()).await;
    let bytes = ledger.entries().bytes;
    println!("{held} times a blob that had to be there, {bytes} bytes acknowledged");
    assert!(held as u64 > rounds, "little was put to the test: {held}");
}
