//! A work item's command, here and now, in a copy that goes away afterwards.

use crate::{
    Error,
    download::{check_vacant, laid_out, tree_in},
    left_behind,
    scratch::Scratch,
};
use cas::{BlobStore, Monitor, disk::DiskCache, isolated::Isolated, named::NamedCaches, tree::Fetched};
use proto::{Digest, NamedCache};
use runtime::{Clock, Exit, Shutdown};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, fs,
    io::{self, IsTerminal as _},
    mem,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

/// The name that commands and environments know their directory for outputs by.
const OUTDIR: &str = "ISOLATED_OUTDIR";

/// How long a command may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(30);

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Follows the command of the manifest, or is the command if the manifest has none.
    pub extra_args: Vec<String>,
    /// Where `${ISOLATED_OUTDIR}` is, a new or an empty directory; by default one that goes away.
    pub outdir: Option<PathBuf>,
    /// Where the copy is made; by default the system's directory for temporary files.
    pub work_dir: Option<PathBuf>,
    /// Directories that are kept between runs, and where; the copy is then made beside them by default.
    pub named_caches: Option<(NamedCaches, Vec<NamedCache>)>,
}

/// A work item that is laid out and ready to start. Goes away when dropped.
#[derive(Debug)]
pub struct Prepared {
    program: String,
    command: Command,
    /// Before the tree: they move out of it when the run is over.
    caches: Option<InstalledCaches>,
    /// The tree, and the directory for outputs if nobody named another.
    scratch: Scratch,
}

