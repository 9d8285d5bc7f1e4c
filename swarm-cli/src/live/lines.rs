//! One line for each transition, for logs that are read later.

use super::{Live, tests_view::TestsView};
use crate::{
    console::Console,
    display::{duration, state_text},
    follow::TestsNews,
    model::{Run, Shard, ShardState},
};
use proto::{ShardId, Timestamp};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Between two lines on how far the tests are.
const PROGRESS: Duration = Duration::from_secs(10);

/// Remembers what it said last of every shard.
pub(super) struct Lines {
    console: Arc<Console>,
    said: HashMap<ShardId, (ShardState, usize)>,
    tests: TestsView,
    /// When it said last how far the tests are, and what.
    progress: Option<(Timestamp, String)>,
}

impl Lines {
    pub(super) fn new(console: Arc<Console>) -> Self {
        Self { console, said: HashMap::new(), tests: TestsView::default(), progress: None }
    }
}

impl Live for Lines {
    fn update(&mut self, run: &Run, now: Timestamp) {
        for shard in &run.shards {
            let stands = (shard.state, shard.attempts.len());
            let before = self.said.insert(shard.id, stands);
            // That they are not run yet is no news.
            let unstarted =
                shard.attempts.is_empty() && matches!(shard.state, ShardState::Waiting | ShardState::Pending);
            if before != Some(stands) && !unstarted {
                self.console.note(transition(run, shard));
            }
        }
        if self.progress.as_ref().is_none_or(|(then, _)| now.since(*then) >= PROGRESS) {
            let lines = self.tests.lines(run, now, self.console.note_paint()).join("; ");
            let news = self.progress.as_ref().is_none_or(|(_, before)| *before != lines);
            if news && !lines.is_empty() {
                self.console.note(&lines);
            }
            self.progress = (!lines.is_empty()).then_some((now, lines));
        }
    }

    fn tests(&mut self, news: &TestsNews) {
        for line in self.tests.take(news, self.console.note_paint()) {
            self.console.note(line);
        }
    }

    fn note(&mut self, line: &str) {
        self.console.note(line);
    }

    fn finish(&mut self) {}
}

/// `[3/6] shard 2 passed on bot-1 in 3.2s`.
pub(super) fn transition(run: &Run, shard: &Shard) -> String {
    let ended = run.counts.ended();
    let mut line =
        format!("[{ended}/{}] shard {} {}", run.counts.total(), run.title(shard), state_text(shard));
    if let Some(attempt) = shard.attempt() {
        match shard.state {
            ShardState::Pending => line.push_str(&format!(" again: lost on {}", attempt.bot)),
            _ => line.push_str(&format!(" on {}", attempt.bot)),
        }
        if let (Some(started), Some(ended)) = (attempt.started, attempt.ended) {
            line.push_str(&format!(" in {}", duration(ended.since(started))));
        }
        if attempt.number > 1 {
            line.push_str(&format!(", attempt {}", attempt.number));
        }
    }
    if let Some(code) = shard.exit_code().filter(|&code| code != 0) {
        line.push_str(&format!(", exit code {code}"));
    }
    match shard.reason() {
        "" => {}
        reason => line.push_str(&format!(": {}", reason.replace('\n', " "))),
    }
    line
}
