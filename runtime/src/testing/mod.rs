//! What tests of several crates need. Panics, as tests do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "for tests")]

mod postgres;
mod small_disk;

pub use postgres::Postgres;
pub use small_disk::SmallDisk;
