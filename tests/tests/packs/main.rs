//! Suites that nobody here wrote, packed by `isolate pack` and run on bots that know nothing but a digest.
//!
//! `tests/setup/suites` fetches them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod cargo;
mod python;
mod support;
mod watched;
