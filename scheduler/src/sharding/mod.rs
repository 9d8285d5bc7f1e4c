//! Tests of one step, spread over workers so that all end at the same moment and each test gets one verdict.
//!
//! Pure: no I/O, clock or randomness; times are arguments. A *worker* is a shard of the step; a bot runs an attempt of it.
//!
//! - `history` gives durations of earlier runs, `estimate` what each test will probably take, `plan` how many workers
//!   are worth their start and who begins with what.
//! - [`Shares`] (volatile): who will run what is not granted yet. Planned longest first, corrected by stealing, then by
//!   a bounded number of duplicates. After a restart it is planned anew from what the ledger says is open.
//! - [`Ledger`] (durable): what was granted and reported, and the one verdict of each listed test. It changes only by
//!   `grant`, `report` and `release`, so replaying these calls gives the same ledger.
//!
//! The loop of a step: `Shares::next` names a batch, `Ledger::grant` notes it. For each report `Shares::reported`, then
//! `Ledger::report`; what that answers with `Retry` goes to `Shares::give_back`. When an attempt is lost:
//! `Shares::leave`, and what `Ledger::release` returns goes to `Shares::give_back`. The step ends when
//! `Ledger::is_complete`; a test without a verdict is missing then.

mod breaker;
mod environment;
mod estimate;
mod history;
mod ledger;
mod plan;
mod shares;
#[cfg(test)]
mod tests;
mod types;

pub use breaker::Breaker;
pub(crate) use environment::environment;
pub use estimate::Estimates;
pub use history::{History, Past, SuiteKey, TimeoutLimits};
pub use ledger::{Accepted, Attempt, Budget, Counts, LeaseEnd, Ledger, ListError, Standing};
pub use plan::{Unit, partitions, plan, units, workers};
pub use shares::{Mode, Next, Settings, Shares};
pub use types::{ListedTest, TestIndex, TestOutcome, TestReport, Verdict, WorkerId};
