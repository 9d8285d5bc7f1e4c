//! Runs commands of attempts and leaves no process behind.
//!
//! - `supervisor` is a process of its own between the bot and each command: whatever the command starts becomes its
//!   descendant, however it detaches, and is killed when the command has ended, when the bot asks, or when the bot dies.
//! - `launch` starts a command, through a supervisor or directly; `processes` finds and signals processes.
//! - `cgroup` limits what an attempt may use; `sandbox` what it sees and reaches.
//! - `memory` tells whether the kernel killed for lack of memory.
//! - `execute` holds a command to its limits: hard and I/O timeout, a request to stop. `watch` decides when to send
//!   TERM and, after the grace period, KILL.

mod cgroup;
mod execute;
mod launch;
mod memory;
mod processes;
mod sandbox;
mod supervisor;
mod watch;

pub use cgroup::CgroupError;
pub(crate) use cgroup::{Cgroups, Limits};
pub(crate) use execute::{ExecuteError, Execution, Executor, Interruption};
pub(crate) use launch::{Command, Files, MARKER};
pub(crate) use processes::kill_marked_below;
pub(crate) use sandbox::Sandbox;
pub use supervisor::{SUPERVISE, supervise};
pub(crate) use watch::Cause;

#[cfg(test)]
mod tests;
