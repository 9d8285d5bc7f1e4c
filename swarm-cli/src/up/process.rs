//! One process: started, watched until it is ready, stopped with TERM, grace and KILL.

use crate::{commands::child, failure::TimedOut};
use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// A program is ready within this time; opening a large database takes a while.
const READY: Duration = Duration::from_secs(60);

/// How many last lines of a log are shown.
const LOG_LINES: usize = 20;

/// How much of a log is looked at for them.
const LOG_TAIL: u64 = 64 * 1024;

/// A program ended that should not have.
#[derive(Debug, thiserror::Error)]
#[error("{name} ended unexpectedly ({status}){}", shown(log_lines))]
pub(crate) struct EndedEarly {
    /// Which.
    pub(crate) name: String,
    /// How.
    pub(crate) status: ExitStatus,
    /// What it logged last.
    pub(crate) log_lines: String,
}

fn shown(log_lines: &str) -> String {
    if log_lines.is_empty() { String::new() } else { format!("; it logged last:\n{log_lines}") }
}

/// A running program of the swarm, in a process group of its own so that Ctrl-C reaches us alone.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Process {
    /// Starts `program`. Its stderr is the log file.
    pub(crate) fn start(
        name: &str,
        program: &Path,
        args: Vec<OsString>,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let stderr = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = command(program)?;
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("a process without stdout")?;
        Ok(Self { name: name.to_owned(), child, stdout: BufReader::new(stdout).lines(), log })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the line that says it is ready, and gives what follows `prefix`.
    pub(crate) async fn ready(&mut self, prefix: &str) -> anyhow::Result<String> {
        let line = match tokio::time::timeout(READY, self.first_line()).await {
            Ok(line) => line?,
            Err(_) => {
                anyhow::bail!(TimedOut(format!("{} is not ready after {} s", self.name, READY.as_secs())))
            }
        };
        match line.strip_prefix(prefix) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => anyhow::bail!("{} says `{line}`, not `{prefix}…`: is it of another version?", self.name),
        }
    }

    /// Waits until it says where it listens.
    pub(crate) async fn listening(&mut self) -> anyhow::Result<String> {
        self.ready(&format!("{} listening on ", self.name)).await
    }

    async fn first_line(&mut self) -> anyhow::Result<String> {
        match self.stdout.next_line().await.with_context(|| format!("cannot read what {} says", self.name))? {
            Some(line) => Ok(line),
            None => Err(self.ended().await?.into()),
        }
    }

    /// Waits for it to end, which it should not.
    pub(crate) async fn ended(&mut self) -> io::Result<EndedEarly> {
        // Nothing more is expected there, but a full pipe would stop it.
        while let Ok(Some(_)) = self.stdout.next_line().await {}
        let status = self.child.wait().await?;
        Ok(EndedEarly { name: self.name.clone(), status, log_lines: last_lines(&self.log) })
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        terminate(&self.child);
    }

    /// Waits for it to end, and ends it with all of its group when it takes longer than `grace`.
    pub(crate) async fn reap(&mut self, grace: Duration) {
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            self.kill();
            // Only a process that the kernel holds on to is not gone now; there is nothing more to be done about it.
            let _ = tokio::time::timeout(grace, self.child.wait()).await;
        }
    }

    /// Ends it and all of its group at once.
    pub(crate) fn kill(&self) {
        let _ = self.pid().map(|pid| kill_process_group(pid, Signal::KILL));
    }

    fn pid(&self) -> Option<Pid> {
        pid(&self.child)
    }
}

/// Runs `program` so that it gets a TERM when we end, even if that is by KILL.
fn command(program: impl Into<OsString>) -> anyhow::Result<Command> {
    let own = std::env::current_exe().context("cannot find the program that this is")?;
    let mut command = Command::new(own);
    command.args(child::words()).arg(program.into());
    Ok(command)
}

/// Asks a child to end.
pub(crate) fn terminate(child: &Child) {
    // It may have ended by itself.
    let _ = pid(child).map(|pid| kill_process(pid, Signal::TERM));
}

/// `None` once it was waited for.
fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

/// The user's own command, on our terminal and in our process group.
#[derive(Debug)]
pub(crate) struct Foreground {
    child: Child,
}

impl Foreground {
    /// Starts it with these variables.
    pub(crate) fn start(words: &[OsString], environment: &[(&str, String)]) -> anyhow::Result<Self> {
        let (program, args) = words.split_first().context("there is no command")?;
        let mut command = command(program)?;
        command.args(args).envs(environment.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child })
    }

    /// Waits for it to end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end, and ends it when it takes longer than `grace`.
    pub(crate) async fn stop(&mut self, grace: Duration) {
        let _ = pid(&self.child).map(|pid| kill_process(pid, Signal::TERM));
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            let _ = self.child.start_kill();
            let _ = tokio::time::timeout(grace, self.child.wait()).await;
        }
    }
}

/// The last lines of a log, as far as it can be read.
fn last_lines(log: &Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..]
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
