//! The scheduler: gives the shards of runs to whatever bots ask for work. It moves names, never bytes of blobs.
//!
//! - `queue`: the decisions, as a value; `sharding`: how shards are told apart. Both pure.
//! - `journal`: what was decided and printed, durable.
//! - `outputs`: whether the CAS still has what shards left.
//! - `shell`: the one task that owns the queue.
//! - `vault`: secrets of runs, sealed.
//! - `service`: the protocol, one file for each verb; `wire`: its messages and the queue's values.

pub mod config;
mod journal;
mod metrics;
mod outputs;
mod pools;
mod programs;
mod queue;
mod server;
mod service;
pub mod sharding;
mod shell;
mod vault;
mod wire;

pub use config::Config;
pub use journal::{PostgresUrl, PostgresUrlError};
pub use pools::{NoShareBy, Order, Pool, ShareBy};
pub use programs::ProgramError;
pub use server::{Running, StartError, Stopped, start};
pub use vault::KeyError;
