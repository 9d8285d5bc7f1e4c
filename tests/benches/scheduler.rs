//! What the scheduler reaches, beside a bare echo and PostgreSQL on this machine in the same run. `make bench-scheduler`
//! runs it.
//!
//! The real program is a process on loopback; this one is the load: bots that do everything but run commands. Three
//! rounds, medians: about a quarter of an hour, and no round of a part has more than [`LONGEST`].
//! `make bench-scheduler PARTS="cycles trigger"` runs only these parts, `ROUNDS=1` one round of each.
//! The parts `decisions`, `fan_out` and `simulation` need the queue without a server around it: they are ignored tests of the
//! crate `scheduler`, which the same target runs.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a bench")]

mod scheduler {
    pub(crate) mod bots;
    pub(crate) mod connections;
    pub(crate) mod cycles;
    pub(crate) mod echo;
    pub(crate) mod gaps;
    pub(crate) mod postgres;
    pub(crate) mod restart;
    pub(crate) mod server;
    pub(crate) mod table;
    pub(crate) mod trigger;
}

use runtime::{Clock as _, Shutdown, SystemClock};
use scheduler::{connections, cycles, echo, gaps, restart, table::Table, trigger};
use std::time::Duration;

const PARTS: [&str; 5] = ["connections", "cycles", "gaps", "trigger", "restart"];

/// Beyond it something hangs.
const LONGEST: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // `cargo test --benches` and nextest's listing start benches too: there is nothing to list.
        ["--list" | "--test", ..] => {}
        ["--echo"] => echo::serve().await,
        [] => run_or_stop(&PARTS).await,
        ref parts => run_or_stop(parts).await,
    }
}

/// Servers stop when they are dropped, so that a signal leaves none of them behind.
async fn run_or_stop(parts: &[&str]) {
    let shutdown = Shutdown::on_signals().unwrap();
    runtime::descriptors::raise_limit();
    tokio::select! {
        () = run(parts) => {}
        () = shutdown.requested() => println!("stopped"),
    }
}

async fn run(parts: &[&str]) {
    let rounds = std::env::var("ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let mut table = Table::default();
    for part in parts {
        for _ in 0..rounds {
            tokio::select! {
                () = measure(part, &mut table) => {}
                () = SystemClock::new().sleep(LONGEST) => panic!("part `{part}` takes longer than {LONGEST:?}"),
            }
        }
        table.print();
    }
}

async fn measure(part: &str, table: &mut Table) {
    match part {
        "connections" => connections::measure(table).await,
        "cycles" => cycles::measure(table).await,
        "gaps" => gaps::measure(table).await,
        "trigger" => trigger::measure(table).await,
        "restart" => restart::measure(table).await,
        other => panic!("there is no part `{other}`; there are {PARTS:?}"),
    }
}
