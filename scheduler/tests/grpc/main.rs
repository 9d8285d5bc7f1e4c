//! The scheduler over its protocol, in the test's own process.

#![expect(clippy::unwrap_used, reason = "tests may")]

mod main_path;
mod support;
