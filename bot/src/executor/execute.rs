//! Runs one command within its limits, its output going to a spool.

use super::{
    Cause, Command, Sandbox,
    cgroup::{Cgroup, Cgroups},
    launch::{Ended, Failure, Running},
    memory::OomKills,
    sandbox,
    watch::{Step, Watch},
};
use crate::{
    attempt::{CommandExit, Timeouts},
    spool::Spool,
};
use runtime::Clock;
use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::unix::pipe,
    sync::{mpsc, watch},
};

/// How long the end of the output may take after every writer was killed.
const DRAIN: Duration = Duration::from_secs(2);

/// What somebody wants of a running attempt. Only ever goes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Interruption {
    /// That it goes on.
    #[default]
    None,
    /// That it ends with TERM, grace, KILL.
    Kill,
    /// That it is gone: nobody will ask for its result.
    Abandon,
}

/// Runs commands.
#[derive(Clone, Debug)]
pub(crate) struct Executor {
    /// See [`crate::Config::supervisor`].
    pub(crate) supervisor: Option<PathBuf>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Limits for each command.
    pub(crate) cgroups: Option<Arc<Cgroups>>,
    pub(crate) sandbox: Option<Sandbox>,
    /// An end that is taken for one for lack of memory.
    #[cfg(test)]
    pub(crate) starved: Option<CommandExit>,
}

/// A command that was run, of which nothing is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Execution {
    pub(crate) exit: CommandExit,
    /// A signal ended the process itself: in a sandbox that may have been one of what ran in it.
    pub(crate) signalled: bool,
    pub(crate) cause: Cause,
    /// Processes that it left behind, all killed.
    pub(crate) leaked: usize,
    pub(crate) took: Duration,
    /// The kernel killed it, or something of it, for lack of memory.
    pub(crate) out_of_memory: bool,
}

/// Why there is no exit to tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    /// The command cannot be started: there is no such file, it is not executable. The bot is fine.
    #[error("cannot start `{}`: {source}{}", program.display(), remedy(program, source))]
    NotStarted { program: PathBuf, source: io::Error },
    /// The bot could not do its part.
    #[error("cannot run `{}`: {source}", program.display())]
    Failed { program: PathBuf, source: io::Error },
}

