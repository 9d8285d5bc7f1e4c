//! What becomes of tests, told: their reports, and what the end of a process means.

use super::{
    Stop, Suite, killed,
    log::Tail,
    overtime,
    process::Process,
    progress::{self, Concluded, Conclusion, End, EndedBy, Now, Outcome},
};
use crate::{
    attempt::CommandExit,
    drivers::{Event, Left, Takes, TestRun, with_last_words},
    executor::{Cause, Execution},
    suite::{MAX_MESSAGE, TestReport, TestVerdict, TestsNews},
    task::failure::Failure,
};

/// Most notes on an attempt.
const NOTES: usize = 16;

impl Suite<'_> {
    /// What the end of a process means for its tests.
    pub(super) async fn take_leave(
        &mut self,
        mut process: Process,
        execution: Execution,
        left: Left,
    ) -> Result<(), Stop> {
        let mut events = Vec::new();
        process.reader.ended(&left, &mut events);
        let judged = events.iter().find_map(|event| match event {
            Event::Finished(finished) => Some((finished.verdict.clone(), finished.message.clone())),
            _ => None,
        });
        self.take_in(&mut process, events).await?;
        // A runner that has come to its end has told of the test whose process was killed.
        let is_over = process.progress.is_done() && matches!(execution.exit, CommandExit::Code(_));
        let by = match execution.cause {
            Cause::Itself if execution.out_of_memory && !is_over => EndedBy::OutOfMemory,
            Cause::Itself => EndedBy::Itself,
            Cause::Interrupted => process.stopping.unwrap_or(EndedBy::Interrupted),
            Cause::HardTimeout => EndedBy::HardTimeout,
            Cause::IoTimeout => EndedBy::Silent,
        };
        self.out_of_memory |= execution.out_of_memory;
        let end = End { exit: execution.exit, by };
        let last_words = process.tail.as_bytes().to_vec();
        let (verdict, message) = judged.unwrap_or_else(|| (progress::verdict(end), end.to_string()));
        self.ran(TestRun { verdict, message, output: last_words.clone(), took: execution.took });
        let conclusion = process.progress.conclude(end, self.now());
        let Conclusion { outcomes, rest, failure, note } = conclusion;
        self.tell_all(outcomes, &mut process.tail).await?;
        rest.into_iter().rev().for_each(|test| self.queue.push_front(test));
        if let Some(note) = note.filter(|_| process.takes != Takes::Nothing) {
            self.broken = true;
            self.note(note);
        }
        match by {
            EndedBy::Interrupted => return Err(killed()),
            EndedBy::HardTimeout => return Err(overtime(self.timeouts.hard)),
            _ => {}
        }
        match failure {
            None => Ok(()),
            Some(failure) => Err(of_runner(failure, &last_words, by, &execution)),
        }
    }

    /// Lets the runner know how its process went.
    pub(super) fn ran(&mut self, run: TestRun) {
        if let Some(note) = self.runner.left(run) {
            self.note(note);
        }
    }

    pub(super) async fn tell_all(&mut self, outcomes: Vec<Outcome>, tail: &mut Tail) -> Result<(), Stop> {
        for outcome in outcomes {
            match outcome {
                Outcome::Started { index, at } => {
                    *tail = Tail::default();
                    self.tell(TestsNews::Started { index, at }).await?;
                }
                Outcome::Ended(concluded) => {
                    let report = self.report(concluded, tail);
                    self.tell(TestsNews::Finished(report)).await?;
                }
            }
        }
        Ok(())
    }

    fn report(&mut self, concluded: Concluded, last_words: &Tail) -> TestReport {
        let Concluded { test, verdict, mut message, started, duration } = concluded;
        let mut tail = self.logs.finish(&test.name).unwrap_or_else(|error| {
            self.note(format!("the logs of tests are not complete: {error}"));
            Vec::new()
        });
        let by_its_end = matches!(verdict, TestVerdict::Crashed { .. } | TestVerdict::TimedOut);
        if tail.is_empty() && by_its_end {
            tail = last_words.as_bytes().to_vec();
            // Its runner kept for itself what the test wrote; this is all that there is.
            let kept = self.logs.add(&test.name, &tail).and_then(|()| self.logs.finish(&test.name));
            kept.err().into_iter().for_each(|error| self.note(format!("a log is lost: {error}")));
        }
        match verdict {
            TestVerdict::Passed => tail.clear(),
            TestVerdict::Skipped => {}
            _ => self.failed = true,
        }
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        TestReport { index: test.index, verdict, started, duration, message, tail }
    }

    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) && self.notes.len() < NOTES {
            self.notes.push(note);
        }
    }

    pub(super) fn now(&self) -> Now {
        let clock = &self.executor.clock;
        Now { elapsed: clock.elapsed(), at: clock.now() }
    }
}

/// A runner that cannot be made use of, with its last words.
fn of_runner(failure: String, last_words: &[u8], by: EndedBy, execution: &Execution) -> Stop {
    let message = with_last_words(failure, last_words);
    // That it needs more memory than there is says the kernel; whoever else has killed it meant the bot.
    let of_the_bot = by == EndedBy::Itself && execution.signalled && execution.exit == CommandExit::Signal(9);
    Stop::Failed(if of_the_bot { Failure::internal(message) } else { Failure::client(message) })
}
