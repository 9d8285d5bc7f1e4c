//! A bar on stderr that follows what the library does.

use crate::human;
use cas::{Monitor, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, IsTerminal as _},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How often the bar is drawn when nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// One bar for a whole operation: it counts files, and names what is being done and how many bytes of that are done.
/// Draws on a terminal only.
pub(crate) struct Bar {
    bar: ProgressBar,
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
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        let shown = verbosity == Verbosity::Normal && io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{prefix:>9} [{bar:30}] {human_pos}/{human_len}  {msg}  {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, hashed: AtomicU64::new(0), uploaded: AtomicU64::new(0), fetched: AtomicU64::new(0) }
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
    }
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
