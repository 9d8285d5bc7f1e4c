//! What became of tests that have run on this bot.

use crate::{
    drivers::{TestRun, with_last_words},
    suite::TestVerdict,
};

/// One of them.
#[derive(Debug)]
pub(super) struct Done {
    /// What went wrong, and how its output ends.
    failure: Option<String>,
    /// It has run for another test, and nobody was told how that went.
    untold: Option<TestRun>,
}

impl Done {
    /// It has run for its verdict, which was told.
    pub(super) fn for_itself(run: TestRun) -> Self {
        Self { failure: failure(&run), untold: None }
    }

    /// It has run for another test: its own verdict may still be asked for.
    pub(super) fn for_another(run: TestRun) -> Self {
        Self { failure: failure(&run), untold: Some(run) }
    }

    /// How it went, once: whoever asks again wants it to run again.
    pub(super) fn tell(&mut self) -> Option<TestRun> {
        self.untold.take()
    }

    /// Why it is as if it had not run, if it is. CTest takes one that was skipped for good.
    pub(super) fn failure(&self, name: &str) -> Option<String> {
        self.failure.as_ref().map(|failure| format!("{name}: {failure}"))
    }
}

fn failure(run: &TestRun) -> Option<String> {
    if matches!(run.verdict, TestVerdict::Passed | TestVerdict::Skipped) {
        return None;
    }
    Some(with_last_words(run.message.clone(), &run.output))
}
