//! Test reports: parsed from what shards leave, or made from the scheduler's ledger where it shares tests out, merged
//! into one, written as JUnit and JSON. Pure.
//!
//! Every test has one result in the merged report, and every shard that owes results and has none is an error in it: a
//! report is green only when nothing is missing.

mod case;
mod chromium;
mod json;
mod junit;
mod ledger;
mod merge;
mod owed;
mod parse;
#[cfg(test)]
mod schema;
mod workers;

pub use case::{Problem, ProblemKind, Status, TestCase};
pub use chromium::ChromiumJson;
pub use json::{ReportJson, TestJson};
pub use junit::junit;
pub use merge::{Report, ReportFile, ShardReports, Suite, Totals, merge};
pub use parse::{Parsed, parse};
pub use workers::LostOutputs;
