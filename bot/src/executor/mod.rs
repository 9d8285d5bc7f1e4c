//! Runs commands of attempts and leaves no process behind.
//!
//! - `supervisor` is a process of its own between the bot and each command: whatever the command starts becomes its
//!   descendant, however it detaches, and is killed when the command has ended, when the bot asks, or when the bot dies.
//! - `launch` starts a command, through a supervisor or directly; `processes` finds and signals processes.
//! - `memory` tells whether the kernel killed for lack of memory.
//! - `execute` holds a command to its limits: hard and I/O timeout, a request to stop. `watch` decides when to send
//!   TERM and, after the grace period, KILL.

mod execute;
mod launch;
mod memory;
mod processes;
mod supervisor;
mod watch;

pub(crate) use execute::{ExecuteError, Execution, Executor, Interruption};
pub(crate) use launch::{Command, MARKER};
pub(crate) use processes::kill_marked_below;
pub use supervisor::{SUPERVISE, supervise};
pub(crate) use watch::Cause;

#[cfg(test)]
mod tests;
