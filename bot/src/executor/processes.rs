//! Which processes there are, by ancestry or by a marker in their environment, and how to signal exactly those.

use super::{MARKER, launch::SUPERVISED};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::Duration,
};

/// Between two looks at what is left.
pub(super) const PAUSE: Duration = Duration::from_millis(2);

/// Longest that a program's file may be open for writing elsewhere.
const BUSY: Duration = Duration::from_secs(2);

/// How often processes without an environment are looked at again: 50 ms in all, on a busy host.
const UNCLEAR: u32 = 25;

/// In the flags of a process: it is a part of the kernel (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process, told apart from a later one that got the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    parent: i32,
    pub(super) group: i32,
    /// Clock ticks since the host started.
    started: u64,
    state: u8,
    flags: u64,
}

impl Process {
    /// Reads `/proc/PID/stat`. `None` when there is no such process (any more).
    pub(super) fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Self::parse(pid, &stat)
    }

    fn parse(pid: Pid, stat: &[u8]) -> Option<Self> {
        // The second field is the name in parentheses, which may itself contain parentheses and spaces.
        let end = stat.iter().rposition(|&byte| byte == b')')?;
        let fields: Vec<&str> =
            std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace().collect();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            flags: fields.get(6)?.parse().ok()?,
            state: *fields.first()?.as_bytes().first()?,
        })
    }

    fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Signals this very process. One that is gone needs no signal.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        // The descriptor holds on to whoever has the number now; the time of start says whether that is the one.
        let Ok(handle) = pidfd_open(self.pid, PidfdFlags::empty()) else { return Ok(()) };
        if Self::read(self.pid).is_none_or(|now| now.started != self.started) {
            return Ok(());
        }
        match pidfd_send_signal(handle, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }
}

fn all() -> io::Result<Vec<Process>> {
    let pid =
        |entry: io::Result<fs::DirEntry>| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?);
    Ok(fs::read_dir("/proc")?.filter_map(pid).filter_map(Process::read).collect())
}

/// Every live descendant of `ancestor`.
pub(super) fn descendants(ancestor: Pid) -> io::Result<Vec<Process>> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in all()? {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut queue = vec![ancestor.as_raw_nonzero().get()];
    let mut seen = HashSet::new();
    while let Some(pid) = queue.pop() {
        for child in children.get(&pid).into_iter().flatten().filter(|child| seen.insert(child.pid)) {
            queue.push(child.pid.as_raw_nonzero().get());
            found.push(*child);
        }
    }
    Ok(found.into_iter().filter(Process::is_alive).collect())
}

/// What a look at every process for [`MARKER`] finds.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Live processes, but our own, that are marked.
    pub(super) marked: Vec<Process>,
    /// Live supervisors of commands that are marked.
    supervisors: Vec<Process>,
    /// Processes without an environment: it was wiped, or they are just about to execute another program, in which
    /// moment there is none to be seen.
    unclear: usize,
}

