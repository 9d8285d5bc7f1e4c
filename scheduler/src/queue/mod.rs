//! The queue as a value: which runs there are, what state each shard is in, and which bot may take which shard.
//!
//! [`Queue::apply`] takes an event and a time and decides: it returns the [`Record`]s of the transitions that it made
//! and the [`Effect`]s that follow. Every transition, live or replayed, passes through `State::evolve`, so that the
//! state is always what its records replay to. Nothing here does I/O, reads a clock, draws a random number or waits.
//!
//! What is not in records is volatile and comes back by itself after a restart: which bots are there (they call), and
//! when leases expire (from the restart on, for a whole lease's life, in which nothing pending expires either).

mod apply;
mod cancel;
mod capacity;
mod children;
mod condition;
mod dedupe;
mod delete;
mod each_bot;
mod earlier;
mod elsewhere;
mod event;
mod explain;
mod items;
mod orders;
mod partitions;
mod pasts;
mod pending;
mod policy;
mod pool;
mod presence;
mod progress;
mod record;
mod roster;
mod run;
mod select;
mod shard;
mod sharing;
mod silent;
mod spec;
mod state;
mod suite;
mod suites;
mod synchronize;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tick;
mod trigger;
mod waiting;

pub(crate) use apply::{Queue, Tuning};
pub(crate) use condition::Condition;
pub(crate) use dedupe::Reuse;
pub(crate) use each_bot::EachBot;
pub(crate) use earlier::{After, Demand, Included, OutputOf, WaitingStep};
pub(crate) use event::{
    BotReport, CancelMode, Decided, Desired, Effect, Event, Held, LeaseRef, Refusal, Trigger,
};
pub(crate) use explain::{Obstacle, StepExplanation, Subject};
pub(crate) use items::Items;
pub(crate) use orders::{BotOrder, Standing, Wanted};
pub(crate) use pasts::PastExecution;
pub(crate) use policy::{FanOut, TestDriver, TestsPolicy};
pub(crate) use presence::Bot;
pub(crate) use progress::Progress;
pub(crate) use record::{Record, Transition};
pub(crate) use run::{Run, RunState, Tally};
pub(crate) use select::{BotState, MOST_LOOKED_AT, RunFilter};
pub(crate) use shard::{
    Attempt, AttemptEnd, AttemptResult, AttemptStats, Ending, Loss, Reused, Shard, ShardState, Token,
};
pub(crate) use sharing::{Grant, GrantedTest, WORKER_CALLS};
pub(crate) use spec::{BOT_KEY, RunSpec, SealedSecret, Slice, StepSpec, Timeouts};
pub(crate) use suite::{Listing, Place, Quarantined, Suite};
pub(crate) use tick::LONGEST_SILENCE;
pub(crate) use trigger::SliceEvaluation;
pub(crate) use waiting::{Offer, Waiting};
