//! Processes that a command left behind: none of them is to outlive the tree that it was started in.

use runtime::Clock;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};
use std::{collections::HashSet, fs, io, time::Duration};

/// Between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(5);

/// Longest that killed processes may take to be gone, for instance while the kernel writes for them.
const PATIENCE: Duration = Duration::from_secs(10);

/// From now on, whatever this process starts stays its descendant, also after `setsid` or a double fork.
pub(crate) fn adopt() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Kills all children, and theirs as they become ours, until none is left. Tells how many there were. Those that we wait
/// for elsewhere have to have ended.
pub(crate) async fn kill(clock: &dyn Clock) -> io::Result<usize> {
    let (mut killed, until) = (HashSet::new(), clock.elapsed() + PATIENCE);
    loop {
        let left = children()?;
        if left.is_empty() {
            return Ok(killed.len());
        }
        if clock.elapsed() > until {
            return Err(io::Error::other(format!(
                "{} processes that it left behind cannot be killed",
                left.len()
            )));
        }
        for pid in left {
            // One that has ended already is only to be waited for.
            let has_ended = matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_)));
            if !has_ended && kill_process(pid, Signal::KILL).is_ok() {
                killed.insert(pid);
            }
        }
        clock.sleep(PAUSE).await;
    }
}

/// Of all threads: what a thread starts, and the orphans that it adopts, are its own.
fn children() -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        // It may have ended in between.
        let Ok(children) = fs::read_to_string(thread?.path().join("children")) else { continue };
        found.extend(children.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
    }
    Ok(found)
}
