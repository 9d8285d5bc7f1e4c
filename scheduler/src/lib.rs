//! The scheduler: gives the shards of runs to whatever bots ask for work. It moves names, never bytes of blobs.

pub mod config;
#[expect(dead_code, reason = "until the shell uses it")]
mod queue;
mod server;
mod sharding;
#[expect(dead_code, reason = "until the shell uses it")]
mod wire;

pub use config::Config;
pub use server::{Running, StartError, start};
