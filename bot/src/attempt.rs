//! What the scheduler hands out and what comes back for it: always valid, whatever was on the wire.

use crate::suite::TestsOrder;
use cas::tree::Graft;
use proto::{Digest, EnvironmentPrefix, NamedCache, RelPath, Secret, ShardId};
use std::{fmt, time::Duration};

/// The right to execute one attempt. The token fences: no two leases are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lease {
    pub(crate) shard: ShardId,
    pub(crate) attempt: u32,
    pub(crate) token: u64,
}

/// What to do under a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Of an `.isolated` manifest. None: there is none but `includes`.
    pub(crate) input: Option<Digest>,
    /// What earlier steps have left, laid out beside it.
    pub(crate) includes: Vec<Graft>,
    /// Replaces the manifest's command when not empty.
    pub(crate) command: Vec<String>,
    pub(crate) extra_args: Vec<String>,
    /// An empty value unsets.
    pub(crate) environment: Vec<(String, String)>,
    /// What comes first in variables such as `PATH`, in order.
    pub(crate) environment_prefixes: Vec<EnvironmentPrefix>,
    /// Relative to the root of the input.
    pub(crate) outputs: Vec<RelPath>,
    /// Directories that are kept from one attempt to the next.
    pub(crate) named_caches: Vec<NamedCache>,
    pub(crate) timeouts: Timeouts,
    /// For the command alone.
    pub(crate) secret: Option<Secret>,
    /// Set when the command is the runner of a suite whose tests are handed out one by one.
    pub(crate) tests: Option<TestsOrder>,
}

/// How long a command may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// The whole command; where tests are handed out, making their list.
    pub(crate) hard: Duration,
    /// Longest silence on its output.
    pub(crate) io: Option<Duration>,
    /// Between TERM and KILL.
    pub(crate) grace: Duration,
}

/// Why an assignment cannot be carried out as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid assignment: {reason}")]
pub(crate) struct Refused {
    pub(crate) reason: String,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttemptResult {
    pub(crate) ending: Ending,
    /// Set when the command was started and seen to end.
    pub(crate) exit: Option<CommandExit>,
    /// Why, in words. Empty when there is nothing to say.
    pub(crate) message: String,
    /// Of an `.isolated` manifest of the outputs, if there were any.
    pub(crate) outputs: Option<Digest>,
    pub(crate) stats: Stats,
    /// The kernel killed for lack of memory.
    pub(crate) out_of_memory: bool,
}

impl AttemptResult {
    /// One that ended before its command was started.
    pub(crate) fn unstarted(ending: Ending, message: String) -> Self {
        Self { ending, exit: None, message, outputs: None, stats: Stats::default(), out_of_memory: false }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// The command ran to its end, whatever its exit code.
    Completed,
    /// The hard or the I/O timeout ended it.
    TimedOut,
    /// The scheduler asked for its end.
    Killed,
    /// The input cannot be had or cannot be run. Another bot would not fare better.
    ClientError,
    /// The bot could not do its part.
    InternalError,
}

impl Ending {
    /// As hooks are told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::TimedOut => "timed-out",
            Self::Killed => "killed",
            Self::ClientError => "client-error",
            Self::InternalError => "internal-error",
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CommandExit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl CommandExit {
    /// The exit code as shells give it: 128 + signal when a signal ended the command.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// The signal that ended the command.
    pub(crate) fn signal(self) -> Option<i32> {
        match self {
            Self::Code(_) => None,
            Self::Signal(signal) => Some(signal),
        }
    }
}

impl fmt::Display for CommandExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match SIGNALS.iter().find(|(number, _)| number == signal) {
                Some((_, name)) => write!(f, "signal {signal} ({name})"),
                None => write!(f, "signal {signal}"),
            },
        }
    }
}

/// Those by which programs end, as Linux numbers them on every processor that it has bots for.
const SIGNALS: [(i32, &str); 12] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (15, "SIGTERM"),
];

/// Where an attempt's time and bytes went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) fetch: Duration,
    pub(crate) run: Duration,
    pub(crate) upload: Duration,
    /// Fetched from the CAS.
    pub(crate) cold_items: u64,
    pub(crate) cold_bytes: u64,
    /// Found in the bot's cache.
    pub(crate) hot_items: u64,
    pub(crate) hot_bytes: u64,
    /// Output bytes that the CAS did not have.
    pub(crate) uploaded_bytes: u64,
}
