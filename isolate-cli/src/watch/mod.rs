//! Who knows what changed below a directory, so that archiving it again need not look at each file, as git's fsmonitor and
//! Watchman do: a process of its own (`isolate watch`) that the kernel tells of each change, and that tells others.
//!
//! The kernel queues an event before the call that changed something returns. So whoever asks is told of all that happened
//! before, if the queue is read after the question came. A directory is watched before it is listed; of one that comes, all that
//! is in it counts as changed. Where anything is not certain (the queue ran over, too much changed, another process
//! gave the token), everything may have changed.
//!
//! - [`journal`] and [`watches`] are what is known, and [`events`] what the kernel says: pure.
//! - [`watched`] is a tree that is watched, with directories that [`below`] opens; [`serve`] answers questions about it, [`ask`] asks them, by way of [`place`] and
//!   [`message`].
//!
//! Not told, because the kernel does not: what is written through a shared mapping once the file was closed, by another name of
//! the file (a hard link) or by another machine, and what a mount that comes later puts in the
//! place of a directory.

mod ask;
mod below;
mod events;
mod journal;
mod message;
mod place;
mod serve;
#[cfg(test)]
mod tests;
mod watched;
mod watches;

pub use ask::Watcher;
pub(crate) use message::Status;
pub(crate) use place::Place;
pub(crate) use serve::{Ending, Serving};
pub use watched::WatchError;
pub(crate) use watched::Watched;
