//! The program as it is called: what it prints and how it exits.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests may, also in their helpers")]

mod cli;
mod fake;
mod fake_tests;
mod fan_out;
mod signals;
mod terminal;
mod tests;
mod up;
