//! The scheduler over its protocol, in the test's own process.

#![expect(clippy::unwrap_used, reason = "tests may")]

mod bad_input;
mod bots;
mod cancel;
mod children;
mod dedupe;
mod delete;
mod earlier;
mod full_disk;
mod long_poll;
mod main_path;
mod output;
mod queries;
mod reflection;
mod restart;
mod secrets;
mod slices;
mod standby;
mod support;
mod watch;
