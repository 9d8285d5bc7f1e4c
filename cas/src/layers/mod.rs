//! Stores around stores, each adding one behaviour.

mod retrying;
mod verified;

pub use retrying::{Patience, Retrying};
pub use verified::Verified;
pub(crate) use verified::checked;
