//! What tests of stores, and of those who use them, are made of. Panics where a test should fail.
#![expect(clippy::unwrap_used, reason = "for tests only")]

pub mod conformance;
mod faulty;
mod fixtures;
mod recording;

pub use faulty::Faulty;
pub use fixtures::{noise, stream_of};
pub use recording::{Call, Recording};
