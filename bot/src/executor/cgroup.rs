//! A control group for each attempt: limits of memory, processes and processor time, and a count of its own of kills for
//! lack of memory.
//!
//! Version 2 needs a group that is the bot's alone (systemd: `Delegate=yes`): the bot moves itself into a leaf of it, because
//! no group has both processes and limits for its children. Version 1 needs only that the bot may write below its own
//! groups, one for each controller. A supervisor enters the group of its command for as long as it starts it, so that the
//! command is born in there, and leaves it again: it is limited and killed by nobody.

use super::processes::{PAUSE, pause};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The processes of a group, one number a line. Writing 0 moves the writer there.
const PROCS: &str = "cgroup.procs";

/// What processor time is shared out over, in microseconds.
const PERIOD: u64 = 100_000;

/// Longest time in microseconds that a kernel takes for a quota.
const MOST_QUOTA: u64 = 1 << 40;

/// How long what a former bot left may take to be gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Levels of groups below that of an attempt which are looked into.
const DEEPEST: usize = 8;

/// What there is only where swap is counted.
const SWAP: [&str; 2] = ["memory.swap.max", "memory.memsw.limit_in_bytes"];

/// What one attempt may use; none: as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Processes and threads.
    pub(crate) pids: Option<u64>,
    /// Processors.
    pub(crate) cpu: Option<f64>,
}

/// How the kernel's files are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// A hierarchy for each controller.
    One,
    /// One for all.
    Two,
}

/// The group that this process is in, as far as one controller goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) version: Version,
    pub(super) path: PathBuf,
}

impl Group {
    /// By `/proc/self/cgroup` and `/proc/self/mountinfo`.
    pub(super) fn of_self(controller: &str) -> Option<Self> {
        let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::locate(controller, &cgroups, &mounts)
    }

    pub(super) fn locate(controller: &str, cgroups: &str, mounts: &str) -> Option<Self> {
        let of = |controller: &str| {
            let mut lines = cgroups.lines().map(|line| line.splitn(3, ':'));
            lines.find_map(|mut line| {
                let (_, controllers, path) = (line.next()?, line.next()?, line.next()?);
                controllers.split(',').any(|one| one == controller).then(|| path.to_owned())
            })
        };
        // Version 1 names its controllers; one that is not among them may be in the one hierarchy of version 2.
        let (path, version, kind) = match of(controller) {
            Some(path) => (path, Version::One, "cgroup"),
            None => (of("")?, Version::Two, "cgroup2"),
        };
        let mount = mounts.lines().find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut right = right.split(' ');
            let (found, options) = (right.next()?, right.nth(1)?);
            let is_it = version == Version::Two || options.split(',').any(|one| one == controller);
            if found != kind || !is_it {
                return None;
            }
            let mut left = left.split(' ').skip(3);
            Some((left.next()?, left.next()?))
        });
        let (root, mounted) = mount?;
        // In a container the mount shows a part of the hierarchy only, and the path may lead outside of it.
        let below = path.strip_prefix(root).map_or("", |below| below.trim_start_matches('/'));
        Some(Self { version, path: Path::new(mounted).join(below) })
    }
}

/// Why there can be no groups for attempts.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel, or whoever started the bot, lends no such controller.
    #[error(
        "the {controller} limit needs the cgroup controller `{controller}`, which is not here: under systemd set Delegate=yes, \
         in a container mount /sys/fs/cgroup writable; or leave the limit out"
    )]
    Missing {
        /// Which.
        controller: &'static str,
    },
    /// A file of them cannot be written.
    #[error(
        "cannot make cgroups for attempts at {}: let the bot's user write there and give the bot a cgroup of its own \
         (systemd: Delegate=yes), or leave memory-limit, pids-limit and cpu-limit out", path.display()
    )]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A hierarchy that attempts get groups in.
#[derive(Debug)]
struct Parent {
    /// Groups are made in here.
    path: PathBuf,
    /// Where the bot is, and supervisors go back to.
    home: PathBuf,
    /// Files and what is written into them for each group.
    limits: Vec<(&'static str, String)>,
    /// Where kills for lack of memory are counted, if here.
    counter: Option<&'static str>,
}

/// Makes groups for attempts.
#[derive(Debug)]
pub(crate) struct Cgroups {
    parents: Vec<Parent>,
    next: AtomicU64,
    /// Groups that could not be removed yet.
    stale: Mutex<Vec<PathBuf>>,
}

impl Cgroups {
    /// For limits below this process's own groups, by `name`, which no other bot has. None without limits. What a former
    /// bot of this name left is killed and removed.
    pub(crate) fn open(limits: Limits, name: &str) -> Result<Option<Self>, CgroupError> {
        Self::open_in(limits, name, Group::of_self)
    }

