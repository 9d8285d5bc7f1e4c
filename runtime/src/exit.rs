//! What the programs say to the shell.

use std::process::{ExitCode, Termination};

/// Exit codes of `isolate`, `swarm`, `cas-server`, `scheduler` and `bot`. They mean the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well; for `swarm run` and `swarm collect`: every shard passed.
    Success,
    /// The tests failed: every shard ran to its end or its timeout, and at least one did not pass.
    TestsFailed,
    /// The command line, a configuration file or an input file is wrong. The message says where.
    Usage,
    /// A blob, run, shard or bot of this name does not exist (any more).
    NotFound,
    /// A server cannot be reached or did not answer in time. Trying again may help.
    Unavailable,
    /// No space: a disk, a byte budget or a quota is full.
    NoSpace,
    /// The run has no verdict: shards were cancelled, expired, lost their bots or could not be set up, or
    /// reports that were asked for are missing.
    Incomplete,
    /// A defect or damage on our side: a file that cannot be read or written, an answer that makes no sense.
    Internal,
    /// Stopped by Ctrl-C.
    Interrupted,
    /// `isolate run` hands on the code of the command that it ran.
    Command(u8),
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::TestsFailed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Unavailable => 4,
            Self::NoSpace => 5,
            Self::Incomplete => 6,
            Self::Internal => 7,
            Self::Interrupted => 130,
            Self::Command(code) => code,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// The table of exit codes, for help texts.
pub const HELP: &str = "\
Exit codes:
  0    success
  1    tests failed
  2    wrong command line, configuration or input file
  3    not found: no such blob, run, shard or bot
  4    a server is unreachable or did not answer in time
  5    no space: a disk or a byte budget is full
  6    no verdict: shards were cancelled, expired or lost their bots, or reports are missing
  7    internal error
  130  interrupted";
