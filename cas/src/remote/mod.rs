//! Blobs on a server that speaks the Remote Execution API.
//!
//! One digest function per request, no `GetCapabilities`: round trips are counted, and the limits in `proto::limits`
//! are below what every server of note takes. Batches are verified here; streams are handed on as they come, and
//! [`Verified`](crate::layers::Verified) checks them above [`Retrying`](crate::layers::Retrying), which may have put
//! them together from several reads.

mod batch;
mod broken;
mod headers;
mod parts;
mod reading;
mod resource;
mod store;
#[cfg(test)]
mod tests;
mod writing;

pub use headers::{Header, Headers};
pub use store::RemoteStore;
