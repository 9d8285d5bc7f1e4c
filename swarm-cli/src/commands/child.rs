//! `swarm child`: becomes another program that does not outlive `swarm up`, however that ends.

use clap::Args;
use runtime::Exit;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::{
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::Command,
};

/// Become a program that is asked to end when its parent has ended
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// Who started this
    #[arg(long, value_name = "PID")]
    parent: i32,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The words before those of the command itself, for children of this process.
pub(crate) fn words() -> [OsString; 3] {
    ["child".into(), format!("--parent={}", std::process::id()).into(), "--".into()]
}

/// Returns only when it fails.
pub(crate) fn child(args: ChildArgs) -> Exit {
    let Some((program, rest)) = args.command.split_first() else { return Exit::Usage };
    // The signal comes when the thread that started us ends: the main thread, which lives as long as its process.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        return refuse(program, &error.into(), Exit::Internal);
    }
    // It may have ended before.
    if getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(args.parent) {
        return Exit::Interrupted;
    }
    let error = Command::new(program).args(rest).exec();
    refuse(program, &error, Exit::Usage)
}

fn refuse(program: &OsStr, error: &io::Error, exit: Exit) -> Exit {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(io::stderr(), "error: cannot start {}: {error}", program.to_string_lossy());
    exit
}
