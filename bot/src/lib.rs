//! A bot: polls the scheduler for attempts, fetches what they need by digest, runs them and reports.
//!
//! - [`Config`] is what a bot is told, `host` what it finds out about its host, `hooks` what it asks the operator's programs,
//!   `health` whether it is fit for work.
//! - `synchronize` decides: pure, what to tell the scheduler, when, and what its answers mean. `remote` is the wire and
//!   `shell` performs: one call in flight, one task for each attempt.
//! - `task` is one attempt from its digest to its result. `executor` runs the command and leaves no process behind,
//!   `workdir` gives it directories and leaves no file behind, `spool` keeps its output until the scheduler has it, `record` its result.
//! - `sleeper` is a bot whose tests only sleep, for measuring the scheduler.
//! - `suite` is what is said of the tests of a suite, one by one; `drivers` are the conventions of their runners.
//!
//! A bot moves bytes between the CAS and its work directories; it never decides what should run.

mod attempt;
mod causes;
mod config;
mod drivers;
mod executor;
mod files;
mod health;
mod hooks;
mod host;
mod perform;
mod record;
mod remote;
mod shell;
mod sleeper;
mod spool;
mod suite;
mod synchronize;
mod task;
mod update;
mod workdir;

pub use config::{Config, Flags, SAMPLE, SandboxKind};
pub use executor::{CgroupError, SUPERVISE, supervise};
pub use hooks::HooksError;
pub use perform::{PERFORM, PerformError, Performance, Performed};
pub use shell::{Bot, BotError, Finish, Stop};
pub use sleeper::{Sleeper, Sleeps, Slept};
pub use update::{TRIAL, TRIAL_PATIENCE, Update, become_program};
pub use workdir::DataDirError;
