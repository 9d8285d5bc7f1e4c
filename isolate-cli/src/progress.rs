//! A bar on stderr that follows what the library does; where stderr is no terminal, a line from time to time.

use crate::human;
use cas::{Monitor, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use runtime::Clock;
use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// How often the bar is drawn when nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// How often a log is told how far it is.
const LINES: Duration = Duration::from_secs(10);

/// One bar for a whole operation: it counts files, and names what is being done and how many bytes of that are done.
pub(crate) struct Bar {
    bar: ProgressBar,
    lines: Option<Lines>,
    hashed: AtomicU64,
    uploaded: AtomicU64,
    fetched: AtomicU64,
}

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// As it goes.
    Normal,
    /// Not at all.
    Quiet,
}

impl Bar {
    pub(crate) fn new(verbosity: Verbosity, clock: Arc<dyn Clock>) -> Self {
        let (wanted, terminal) = (verbosity == Verbosity::Normal, io::stderr().is_terminal());
        let shown = wanted && terminal;
        let lines = (wanted && !terminal).then(|| Lines::new(clock));
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{prefix:>9} [{bar:30}] {human_pos}/{human_len}  {msg}  {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Self {
            bar,
            lines,
            hashed: AtomicU64::new(0),
            uploaded: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
        }
    }

    /// Takes the bar away, so that something else can be written.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn advance(&self, doing: &'static str, sum: &AtomicU64, files: u64, bytes: u64) {
        let sum = sum.fetch_add(bytes, Relaxed) + bytes;
        self.bar.inc(files);
        if !self.bar.is_hidden() {
            self.bar.set_prefix(doing);
            self.bar.set_message(human::bytes(sum));
        }
        if self.lines.as_ref().is_some_and(Lines::is_due) {
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
            // A closed stderr is no reason to fail.
            let _ = writeln!(io::stderr(), "{}", line(doing, done, all, sum));
        }
    }
}

/// `hashing: 1,200 of 30,000 files, 1.2 GB`.
fn line(doing: &str, done: u64, all: u64, bytes: u64) -> String {
    format!("{doing}: {} of {}, {}", human::count(done), human::counted(all, "file"), human::bytes(bytes))
}

/// When a line is due: not at once, and from then on at even times.
struct Lines {
    clock: Arc<dyn Clock>,
    /// Milliseconds on the clock.
    next: AtomicU64,
}

impl Lines {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let next = AtomicU64::new(millis(clock.elapsed() + LINES));
        Self { clock, next }
    }

    /// Of all that ask, one is told so.
    fn is_due(&self) -> bool {
        let (now, next) = (self.clock.elapsed(), self.next.load(Relaxed));
        millis(now) >= next && self.next.compare_exchange(next, millis(now + LINES), Relaxed, Relaxed).is_ok()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Monitor for Bar {
    fn progress(&self, progress: Progress) {
        match progress {
            Progress::Planned { files, .. } => self.bar.inc_length(files),
            Progress::Hashed { files, bytes } => self.advance("hashing", &self.hashed, files, bytes),
            Progress::Present { files, .. } => self.bar.inc(files),
            Progress::Uploaded { files, bytes } => self.advance("uploading", &self.uploaded, files, bytes),
            Progress::Fetched { files, bytes } => self.advance("fetching", &self.fetched, files, bytes),
            // What is in the local cache was never planned.
            Progress::Cached { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Timestamp;
    use runtime::ManualClock;

    #[test]
    fn lines_come_from_time_to_time_and_not_at_once() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let lines = Lines::new(Arc::<ManualClock>::clone(&clock));
        let after = |seconds| {
            clock.advance(Duration::from_secs(seconds));
            lines.is_due()
        };
        assert_eq!(
            [after(0), after(9), after(1), after(0), after(9), after(30), after(1)],
            [false, false, true, false, false, true, false]
        );
        assert_eq!(line("hashing", 1200, 30_000, 1_200_000_000), "hashing: 1,200 of 30,000 files, 1.2 GB");
    }
}
