//! Everything that can go, goes, again and again, while runs go on.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may unwrap, also in their helpers")]

mod cuts;
mod kills;
mod user;
