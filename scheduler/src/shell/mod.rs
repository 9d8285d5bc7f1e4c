//! The shell around the queue: one task that owns it, receives commands over one bounded channel, applies them,
//! appends what was decided to the journal and then tells whoever waits.
//!
//! Nothing is told before it is durable: every answer is a release of the batch that goes to the journal's writer, and
//! the queue goes on deciding meanwhile. Calls that come within a moment share a batch. When the journal fails, the state in memory may be ahead of it; then the
//! engine is dropped with all its answers, and a new one is opened from what is durable.

mod engine;
mod handle;
mod monotonic;
mod parked;
mod runs;
mod supervisor;
mod synchronize;
mod tails;
#[cfg(test)]
mod tests;
mod watchers;

pub(crate) use handle::{CallError, Canceled, CanceledRuns, Handle, Updates};
pub(crate) use supervisor::{Health, Settings, Shell};
pub(crate) use tails::Tail;
pub(crate) use watchers::{TestsView, Update};