    fn open_in(
        limits: Limits,
        name: &str,
        find: impl Fn(&str) -> Option<Group>,
    ) -> Result<Option<Self>, CgroupError> {
        let wanted = [
            ("memory", limits.memory.is_some()),
            ("pids", limits.pids.is_some()),
            ("cpu", limits.cpu.is_some()),
        ];
        let mut groups: Vec<(Group, Vec<&'static str>)> = Vec::new();
        for (controller, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
            let group = find(controller).ok_or(CgroupError::Missing { controller })?;
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, controllers)) => controllers.push(controller),
                None => groups.push((group, vec![controller])),
            }
        }
        let parent = |(group, controllers): (Group, Vec<_>)| Parent::open(&group, &controllers, limits, name);
        let parents: Vec<Parent> = groups.into_iter().map(parent).collect::<Result<_, _>>()?;
        Ok((!parents.is_empty()).then(|| Self { parents, next: AtomicU64::new(1), stale: Mutex::default() }))
    }

    /// A group for one attempt. It goes when it is dropped, after all in it has ended.
    pub(super) fn create(&self) -> io::Result<Cgroup<'_>> {
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.retain(|path| remove(path, DEEPEST).is_err());
        drop(stale);
        let mut cgroup = Cgroup { all: self, paths: Vec::new(), counter: None };
        let name = self.free_name();
        for parent in &self.parents {
            let path = parent.path.join(&name);
            fs::create_dir(&path)?;
            cgroup.paths.push(path.clone());
            for (file, text) in &parent.limits {
                match fs::write(path.join(file), text) {
                    Err(_) if SWAP.contains(file) => {}
                    written => written?,
                }
            }
            if let Some(counter) = parent.counter {
                cgroup.counter = Some(path.join(counter));
            }
        }
        Ok(cgroup)
    }

    /// One that no group has: what a former bot left may not be gone yet.
    fn free_name(&self) -> String {
        loop {
            let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
            if !self.parents.iter().any(|parent| parent.path.join(&name).exists()) {
                return name;
            }
        }
    }
}

impl Parent {
    fn open(
        group: &Group,
        controllers: &[&'static str],
        limits: Limits,
        name: &str,
    ) -> Result<Self, CgroupError> {
        let leaf = format!("{name}-bot");
        let two = group.version == Version::Two;
        // A program that is tried in place of a bot, or takes its place, begins where that bot has moved to.
        let own = group.path.parent().filter(|_| two && group.path.ends_with(&leaf)).unwrap_or(&group.path);
        let path = own.join(name);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CgroupError::Io { path, source }
        };
        make(&path).map_err(failed(&path))?;
        let mut home = own.to_owned();
        if two {
            home.push(leaf);
            make(&home).map_err(failed(&home))?;
            fs::write(home.join(PROCS), "0").map_err(failed(&home))?;
            for inner in [own, &path] {
                lend(inner, controllers)?;
            }
        }
        clear(&path).map_err(failed(&path))?;
        let mut all = Vec::new();
        for controller in controllers {
            match (*controller, limits) {
                ("memory", Limits { memory: Some(bytes), .. }) if two => {
                    all.push(("memory.max", bytes.to_string()));
                    all.push(("memory.swap.max", "0".into()));
                }
                ("memory", Limits { memory: Some(bytes), .. }) => {
                    all.push(("memory.limit_in_bytes", bytes.to_string()));
                    all.push(("memory.memsw.limit_in_bytes", bytes.to_string()));
                }
                ("pids", Limits { pids: Some(most), .. }) => all.push(("pids.max", most.to_string())),
                ("cpu", Limits { cpu: Some(cpus), .. }) if two => {
                    all.push(("cpu.max", format!("{} {PERIOD}", quota(cpus))));
                }
                ("cpu", Limits { cpu: Some(cpus), .. }) => {
                    all.push(("cpu.cfs_quota_us", quota(cpus).to_string()));
                }
                _ => {}
            }
        }
        let counter = controllers.contains(&"memory").then(|| counter(group.version));
        Ok(Self { path, home, limits: all, counter })
    }
}

