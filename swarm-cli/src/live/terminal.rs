//! Redrawn lines on a terminal. What they say is decided by a pure function; indicatif moves the cursor.

use super::Live;
use crate::{
    display::{Paint, counts, duration, state_text},
    model::{Run, Shard, ShardState},
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use proto::Timestamp;

/// Up to this many shards have a line each; of more, only the running ones have.
const MAX_LINES: usize = 30;

/// Redraws lines in place.
pub(super) struct Terminal {
    paint: Paint,
    progress: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl Terminal {
    pub(super) fn new(paint: Paint) -> Self {
        Self { paint, progress: MultiProgress::new(), bars: Vec::new() }
    }

    fn show(&mut self, lines: Vec<String>) {
        while self.bars.len() > lines.len() {
            if let Some(bar) = self.bars.pop() {
                bar.finish_and_clear();
                self.progress.remove(&bar);
            }
        }
        while self.bars.len() < lines.len() {
            let style =
                ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            self.bars.push(self.progress.add(ProgressBar::new_spinner().with_style(style)));
        }
        for (bar, line) in self.bars.iter().zip(lines) {
            if bar.message() != line {
                bar.set_message(line);
            }
        }
    }
}

impl Live for Terminal {
    fn update(&mut self, run: &Run, now: Timestamp) {
        self.show(lines(run, now, self.paint));
    }

    fn note(&mut self, line: &str) {
        // The terminal is gone when this fails, and with it whoever would read.
        let _ = self.progress.println(line);
    }

    fn finish(&mut self) {
        self.show(Vec::new());
        let _ = self.progress.clear();
    }
}

/// A line for each shard, or for each running one when they are many, above a line for all.
fn lines(run: &Run, now: Timestamp, paint: Paint) -> Vec<String> {
    let total = run.shards.len();
    let worth_a_line = |shard: &&Shard| total <= MAX_LINES || shard.state == ShardState::Running;
    let width = run.shards.iter().map(|shard| run.label(shard.id).chars().count()).max().unwrap_or(0);
    let mut lines: Vec<String> = run
        .shards
        .iter()
        .filter(worth_a_line)
        .take(MAX_LINES)
        .map(|shard| shard_line(run, shard, now, width, paint))
        .collect();
    let running = run.counts.running as usize;
    if total > MAX_LINES && running > MAX_LINES {
        lines.push(paint.dim(&format!("… and {} more running", running - MAX_LINES)));
    }
    let elapsed = duration(run.ended.unwrap_or(now).since(run.created));
    lines.push(format!("{} {} · {elapsed}", bar(run), counts(run.counts)));
    lines
}

fn shard_line(run: &Run, shard: &Shard, now: Timestamp, width: usize, paint: Paint) -> String {
    let label = format!("{:>width$}", run.label(shard.id));
    let text = format!("{:<14}", state_text(shard));
    let state = match shard.state {
        _ if shard.passed() => paint.green(&text),
        ShardState::Pending => paint.dim(&text),
        ShardState::Running => paint.cyan(&text),
        ShardState::Canceled | ShardState::Killed => paint.yellow(&text),
        _ => paint.red(&text),
    };
    let Some(attempt) = shard.attempt() else {
        return format!("  {label}  {state}").trim_end().to_owned();
    };
    let elapsed = attempt.started.map(|started| duration(attempt.ended.unwrap_or(now).since(started)));
    let mut line = format!("  {label}  {state} {:>8}  {}", elapsed.unwrap_or_default(), attempt.bot);
    if attempt.number > 1 {
        line.push_str(&paint.yellow(&format!("  attempt {}", attempt.number)));
    }
    line
}

/// `[████████░░░░]`: how much of the run has ended.
fn bar(run: &Run) -> String {
    const WIDTH: u32 = 30;
    let total = u64::from(run.counts.total().max(1));
    let ended = u64::from(run.counts.succeeded + run.counts.failed);
    let full = usize::try_from(ended * u64::from(WIDTH) / total).unwrap_or(0);
    format!("[{}{}]", "█".repeat(full), "░".repeat(WIDTH as usize - full))
}
