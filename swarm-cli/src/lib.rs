//! `swarm`: triggers runs, follows them, merges what their shards report, and brings up a swarm on one machine.
//!
//! Owns what people see of runs: live lines, tables, the verdict, JUnit and JSON files. It asks the scheduler for names
//! and states and the CAS for outputs; it never decides where anything runs.
//!
//! - [`remote`] speaks to the scheduler and turns its messages into [`model`]; nothing else knows the wire.
//! - [`verdict`] and [`display`] are pure: values in, values and text out.
//! - [`follow`](mod@follow) and [`live`] show a run as it goes on; [`console`] is the only place that writes to stdout and stderr.
//! - `commands` has one file for each verb.

mod cli;
mod commands;
pub mod console;
pub mod coverage;
pub mod display;
pub mod failure;
pub mod follow;
pub mod interrupts;
pub mod json;
pub mod ledger;
pub mod live;
pub mod model;
pub mod output;
pub mod outputs;
mod publish;
pub mod remote;
pub mod report;
#[cfg(test)]
mod testing;
mod up;
pub mod verdict;

pub use cli::Cli;
pub use commands::run;