/// The file of a group that counts kills for lack of memory.
pub(super) fn counter(version: Version) -> &'static str {
    match version {
        Version::One => "memory.oom_control",
        Version::Two => "memory.events",
    }
}

/// Microseconds of each period that so many processors have; a kernel takes no less than a millisecond.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
fn quota(cpus: f64) -> u64 {
    ((cpus * PERIOD as f64) as u64).clamp(1000, MOST_QUOTA)
}

fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Lets the children of a group of version 2 be limited.
fn lend(path: &Path, controllers: &[&'static str]) -> Result<(), CgroupError> {
    let has = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
    let (there, lent) = (has("cgroup.controllers"), has("cgroup.subtree_control"));
    for controller in controllers {
        let among = |list: &str| list.split_whitespace().any(|one| one == *controller);
        if !among(&there) {
            return Err(CgroupError::Missing { controller });
        }
        if !among(&lent) {
            let file = path.join("cgroup.subtree_control");
            fs::write(&file, format!("+{controller}"))
                .map_err(|source| CgroupError::Io { path: file, source })?;
        }
    }
    Ok(())
}

/// Ends what is in a group and removes it; an error where it is not empty yet.
fn end(group: &Path) -> io::Result<()> {
    kill(group, DEEPEST);
    remove(group, DEEPEST)
}

/// Ends and removes the groups that a former bot left.
fn clear(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let group = entry?.path();
        let mut waited = Duration::ZERO;
        // One that is not empty by then does no harm: its name is not taken again.
        while group.is_dir() && waited < PATIENCE {
            if end(&group).is_err() {
                pause();
                waited += PAUSE;
            }
        }
    }
    Ok(())
}

/// Kills all that is in a group and in those that it was divided into.
fn kill(group: &Path, deepest: usize) {
    let processes = fs::read_to_string(group.join(PROCS)).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        // An error means that it is gone.
        let _ = kill_process(pid, Signal::KILL);
    }
    below(group, deepest).for_each(|group| kill(&group, deepest - 1));
}

/// Removes a group, and those that a command with the right to do so has divided it into.
fn remove(group: &Path, deepest: usize) -> io::Result<()> {
    below(group, deepest).try_for_each(|group| remove(&group, deepest - 1))?;
    fs::remove_dir(group)
}

/// The groups that this one was divided into; none below the deepest.
fn below(group: &Path, deepest: usize) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(group).ok().filter(|_| deepest > 0).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// The group of one attempt.
#[derive(Debug)]
pub(super) struct Cgroup<'a> {
    all: &'a Cgroups,
    paths: Vec<PathBuf>,
    counter: Option<PathBuf>,
}

impl Cgroup<'_> {
    /// How a command gets into it.
    pub(super) fn gates(&self) -> Vec<Gate> {
        let gate = |(path, parent): (&PathBuf, &Parent)| Gate {
            enter: path.join(PROCS),
            leave: parent.home.join(PROCS),
        };
        self.paths.iter().zip(&self.all.parents).map(gate).collect()
    }

    /// The file that counts its kills for lack of memory, if memory is limited.
    pub(super) fn counter(&self) -> Option<&Path> {
        self.counter.as_deref()
    }
}

impl Drop for Cgroup<'_> {
    fn drop(&mut self) {
        // What has got away from everything else that would end it.
        let left = self.paths.drain(..).filter(|path| end(path).is_err());
        self.all.stale.lock().unwrap_or_else(PoisonError::into_inner).extend(left);
    }
}

/// The way into a group and back, in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gate {
    enter: PathBuf,
    leave: PathBuf,
}

/// Does something, the start of a process, inside of groups. Only for a process with one thread.
pub(super) fn inside<T>(gates: &[Gate], start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let entered = gates.iter().try_for_each(|gate| fs::write(&gate.enter, "0"));
    let started = entered.and_then(|()| start());
    let left = gates.iter().try_for_each(|gate| fs::write(&gate.leave, "0"));
    started.and_then(|started| left.map(|()| started))
}

#[cfg(test)]
mod tests;
