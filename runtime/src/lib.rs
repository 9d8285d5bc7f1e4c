//! What every program of ours needs to start, tell time, serve, call and stop.

pub mod clock;
pub mod config;
pub mod connect;
pub mod descriptors;
pub mod entropy;
pub mod exit;
pub mod latency;
pub mod memory;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
pub mod testing;

pub use clock::{Clock, ManualClock, SystemClock};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use exit::Exit;
pub use latency::Latency;
pub use shutdown::Shutdown;

/// The version that programs print and bots report.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