/// Looks for processes that are in `group`, or whose [`MARKER`] names `dir` or a path below it, and for supervisors of
/// such.
pub(super) fn look(dir: &Path, group: Option<Pid>) -> io::Result<Look> {
    let group = group.map(|group| group.as_raw_nonzero().get());
    let own = rustix::process::getpid();
    let mut look = Look::default();
    for process in all()?.into_iter().filter(|process| process.pid != own && process.is_alive()) {
        if Some(process.group) == group {
            look.marked.push(process);
            continue;
        }
        let environ = fs::read(format!("/proc/{}/environ", process.pid.as_raw_nonzero()));
        match environ {
            Ok(environment) if environment.is_empty() => {
                look.unclear += usize::from(process.flags & KERNEL_THREAD == 0);
            }
            Ok(environment) if names(&environment, MARKER, dir) => look.marked.push(process),
            Ok(environment) if names(&environment, SUPERVISED, dir) => look.supervisors.push(process),
            // Those of other users cannot be read, and are not ours.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(look)
}

fn names(environment: &[u8], marker: &str, dir: &Path) -> bool {
    let mut variables = environment.split(|&byte| byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(marker.as_bytes())?.strip_prefix(b"="));
    value.is_some_and(|value| Path::new(OsStr::from_bytes(value)).starts_with(dir))
}

/// Kills every process whose [`MARKER`] names `dir` or a path below it, until none is left. Tells how many there were.
/// A supervisor whose bot is gone is waited for: it finds what its command started without the mark, too. Fails when some
/// are still there after `patience`.
pub(crate) fn kill_marked_below(dir: &Path, patience: Duration) -> io::Result<usize> {
    kill_marked_or_in(dir, None, patience)
}

/// The same, and every process of `group`, that of a command which was started as our child: they need not bear a mark.
pub(super) fn kill_marked_or_in(dir: &Path, group: Option<Pid>, patience: Duration) -> io::Result<usize> {
    let mut killed = HashSet::new();
    let mut waited = Duration::ZERO;
    let mut unclear = 0;
    loop {
        let look = look(dir, group)?;
        for process in &look.marked {
            process.signal(Signal::KILL)?;
            killed.insert(process.pid);
        }
        if waited >= patience / 2 {
            look.supervisors.iter().try_for_each(|supervisor| supervisor.signal(Signal::KILL))?;
        }
        let left = look.marked.len() + look.supervisors.len();
        if left == 0 {
            unclear += 1;
            if look.unclear == 0 || unclear > UNCLEAR {
                return Ok(killed.len());
            }
        } else if waited >= patience {
            return Err(io::Error::other(format!("{left} processes cannot be killed")));
        }
        pause();
        waited += PAUSE;
    }
}

/// Starts a program, again and again while its file is open for writing. It was laid out just now, and while it was,
/// another thread may have forked a child that holds on to the open file until it executes. Blocks the thread.
pub(super) fn start_when_closed<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut waited = Duration::ZERO;
    loop {
        match start() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && waited < BUSY => pause(),
            started => return started,
        }
        waited += PAUSE;
    }
}

/// Gives the kernel time to end what was killed. Blocks the thread.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no event to wait for: the processes are not our children"
)]
pub(super) fn pause() {
    std::thread::sleep(PAUSE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_hide_the_parent() {
        let stat = b"42 (a) R 1 (b)) S 7 42 42 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 12345 1000 100 0";
        let process = Process::parse(Pid::from_raw(42).unwrap(), stat).unwrap();
        assert_eq!((process.parent, process.group, process.started, process.state), (7, 42, 12345, b'S'));
        assert!(Process::parse(process.pid, b"42 (x").is_none());
    }

    #[test]
    fn a_process_is_found_by_ancestry_and_by_marker_and_signalled() {
        let dir = Path::new("/nonexistent/isoswarm-test-marker").join(std::process::id().to_string());
        let mut child =
            std::process::Command::new("sleep").arg("60").env(MARKER, dir.join("1")).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let own = rustix::process::getpid();
        assert!(descendants(own).unwrap().iter().any(|process| process.pid == pid));
        // Between fork and exec the child still has our environment.
        while look(&dir, None).unwrap().marked.is_empty() {
            pause();
        }
        assert!(look(&dir.join("2"), None).unwrap().marked.is_empty());
        let stranger = Process { started: 1, ..Process::read(pid).unwrap() };
        stranger.signal(Signal::KILL).unwrap();
        assert!(Process::read(pid).unwrap().is_alive());
        assert_eq!(kill_marked_below(&dir, Duration::from_secs(5)).unwrap(), 1);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn supervisors_are_waited_for_and_killed_only_when_they_stay() {
        for (patience, lasts, ends_itself) in [(20, "0.3", true), (1, "60", false)] {
            let dir = Path::new("/nonexistent/isoswarm-test-supervisor")
                .join(std::process::id().to_string())
                .join(lasts);
            let mut child =
                std::process::Command::new("sleep").arg(lasts).env(SUPERVISED, &dir).spawn().unwrap();
            while look(&dir, None).unwrap().supervisors.is_empty() {
                pause();
            }
            let waiting = std::thread::spawn(move || child.wait().unwrap());
            assert_eq!(kill_marked_below(&dir, Duration::from_secs(patience)).unwrap(), 0);
            assert_eq!(waiting.join().unwrap().success(), ends_itself);
        }
    }
}
