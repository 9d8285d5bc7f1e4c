//! How evenly tests end: traces of real suites replayed in simulated time, through the shares and the ledger of the
//! scheduler and through what other tools do. `TRACES=DIR` holds the traces; arguments name the parts to measure.
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::panic, reason = "a bench")]

#[path = "sharding/baselines.rs"]
mod baselines;
#[path = "sharding/engine.rs"]
mod engine;
#[path = "sharding/fleet.rs"]
mod fleet;
#[path = "sharding/ours.rs"]
mod ours;
#[path = "sharding/parts.rs"]
mod parts;
#[path = "sharding/random.rs"]
mod random;
#[path = "sharding/replay/mod.rs"]
mod replay;
#[path = "sharding/table.rs"]
mod table;
#[path = "sharding/trace.rs"]
mod trace;

type Part = fn(&[trace::Trace]);

/// What is measured, in this order, and by which name it is asked for.
const PARTS: [(&str, Part); 7] = [
    ("warm", parts::warm),
    ("cold", parts::cold),
    ("unequal", parts::unequal),
    ("killed", parts::killed),
    ("held-out", parts::held_out),
    ("speed", parts::speed),
    ("replay", replay::replay),
];

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = asked.iter().find(|asked| PARTS.iter().all(|(name, _)| name != asked)) {
        panic!(
            "there is no part {unknown:?}; there are warm, cold, unequal, killed, held-out, speed and replay"
        );
    }
    let traces = trace::all();
    trace::describe(&traces);
    for (name, part) in PARTS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            part(&traces);
        }
    }
}