/// Fetches the work item and lays it out.
pub async fn prepare(
    store: &dyn BlobStore,
    cache: &DiskCache,
    digest: Digest,
    options: &RunOptions,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> Result<Prepared, Error> {
    options.outdir.as_deref().map_or(Ok(()), check_vacant)?;
    let beside = options.named_caches.as_ref().map(|(named, _)| named.work_dir());
    let work_dir = options.work_dir.clone().or(beside).unwrap_or_else(env::temp_dir);
    let scratch = Scratch::create(&work_dir)?;
    let (scratch, Fetched { isolated, .. }) =
        laid_out(store, cache, digest, scratch, monitor, shutdown).await?;
    if shutdown.is_requested() {
        return Err(Error::Interrupted);
    }
    let caches = match &options.named_caches {
        Some((named, wanted)) => Some(InstalledCaches::install(named, wanted, &tree_in(&scratch))?),
        None => None,
    };
    let outdir = options.outdir.clone().unwrap_or_else(|| scratch.path().join("out"));
    let made = fs::create_dir_all(&outdir).and_then(|()| fs::canonicalize(&outdir));
    let outdir = made.map_err(|error| Error::io(&outdir, error))?;
    let (program, command) = command(&isolated, &options.extra_args, &tree_in(&scratch), &outdir)
        .ok_or(Error::NoCommand { digest })?;
    Ok(Prepared { program, command, caches, scratch })
}

impl Prepared {
    /// Runs the command with our own input and output. Tells how it ended: with its own exit code, or 128 and the number of
    /// the signal that killed it. What it left behind is killed before the tree goes away; that this cannot be done is an
    /// error where the command itself has none.
    pub async fn run(mut self, clock: &dyn Clock) -> Result<Exit, Error> {
        left_behind::adopt().map_err(|error| Error::io("the processes of the command", error))?;
        // Before there is a command that could miss one.
        let signals = Signals::listen().map_err(|error| Error::io("signal handlers", error))?;
        let child = self.command.spawn().map_err(|source| {
            let (program, hint) = (self.program.clone(), hint(&self.program, &source));
            Error::Start { program, hint, source }
        })?;
        let status = wait(child, signals, clock).await.map_err(|error| Error::io(&self.program, error))?;
        let cleaned = self.clean_up(clock).await;
        if let (Err(error), false) = (&cleaned, status.success()) {
            tracing::warn!(%error, "not everything that the command left could be removed");
        } else {
            cleaned?;
        }
        Ok(Exit::Command(code(status)))
    }

    async fn clean_up(self, clock: &dyn Clock) -> Result<(), Error> {
        let Self { program, caches, scratch, .. } = self;
        let killed = left_behind::kill(clock).await.map_err(|error| Error::io(&program, error))?;
        if killed > 0 {
            tracing::warn!(killed, "the command left processes behind");
        }
        caches.map_or(Ok(()), InstalledCaches::uninstall)?;
        scratch.close()
    }
}

/// Named caches in a tree. They go back when dropped.
#[derive(Debug)]
struct InstalledCaches {
    named: NamedCaches,
    wanted: Vec<NamedCache>,
    tree: PathBuf,
}

impl InstalledCaches {
    fn install(named: &NamedCaches, wanted: &[NamedCache], tree: &Path) -> Result<Self, Error> {
        named.install_all(wanted, tree)?;
        Ok(Self { named: named.clone(), wanted: wanted.to_vec(), tree: tree.to_owned() })
    }

    fn uninstall(mut self) -> Result<(), Error> {
        let wanted = mem::take(&mut self.wanted);
        Ok(self.named.uninstall_all(&wanted, &self.tree)?)
    }
}

impl Drop for InstalledCaches {
    fn drop(&mut self) {
        if let Err(error) = self.named.uninstall_all(&self.wanted, &self.tree) {
            tracing::warn!(%error, "named caches are lost");
        }
    }
}

/// The command's first word as written, and the process to start. `None` without a command.
fn command(
    isolated: &Isolated,
    extra_args: &[String],
    tree: &Path,
    outdir: &Path,
) -> Option<(String, Command)> {
    let text = outdir.to_string_lossy();
    // What programs are called with on other systems: nothing here.
    let put_in =
        |arg: &String| arg.replace(&format!("${{{OUTDIR}}}"), &text).replace("${EXECUTABLE_SUFFIX}", "");
    let mut words = isolated.command.iter().chain(extra_args).map(put_in);
    let program = words.next()?;
    let cwd = isolated.relative_cwd.as_ref().map_or(tree.to_owned(), |cwd| tree.join(cwd.as_path()));
    // With a slash it is relative to where the command starts; without one it is looked up in PATH.
    let path = if program.contains('/') { cwd.join(&program) } else { PathBuf::from(&program) };
    let mut command = Command::new(path);
    command.args(words).current_dir(cwd).env(OUTDIR, outdir).kill_on_drop(true);
    Some((program, command))
}

fn hint(program: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') => {
            ": is it among the files, and its interpreter on this machine?"
        }
        io::ErrorKind::NotFound => {
            ": it is not in PATH; a program among the files is written with a slash, `./name`"
        }
        io::ErrorKind::PermissionDenied => ": is it executable?",
        _ => "",
    }
}

/// Requests to stop.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

/// Until the command ends. Hands on the first SIGTERM or SIGINT, and kills the command at the second, or when the first
/// did not end it in time.
async fn wait(mut child: Child, mut signals: Signals, clock: &dyn Clock) -> io::Result<ExitStatus> {
    let first = tokio::select! {
        status = child.wait() => return status,
        _ = signals.terminate.recv() => Some(Signal::TERM),
        // On a terminal, Ctrl-C went to the command too: a second one would mean something else to it.
        _ = signals.interrupt.recv() => (!io::stdin().is_terminal()).then_some(Signal::INT),
    };
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let (Some(pid), Some(signal)) = (pid, first) {
        // It may have ended in between.
        let _ = kill_process(pid, signal);
    }
    tokio::select! {
        status = child.wait() => return status,
        _ = signals.terminate.recv() => {}
        _ = signals.interrupt.recv() => {}
        () = clock.sleep(GRACE) => {}
    }
    child.kill().await?;
    child.wait().await
}

/// As a shell tells it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
