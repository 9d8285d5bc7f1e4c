//! The host that a bot runs on: what it is (`dimensions`), what state it is in (`state`), as far as Linux tells.

mod dimensions;
mod inspect;
mod state;

pub(crate) use dimensions::{Told, dimensions, told};
pub(crate) use inspect::{Host, free_bytes};
pub(crate) use state::{Bot, state};
