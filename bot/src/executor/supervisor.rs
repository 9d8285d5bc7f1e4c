//! The process between the bot and a command: `bot supervise`.
//!
//! It is a child subreaper, so that whatever the command starts stays its descendant, also after `setsid`, a double
//! fork or a wiped environment. It ends only when no descendant is left. Three things make it kill all of them: the
//! command has ended; the bot asks; the bot is gone, which closes the pipe that is our stdin.
//!
//! stdin: one line of JSON, an [`Order`]; then a byte for each signal ([`TERMINATE`], [`KILL`]). stdout: one line of
//! JSON, a [`Verdict`], when nothing is left. stderr: the pipe that becomes the command's stdout and stderr. Without an
//! async runtime, so that it is up in a millisecond.

use super::{
    Command, cgroup,
    processes::{PAUSE, descendants, pause, start_when_closed},
};
use crate::attempt::CommandExit;
use runtime::Exit;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process_group, set_child_subreaper,
    wait, waitid,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::fd::AsFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// The hidden subcommand of the bot's binary that leads here.
pub const SUPERVISE: &str = "supervise";

/// Sends TERM to the command's process group.
pub(super) const TERMINATE: u8 = b't';

/// Kills the command and all that it started.
pub(super) const KILL: u8 = b'k';

/// Longest that killed processes may take to be gone, for instance while the kernel writes for them.
const PATIENCE: Duration = Duration::from_secs(10);

/// The command to run.
pub(super) type Order = Command;

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// The command could not be started, for this error number.
    NotStarted(i32),
    /// The command has ended.
    Ended {
        /// How.
        exit: CommandExit,
        /// Processes that it left behind, all killed.
        leaked: usize,
        /// Processes that could not be killed.
        stuck: usize,
    },
}

/// Runs the supervisor until nothing is left of its command. Called by `main` for [`SUPERVISE`], before anything else.
pub fn supervise() -> Exit {
    match supervised() {
        Ok(()) => Exit::Success,
        // The bot sees that there was no verdict; stderr is the command's output.
        Err(error) => {
            let _ = writeln!(io::stderr(), "cannot supervise the command: {error}");
            Exit::Internal
        }
    }
}

fn supervised() -> io::Result<()> {
    let own = rustix::process::getpid();
    set_child_subreaper(Some(own))?;
    let mut control = BufReader::new(File::from(io::stdin().as_fd().try_clone_to_owned()?));
    let mut line = String::new();
    control.read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line)?;
    let verdict = match start_when_closed(|| start(&order)) {
        Err(error) => Verdict::NotStarted(error.raw_os_error().unwrap_or(0)),
        Ok(command) => {
            let wards = Arc::new(Mutex::new(Wards {
                command: Some(command),
                group: command,
                own,
                sandboxed: order.sandboxed,
            }));
            let obeying = Arc::clone(&wards);
            thread::spawn(move || obey(control, &obeying));
            watch(command, &wards)?
        }
    };
    let mut line = serde_json::to_vec(&verdict)?;
    line.push(b'\n');
    let told = io::stdout().write_all(&line);
    if let Verdict::Ended { stuck: 1.., .. } = verdict {
        // The bot need not wait any longer, we must.
        while has_children() {
            kill_all(own, None);
            pause();
        }
    }
    told
}

fn start(order: &Order) -> io::Result<Pid> {
    let output = io::stderr().as_fd().try_clone_to_owned()?;
    let mut command = order.to_run(&output)?;
    let child = cgroup::inside(&order.gates, || command.spawn())?;
    Ok(Pid::from_child(&child))
}

/// Whom to signal. The command's number is taken away, under the lock, before it is reaped: no signal goes to another
/// group that gets the same number.
struct Wards {
    command: Option<Pid>,
    /// The command's process group, which may outlive it.
    group: Pid,
    own: Pid,
    /// The command is the sandbox around the one that is meant.
    sandboxed: bool,
}

impl Wards {
    fn terminate(&self) {
        if self.sandboxed {
            let command = self.command.unwrap_or(self.own);
            let inside =
                descendants(self.own).unwrap_or_default().into_iter().filter(|ward| ward.pid != command);
            // An error means that it is gone. The first process of the sandbox takes no TERM, and waits for the others.
            inside.for_each(|ward| drop(ward.signal(Signal::TERM)));
        } else if let Some(command) = self.command {
            // An error means that the group is gone.
            let _ = kill_process_group(command, Signal::TERM);
        }
    }

    /// Kills every descendant that there is at this moment, and tells how many.
    fn kill(&self) -> usize {
        kill_all(self.own, Some(self.group))
    }
}

/// Kills every descendant of `own`, tells how many. Those in the `command` group, or in a group whose leader is a
/// descendant too, are signalled as a group: what breeds faster than it is listed cannot get away from that.
fn kill_all(own: Pid, command: Option<Pid>) -> usize {
    let wards = descendants(own).unwrap_or_default();
    let pids: HashSet<i32> =
        wards.iter().map(|ward| ward.pid).chain(command).map(|pid| pid.as_raw_nonzero().get()).collect();
    let groups: HashSet<i32> =
        wards.iter().map(|ward| ward.group).filter(|group| pids.contains(group)).collect();
    // We are root's or the same user's; what cannot be signalled comes up again as stuck.
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    for ward in &wards {
        let _ = ward.signal(Signal::KILL);
    }
    wards.len()
}

fn lock(wards: &Mutex<Wards>) -> MutexGuard<'_, Wards> {
    wards.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what the bot says. Its end is the last order. The thread ends with the process.
fn obey(control: BufReader<File>, wards: &Mutex<Wards>) {
    for order in control.bytes() {
        match order {
            Ok(TERMINATE) => lock(wards).terminate(),
            Ok(_) | Err(_) => break,
        }
    }
    loop {
        lock(wards).kill();
        pause();
    }
}

/// Waits for the command, then for the end of all that it left. Reaps everything meanwhile.
fn watch(command: Pid, wards: &Mutex<Wards>) -> io::Result<Verdict> {
    let exit = loop {
        // Looks without reaping first: the number must stay taken as long as `obey` may use it.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::All, look))?;
        let mut wards = lock(wards);
        // Others than the command are orphans that ended before it.
        if let Some((pid, status)) = rustix::io::retry_on_intr(|| wait(WaitOptions::NOHANG))?
            && pid == command
        {
            wards.command = None;
            break exit(status);
        }
    };
    let mut leaked = 0;
    let mut waited = Duration::ZERO;
    // Without a child there is no descendant: orphans become our children.
    while has_children() {
        let alive = lock(wards).kill();
        leaked = leaked.max(alive);
        if waited >= PATIENCE {
            return Ok(Verdict::Ended { exit, leaked, stuck: alive });
        }
        pause();
        waited += PAUSE;
    }
    Ok(Verdict::Ended { exit, leaked, stuck: 0 })
}

/// Reaps what has ended, and tells whether anything is left.
fn has_children() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fn exit(status: WaitStatus) -> CommandExit {
    match status.terminating_signal() {
        Some(signal) => CommandExit::Signal(signal),
        None => CommandExit::Code(status.exit_status().unwrap_or(-1)),
    }
}
