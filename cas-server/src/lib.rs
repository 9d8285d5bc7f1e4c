//! `cas-server`: the content-addressable store behind a socket.
//!
//! - [`engine`] keeps the blobs: durable, verified, within a byte budget.
//! - `service` speaks for it: the Remote Execution API over gRPC, plain HTTP beside it on the same port.
//! - [`start`] puts the two together under a [`Config`].

mod config;
pub mod engine;
#[doc(hidden)]
pub mod fuzzing;
mod key_prefix;
mod running;
mod service;

pub use config::{Config, Flags, SAMPLE};
pub use key_prefix::{KeyPrefix, KeyPrefixError};
pub use running::{Running, StartError, start};
pub use service::explanation;
