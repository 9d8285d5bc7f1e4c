//! The scheduler: gives the shards of runs to whatever bots ask for work. It moves names, never bytes of blobs.

pub mod config;
mod server;

pub use config::Config;
pub use server::{Running, StartError, start};
