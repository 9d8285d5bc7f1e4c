//! What the tests across crates share: our real programs as processes, a proxy that cuts connections, and suites
//! whose every line of output is known beforehand.
//!
//! Nothing here is part of the product. Helpers panic with a message that says what was expected, as tests do.
#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

pub mod conformance;
mod http;
mod program;
mod proxy;
mod suite;
mod system;
mod wait;

pub use http::{http, try_http};
pub use program::{Finished, Program, binary, processes_below};
pub use proxy::Proxy;
pub use suite::Suite;
pub use system::{System, calls_since};
pub use wait::{eventually, soon};
