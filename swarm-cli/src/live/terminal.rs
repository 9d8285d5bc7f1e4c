//! Redrawn lines on a terminal. What they say is decided by a pure function; indicatif moves the cursor.

use super::{
    Live,
    screen::{self, Screen},
    tests_view::{self, TestsView},
};
use crate::{
    display::{Paint, counts, cut, duration, state_text},
    follow::TestsNews,
    model::{Run, Shard, ShardState},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::Timestamp;

/// Up to this many shards have a line each, or fewer on a low terminal; of more, only the running ones have.
const MAX_LINES: usize = 30;

/// Most drawings in a second.
const DRAWINGS: u8 = 20;

/// Kept free of shards: the line for all, the one for those left out, and the cursor's.
const OTHER_LINES: usize = 3;

/// Redraws lines in place.
pub(super) struct Terminal {
    paint: Paint,
    /// Of several lines.
    bar: ProgressBar,
    tests: TestsView,
}

impl Terminal {
    pub(super) fn new(paint: Paint) -> Self {
        let style =
            ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), DRAWINGS);
        let bar = ProgressBar::with_draw_target(None, target).with_style(style);
        Self { paint, bar, tests: TestsView::default() }
    }
}

impl Live for Terminal {
    fn update(&mut self, run: &Run, now: Timestamp) {
        let (width, height) = screen::size();
        let most = MAX_LINES.min(usize::from(height).saturating_sub(OTHER_LINES).max(1));
        let tests = self.tests.lines(run, now, self.paint);
        let lines = lines(run, now, most.saturating_sub(tests.len()).max(1), self.paint, tests);
        let lines: Vec<_> = lines.iter().map(|line| cut(line, usize::from(width))).collect();
        let text = lines.join("\n");
        if self.bar.message() != text {
            self.bar.set_message(text);
        }
    }

    fn tests(&mut self, news: &TestsNews) {
        for line in self.tests.take(news, self.paint) {
            self.bar.println(line);
        }
    }

