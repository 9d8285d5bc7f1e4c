//! Starts a command and holds on to it: through a supervisor, or directly where there is none.

use super::{
    cgroup::Gate,
    processes::{kill_marked_below, kill_marked_or_in, start_when_closed},
    supervisor::{KILL, Order, SUPERVISE, TERMINATE, Verdict},
};
use crate::attempt::CommandExit;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{self, ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    task::JoinHandle,
};

/// The environment variable by which the processes of an attempt are found: it names the attempt's directory.
pub(crate) const MARKER: &str = "ISOSWARM_ATTEMPT_DIR";

/// The same for the supervisor of an attempt, which must not be killed before it has done its work.
pub(super) const SUPERVISED: &str = "ISOSWARM_SUPERVISED_DIR";

/// Longest that killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same, when nobody waits for the outcome.
const SHORT_PATIENCE: Duration = Duration::from_millis(500);

/// What to run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Command {
    /// An absolute path, or a name to be looked up in the environment's `PATH`.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// All of it. Holds [`MARKER`].
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) directory: PathBuf,
    /// Where its stdout goes, which otherwise goes where its stderr does, and what it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<Files>,
    /// The ways into the control groups that it is born in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gates: Vec<Gate>,
    /// What is run is the sandbox around it: when that ends nothing of it is left, so that only what is in there is asked
    /// to end.
    #[serde(default)]
    pub(crate) sandboxed: bool,
}

/// Files of a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Files {
    /// Nothing, when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stdin: Option<PathBuf>,
    /// To be made.
    pub(crate) stdout: PathBuf,
}

impl Command {
    /// The command with its output going to `output`.
    pub(super) fn to_run(&self, output: &OwnedFd) -> io::Result<process::Command> {
        let mut command = process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .process_group(0);
        match &self.files {
            Some(files) => command.stdout(File::create(&files.stdout)?),
            None => command.stdout(output.try_clone()?),
        };
        if let Some(stdin) = self.files.as_ref().and_then(|files| files.stdin.as_ref()) {
            command.stdin(File::open(stdin)?);
        }
        Ok(command)
    }
}

/// Why there is no exit to tell.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command cannot be started.
    NotStarted(io::Error),
    /// The supervisor ended early. Nothing is left of the command.
    Bereft(ExitStatus),
    /// Nothing is known of the command, or processes cannot be killed.
    Lost(io::Error),
}

/// How a command ended, after all that it started was gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) exit: CommandExit,
    /// Processes that it left behind, all killed.
    pub(super) leaked: usize,
}

/// A command that was started. Dropping it kills the command and all that it started.
#[derive(Debug)]
pub(super) enum Running {
    Supervised { child: Child, control: ChildStdin, verdict: Lines<BufReader<ChildStdout>>, home: PathBuf },
    Direct(Direct),
}

impl Running {
    /// Starts `command` with stdout and stderr going to `output`, which nobody else holds when this returns.
    pub(super) async fn start(
        command: &Command,
        supervisor: Option<&Path>,
        output: OwnedFd,
    ) -> Result<Self, Failure> {
        match supervisor {
            Some(program) => Self::supervised(program, command, output).await.map_err(Failure::Lost),
            None => Direct::start(command, output).map(Self::Direct).map_err(Failure::NotStarted),
        }
    }

