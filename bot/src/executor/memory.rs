//! Whether the kernel killed for lack of memory while a command ran.
//!
//! The kernel counts its kills: for each memory cgroup in `memory.events` (version 2) or `memory.oom_control` (version 1,
//! since Linux 4.13), and for the whole host in `/proc/vmstat`. A command without limits is in the cgroup of its bot. That a
//! counter has risen does not say who was killed there: only together with the command's own end does it tell why. A
//! command whose memory is limited has a cgroup of its own, and what is counted there was killed of it.

use super::cgroup::{Group, counter};
use crate::attempt::CommandExit;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// SIGKILL, and how shells say that a child of theirs ended by it.
const KILL: i32 = 9;
const KILLED_BELOW: i32 = 128 + KILL;

/// Where kills are counted for the processes that this one starts.
#[derive(Clone, Debug)]
pub(super) struct OomKills {
    counters: Vec<PathBuf>,
    /// They count nobody else.
    own: bool,
}

/// How many there were at some time, by counter. None: it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counts(Vec<Option<u64>>);

impl OomKills {
    /// Those of a command with this counter of its own; without one, of this process's own cgroup and of the host.
    pub(super) fn of(own: Option<&Path>) -> Self {
        match own {
            Some(counter) => Self { counters: vec![counter.to_owned()], own: true },
            None => {
                let shared = Group::of_self("memory").map(|group| group.path.join(counter(group.version)));
                let counters = shared.into_iter().chain([PathBuf::from("/proc/vmstat")]).collect();
                Self { counters, own: false }
            }
        }
    }

    /// Whether a command that ended like this lacked memory, when these were counted before it.
    pub(super) fn explain(&self, before: &Counts, exit: CommandExit) -> bool {
        if self.own {
            return exit != CommandExit::Code(0) && self.were_of_the_command();
        }
        before.explain(&self.count(), exit)
    }

    /// Whether there was a kill that can only have been of the command or of something that started it.
    pub(super) fn were_of_the_command(&self) -> bool {
        self.own && self.count().0.iter().flatten().any(|kills| *kills > 0)
    }

    /// What they say now.
    pub(super) fn count(&self) -> Counts {
        let read = |path: &PathBuf| parse(&fs::read_to_string(path).ok()?);
        Counts(self.counters.iter().map(read).collect())
    }
}

/// The number of kills in one of these files.
fn parse(text: &str) -> Option<u64> {
    let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
    text.lines().find_map(count)
}

impl Counts {
    /// Whether a command that ended like this lacked memory, when these were counted before and `after` then.
    fn explain(&self, after: &Self, exit: CommandExit) -> bool {
        let killed = match exit {
            CommandExit::Signal(signal) => signal == KILL,
            CommandExit::Code(code) => code == KILLED_BELOW,
        };
        // The nearest counter that can be read decides: of the host's kills most are no business of ours.
        let risen = self.0.iter().zip(&after.0).find_map(|(before, after)| Some((*before)? < (*after)?));
        killed && risen == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "12:memory:/system.slice/bot.service\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/user\n";
    const V1_MOUNTS: &str = "\
        25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        33 27 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:14 - cgroup cgroup rw,cpu,cpuacct\n\
        34 27 0:30 / /sys/fs/cgroup/memory rw,nosuid shared:15 - cgroup cgroup rw,memory\n";

    #[test]
    fn the_counter_of_the_own_cgroup_is_found() {
        let memory = "/sys/fs/cgroup/memory";
        let expected = format!("{memory}/system.slice/bot.service/memory.oom_control");
        assert_eq!(counters(V1, V1_MOUNTS), Some(expected.into()));
        let container = V1_MOUNTS.replace("0:30 / /sys", "0:30 /docker/ab /sys");
        let of = |cgroups: &str| counters(cgroups, &container).unwrap();
        assert_eq!(of("4:memory:/docker/ab/c\n"), Path::new(memory).join("c/memory.oom_control"));
        assert_eq!(of("4:memory:/\n"), Path::new(memory).join("memory.oom_control"));
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let expected = "/sys/fs/cgroup/user.slice/bot.scope/memory.events";
        assert_eq!(counters("0::/user.slice/bot.scope\n", v2), Some(expected.into()));
        assert_eq!(counters("", V1_MOUNTS), None);
        assert_eq!(counters(V1, v2), None);
    }

    fn counters(cgroups: &str, mounts: &str) -> Option<PathBuf> {
        let group = Group::locate("memory", cgroups, mounts)?;
        Some(group.path.join(counter(group.version)))
    }

    #[test]
    fn a_kill_in_a_group_of_its_own_explains_every_failure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let kills = OomKills::of(Some(file.path()));
        let before = kills.count();
        let explained = |exit| kills.explain(&before, exit);
        fs::write(file.path(), "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n").unwrap();
        assert!(!explained(CommandExit::Signal(9)), "somebody else has killed it");
        fs::write(file.path(), "oom_kill 1\n").unwrap();
        assert!(explained(CommandExit::Code(1)), "a test runner has lost a child");
        assert!(explained(CommandExit::Signal(9)) && !explained(CommandExit::Code(0)));
    }

    #[test]
    fn files_of_kernels_are_read() {
        assert_eq!(parse("low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(parse("nr_free_pages 1\noom_kill 3\nnuma_hit 5\n"), Some(3));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n"), None, "before Linux 4.13");
    }

    #[test]
    fn a_kill_is_explained_by_the_nearest_counter() {
        let counts = |own, host| Counts(vec![own, host]);
        let killed = CommandExit::Signal(9);
        let before = counts(Some(1), Some(10));
        assert!(before.explain(&counts(Some(2), Some(11)), killed));
        assert!(before.explain(&counts(Some(2), Some(11)), CommandExit::Code(137)), "a shell's child");
        assert!(!before.explain(&counts(Some(2), Some(11)), CommandExit::Signal(11)), "its own fault");
        assert!(!before.explain(&counts(Some(2), Some(11)), CommandExit::Code(1)));
        assert!(!before.explain(&counts(Some(1), Some(11)), killed), "somebody else lacked memory");
        assert!(counts(None, Some(1)).explain(&counts(None, Some(2)), killed), "only the host counts");
        assert!(!counts(None, None).explain(&counts(None, None), killed));
    }

    #[test]
    fn this_kernel_counts() {
        let counts = OomKills::of(None).count();
        assert!(counts.0.iter().any(Option::is_some), "{:?} {counts:?}", OomKills::of(None));
    }
}