    fn note(&mut self, line: &str) {
        self.bar.println(line);
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line for each shard, or for each running one when they are many, above those on tests and a line for all.
fn lines(run: &Run, now: Timestamp, most: usize, paint: Paint, tests: Vec<String>) -> Vec<String> {
    let total = run.shards.len();
    let worth_a_line = |shard: &&Shard| total <= most || shard.state == ShardState::Running;
    let width = run.shards.iter().map(|shard| run.label(shard.id).chars().count()).max().unwrap_or(0);
    let mut lines: Vec<String> = run
        .shards
        .iter()
        .filter(worth_a_line)
        .take(most)
        .map(|shard| shard_line(run, shard, now, width, paint))
        .collect();
    let running = run.counts.running as usize;
    if total > most && running > most {
        lines.push(paint.dim(&format!("… and {} more running", running - most)));
    }
    lines.extend(tests);
    let elapsed = duration(run.ended.unwrap_or(now).since(run.created));
    lines.push(format!("{} {} · {elapsed}", bar(run), counts(run.counts)));
    lines
}

fn shard_line(run: &Run, shard: &Shard, now: Timestamp, width: usize, paint: Paint) -> String {
    let label = format!("{:>width$}", run.label(shard.id));
    let text = format!("{:<14}", state_text(shard));
    let state = match shard.state {
        _ if shard.passed() => paint.green(&text),
        ShardState::Waiting | ShardState::Pending | ShardState::NotNeeded => paint.dim(&text),
        ShardState::Running => paint.cyan(&text),
        ShardState::Canceled | ShardState::Killed | ShardState::Skipped => paint.yellow(&text),
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

/// `[████████░░░░]`: how much of the run has ended, by time where its tests are shared out.
fn bar(run: &Run) -> String {
    const WIDTH: u32 = 20;
    let share = match tests_view::all(run) {
        Some(counts) => tests_view::share(&counts),
        None => f64::from(run.counts.ended()) / f64::from(run.counts.total().max(1)),
    };
    let full = (0..WIDTH).filter(|&n| f64::from(n + 1) <= share * f64::from(WIDTH)).count();
    format!("[{}{}]", "█".repeat(full), "░".repeat(WIDTH as usize - full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Driver, OutcomeCounts, RunState, StepTests},
        testing::{START, completed, ended, merged_by, pending, run, run_with_tests, running},
    };
    use std::time::Duration;

    fn shown(shards: Vec<Shard>, most: usize) -> String {
        let run = run(RunState::Running, shards);
        lines(&run, START + Duration::from_secs(12), most, Paint::Plain, vec![]).join("\n")
    }

    #[test]
    fn every_shard_has_a_line_above_one_for_all() {
        let mut again = running(3);
        again.attempts[0].number = 2;
        let expired = ended(4, ShardState::Expired, "no bot");
        let shards = vec![completed(0, 0), completed(1, 1), pending(2), again, expired];
        insta::assert_snapshot!(shown(shards, 30), @r"
          0  passed             4.0s  bot-0
          1  failed             4.0s  bot-1
          2  pending
          3  running           10.0s  bot-3  attempt 2
          4  expired
        [████████████░░░░░░░░] 5 shards: 1 pending, 1 running, 1 passed, 2 not passed · 12.0s
        ");
    }

    #[test]
    fn what_waits_and_what_is_skipped_has_the_name_of_its_step() {
        let waits = Shard { state: ShardState::Waiting, ..pending(0) };
        let shown =
            |run: &Run| lines(run, START + Duration::from_secs(12), 30, Paint::Plain, vec![]).join("\n");
        let waiting = merged_by(run(RunState::Running, vec![running(0)]), vec![waits]);
        insta::assert_snapshot!(shown(&waiting), @r"
          suite/0  running           10.0s  bot-0
          merge/0  waiting
        [░░░░░░░░░░░░░░░░░░░░] 2 shards: 1 waiting, 1 running · 12.0s
        ");
        let skipped = ended(0, ShardState::Skipped, "step `suite` did not succeed");
        let skipped = merged_by(run(RunState::Failed, vec![completed(0, 1)]), vec![skipped]);
        insta::assert_snapshot!(shown(&skipped), @r"
          suite/0  failed             4.0s  bot-0
          merge/0  skipped
        [████████████████████] 2 shards: 1 not passed, 1 skipped · 1m 05s
        ");
    }

    #[test]
    fn of_too_many_shards_only_running_ones_have_lines() {
        let shards = |n: u32| (0..n).map(|n| if n % 3 == 0 { pending(n) } else { running(n) }).collect();
        insta::assert_snapshot!(shown(shards(12), 3), @r"
           1  running           10.0s  bot-1
           2  running           10.0s  bot-2
           4  running           10.0s  bot-4
        … and 5 more running
        [░░░░░░░░░░░░░░░░░░░░] 12 shards: 4 pending, 8 running · 12.0s
        ");
    }

    #[test]
    fn the_bar_of_a_run_that_shares_out_tests_goes_by_their_time() {
        let mut run = run_with_tests(Driver::Gtest, RunState::Running, vec![running(0), running(1)]);
        let (estimate, estimate_done) = (Duration::from_secs(100), Duration::from_secs(55));
        let counts =
            OutcomeCounts { listed: 9, open: 8, estimate, estimate_done, ..OutcomeCounts::default() };
        run.tests = vec![StepTests { step: 0, counts: Some(counts), verified: true }];
        let now = START + Duration::from_secs(12);
        let tests = TestsView::default().lines(&run, now, Paint::Plain);
        insta::assert_snapshot!(lines(&run, now, 30, Paint::Plain, tests).join("\n"), @r"
          0  running           10.0s  bot-0
          1  running           10.0s  bot-1
        55 % by time, 1 of 9 tests
        [███████████░░░░░░░░░] 2 shards: 2 running · 12.0s
        ");
    }
}