    async fn supervised(supervisor: &Path, command: &Order, output: OwnedFd) -> io::Result<Self> {
        let home = home(command);
        let mut child = tokio::process::Command::new(supervisor)
            .arg(SUPERVISE)
            .env_clear()
            .env(SUPERVISED, &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .process_group(0)
            .spawn()?;
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let mut control = child.stdin.take().ok_or_else(closed)?;
        let verdict = BufReader::new(child.stdout.take().ok_or_else(closed)?).lines();
        let mut order = serde_json::to_vec(command)?;
        order.push(b'\n');
        control.write_all(&order).await?;
        Ok(Self::Supervised { child, control, verdict, home })
    }

    /// Ends when nothing is left of the command. May be dropped and called again until it has ended once.
    pub(super) async fn ended(&mut self) -> Result<Ended, Failure> {
        match self {
            Self::Supervised { child, verdict, home, .. } => {
                let Some(line) = verdict.next_line().await.map_err(Failure::Lost)? else {
                    let status = child.wait().await.map_err(Failure::Lost)?;
                    kill_marked(home.clone()).await.map_err(Failure::Lost)?;
                    return Err(Failure::Bereft(status));
                };
                // It has nothing more to do than to exit; the runtime reaps it.
                match serde_json::from_str(&line).map_err(|error| Failure::Lost(error.into()))? {
                    Verdict::NotStarted(errno) => {
                        Err(Failure::NotStarted(io::Error::from_raw_os_error(errno)))
                    }
                    Verdict::Ended { exit, leaked, stuck: 0 } => Ok(Ended { exit, leaked }),
                    Verdict::Ended { stuck, .. } => {
                        Err(Failure::Lost(io::Error::other(format!("{stuck} processes cannot be killed"))))
                    }
                }
            }
            Self::Direct(direct) => direct.ended().await,
        }
    }

    /// Asks the command to end.
    pub(super) async fn terminate(&mut self) {
        match self {
            // An error means that the supervisor is gone, which `ended` tells.
            Self::Supervised { control, .. } => drop(control.write_all(&[TERMINATE]).await),
            Self::Direct(direct) => direct.signal(Signal::TERM),
        }
    }

    /// Ends the command and all that it started.
    pub(super) async fn kill(&mut self) {
        match self {
            Self::Supervised { control, .. } => drop(control.write_all(&[KILL]).await),
            Self::Direct(direct) => direct.signal(Signal::KILL),
        }
    }
}

/// The directory that the command's marker names.
fn home(command: &Command) -> PathBuf {
    command.environment.get(MARKER).map_or_else(|| command.directory.clone(), PathBuf::from)
}

async fn kill_marked(home: PathBuf) -> io::Result<usize> {
    let killed = tokio::task::spawn_blocking(move || kill_marked_below(&home, PATIENCE));
    killed.await.map_err(io::Error::other)?
}

/// A child of the bot's own process, in a process group of its own. What detaches from it is found by its marker.
#[derive(Debug)]
pub(super) struct Direct {
    child: Child,
    /// The command's process group, which may outlive it.
    group: Pid,
    home: PathBuf,
    /// Ends what the command left, once it has ended.
    clearing: Option<JoinHandle<io::Result<usize>>>,
}

impl Direct {
    fn start(command: &Command, output: OwnedFd) -> io::Result<Self> {
        if !command.gates.is_empty() || command.sandboxed {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "limits and sandboxes need a supervisor"));
        }
        let start = || tokio::process::Command::from(command.to_run(&output)?).spawn();
        let child = start_when_closed(start)?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = group.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Self { child, group, home: home(command), clearing: None })
    }

    async fn ended(&mut self) -> Result<Ended, Failure> {
        let status = self.child.wait().await.map_err(Failure::Lost)?;
        let (home, group) = (self.home.clone(), Some(self.group));
        // Kept, because this may be called again: the first one knows how many there were.
        let clear = || tokio::task::spawn_blocking(move || kill_marked_or_in(&home, group, PATIENCE));
        let cleared = self.clearing.get_or_insert_with(clear).await;
        let leaked = cleared.map_err(io::Error::other).flatten().map_err(Failure::Lost)?;
        Ok(Ended { exit: exit(status), leaked })
    }

    fn signal(&self, signal: Signal) {
        // No number any more: the command has ended and was reaped.
        if self.child.id().is_some() {
            // An error means that the group is gone.
            let _ = kill_process_group(self.group, signal);
        }
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // Nobody is left to tell of a failure.
        let _ = kill_marked_or_in(&self.home, Some(self.group), SHORT_PATIENCE);
    }
}

fn exit(status: ExitStatus) -> CommandExit {
    match status.signal() {
        Some(signal) => CommandExit::Signal(signal),
        None => CommandExit::Code(status.code().unwrap_or(-1)),
    }
}
