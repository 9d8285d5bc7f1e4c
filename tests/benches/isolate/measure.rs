//! How long something takes, what it costs, and how much memory it needs at most.

use runtime::{Clock as _, SystemClock};
use std::{
    fs,
    ops::Add,
    os::unix::process::ExitStatusExt as _,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};
use tests::Finished;
use tokio::process::Command;

/// No command here may take longer.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

impl Add for Took {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

/// Runs a command line, and tells what it took, its children included, and what it printed. What was written before is
/// on the disk by then, so that nobody pays for somebody else's bytes.
pub(crate) async fn shell(script: &str) -> (Took, String) {
    rustix::fs::sync();
    let timed = format!("TIMEFORMAT='%3R %3U %3S'; time ( {script} )");
    let mut command = Command::new("bash");
    let finished = Finished::within(PATIENCE, command.args(["-o", "pipefail", "-c", &timed])).await.expect(0);
    let times = finished.stderr.lines().last().unwrap();
    let times: Vec<f64> = times.split(' ').map(|seconds| seconds.parse().unwrap()).collect();
    (Took { wall: times[0], cpu: times[1] + times[2] }, finished.stdout)
}

/// Runs something in this process whose processor time is `threads` times what it takes.
pub(crate) fn here(threads: usize, work: impl FnOnce()) -> Took {
    rustix::fs::sync();
    let clock = SystemClock::new();
    work();
    let wall = clock.elapsed().as_secs_f64();
    Took { wall, cpu: wall * threads as f64 }
}

/// Does something with each of these on all cores, each thread with what `state` gives it: what it takes.
pub(crate) fn on_all_cores<T: Sync, S>(
    all: &[T],
    state: impl Fn() -> S + Sync,
    each: impl Fn(&mut S, &T) + Sync,
) -> Took {
    let threads = thread::available_parallelism().unwrap().get();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut state = state();
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            each(&mut state, one);
        }
    };
    here(threads, || thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work)))))
}

/// Processor time that a process has used, in seconds.
pub(crate) fn cpu(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may have spaces, the 12th and 13th: in its own code and in the kernel, in 100ths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Most memory that a process had so far, in MiB. `None` once it has ended.
pub(crate) fn peak(pid: i32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0)
}

/// Runs a program to its end: its output, and the most memory that it had, looked at every 2 ms.
pub(crate) async fn peak_of(command: &mut Command) -> (String, f64) {
    let clock = SystemClock::new();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let pid = child.id().unwrap().cast_signed();
    let mut most = 0.0_f64;
    let output = child.wait_with_output();
    tokio::pin!(output);
    loop {
        tokio::select! {
            ended = &mut output => {
                let ended = ended.unwrap();
                assert_eq!(ended.status.into_raw(), 0, "{command:?}");
                return (String::from_utf8(ended.stdout).unwrap(), most);
            }
            () = clock.sleep(Duration::from_millis(2)) => most = most.max(peak(pid).unwrap_or(0.0)),
        }
    }
}