impl Executor {
    /// One that neither limits nor hides anything.
    pub(crate) fn plain(supervisor: Option<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            supervisor,
            clock,
            cgroups: None,
            sandbox: None,
            #[cfg(test)]
            starved: None,
        }
    }

    /// Runs `command` to its end, whatever brings that about.
    pub(crate) async fn run(
        &self,
        command: &Command,
        timeouts: Timeouts,
        spool: &Arc<Spool>,
        interruption: &mut watch::Receiver<Interruption>,
    ) -> Result<Execution, ExecuteError> {
        self.run_tapped(command, timeouts, spool, None, interruption).await
    }

    /// The same, with a copy of the output to `tap` as it comes.
    pub(crate) async fn run_tapped(
        &self,
        command: &Command,
        timeouts: Timeouts,
        spool: &Arc<Spool>,
        tap: Option<mpsc::Sender<Vec<u8>>>,
        interruption: &mut watch::Receiver<Interruption>,
    ) -> Result<Execution, ExecuteError> {
        let failed = |source| ExecuteError::Failed { program: command.program.clone(), source };
        let (reader, writer) = io::pipe().map_err(failed)?;
        let pipe = pipe::Receiver::from_owned_fd(reader.into()).map_err(failed)?;
        let began = self.clock.elapsed();
        let cgroup = self.cgroups.as_ref().map(|cgroups| cgroups.create()).transpose().map_err(failed)?;
        let mut order = match &self.sandbox {
            Some(sandbox) => sandbox.around(command),
            None => command.clone(),
        };
        order.gates = cgroup.as_ref().map(Cgroup::gates).unwrap_or_default();
        let kills = OomKills::of(cgroup.as_ref().and_then(Cgroup::counter));
        let before = kills.count();
        spool.touch();
        let ended = async {
            let running = Running::start(&order, self.supervisor.as_deref(), writer.into()).await?;
            let fill = Arc::clone(spool).fill(pipe, tap);
            self.watch(running, fill, timeouts, spool, interruption).await
        };
        match ended.await {
            Ok((Ended { exit, leaked }, cause)) => {
                let took = self.clock.elapsed().saturating_sub(began);
                let signalled = matches!(exit, CommandExit::Signal(_));
                let exit = if order.sandboxed { sandbox::within(exit) } else { exit };
                let explained = kills.explain(&before, exit);
                #[cfg(test)]
                let explained = explained || self.starved == Some(exit);
                let out_of_memory = cause == Cause::Itself && explained;
                Ok(Execution { exit, signalled, cause, leaked, took, out_of_memory })
            }
            Err(Failure::NotStarted(source)) if is_of_the_host(&source) => Err(failed(source)),
            Err(Failure::NotStarted(source)) => {
                Err(ExecuteError::NotStarted { program: command.program.clone(), source })
            }
            // While it starts a command a supervisor is in the group of that, and may be killed in its place.
            Err(Failure::Bereft(status)) if kills.were_of_the_command() => {
                let took = self.clock.elapsed().saturating_sub(began);
                let exit = status.signal().map_or(CommandExit::Code(1), CommandExit::Signal);
                let signalled = matches!(exit, CommandExit::Signal(_));
                Ok(Execution { exit, signalled, cause: Cause::Itself, leaked: 0, took, out_of_memory: true })
            }
            Err(Failure::Bereft(status)) => {
                Err(failed(io::Error::other(format!("its supervisor ended early: {status}"))))
            }
            Err(Failure::Lost(source)) => Err(failed(source)),
        }
    }

    async fn watch(
        &self,
        mut running: Running,
        fill: impl Future<Output = io::Result<()>>,
        timeouts: Timeouts,
        spool: &Spool,
        interruption: &mut watch::Receiver<Interruption>,
    ) -> Result<(Ended, Cause), Failure> {
        let mut watch = Watch::new(timeouts, self.clock.elapsed());
        let mut fill = pin!(fill);
        let mut filled = false;
        let ended = loop {
            let now = self.clock.elapsed();
            let wanted = *interruption.borrow_and_update();
            match watch.step(now, spool.latest(), wanted) {
                Some(Step::Terminate) => running.terminate().await,
                Some(Step::Kill) => running.kill().await,
                Some(Step::GiveUp) => {
                    return Err(Failure::Lost(io::Error::other("it was killed and does not end")));
                }
                None => {
                    let wake = watch.wake(spool.latest()).saturating_sub(now);
                    tokio::select! {
                        ended = running.ended() => break ended?,
                        read = &mut fill, if !filled => filled = note(read),
                        // An error means that nobody can interrupt any more.
                        Ok(()) = interruption.changed() => {}
                        () = self.clock.sleep(wake) => {}
                    }
                }
            }
        };
        if !filled && tokio::time::timeout(DRAIN, fill).await.map(note).is_err() {
            tracing::warn!("the output is still open although every process was killed");
        }
        Ok((ended, watch.cause()))
    }
}

/// What the author of the command can do about it, if that is known.
fn remedy(program: &Path, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound if program.is_absolute() => {
            ": is it among the files of the input, and its interpreter on the bot?"
        }
        io::ErrorKind::NotFound => {
            ": it is not in the bot's PATH; a program among the files of the input is written with a slash, `./name`"
        }
        io::ErrorKind::PermissionDenied => ": make it executable and archive again",
        _ => "",
    }
}

fn note(read: io::Result<()>) -> bool {
    if let Err(error) = read {
        tracing::warn!(%error, "cannot read the output");
    }
    true
}

/// Whether the host lacks memory or processes, rather than that the command cannot be run.
fn is_of_the_host(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let host = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::IO];
    error.raw_os_error().is_none_or(|raw| host.iter().any(|errno| errno.raw_os_error() == raw))
}
