//! A whole swarm on one machine, as real processes.
//!
//! Owns the processes: it starts them in order (CAS, scheduler, bots), notices when one ends, and stops them in the
//! opposite order. It never restarts one: a swarm that lost a part says so and stops.

mod layout;
mod process;
mod programs;
mod swarm;

pub(crate) use layout::{Layout, Storage};
pub(crate) use process::{EndedEarly, Foreground, Process, terminate};
pub(crate) use programs::{Programs, program};
pub(crate) use swarm::{Plan, Swarm};
