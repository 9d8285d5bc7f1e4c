//! The attempt of a sleeping bot: what it sleeps for, and until when. Pure.
//!
//! A test begins when the one before it has ended, however late the host wakes up: what is measured is the scheduler,
//! and the errors of timers must not add up over a thousand short tests.

use super::{Sleeps, Slept};
use crate::suite::{ListedTest, TestReport, TestVerdict, TestsCommand, TestsNews};
use proto::Timestamp;
use std::{collections::VecDeque, time::Duration};

/// See the module.
#[derive(Debug)]
pub(super) struct Worker {
    /// When the tests are listed, if they are to be.
    lists: Option<Duration>,
    queue: VecDeque<Queued>,
    /// The first of the queue.
    next: Option<Sleep>,
    /// A runner is up.
    is_started: bool,
    is_hungry: bool,
    complete: bool,
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    index: u32,
    /// A runner is started for it and those behind it.
    starts: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sleep {
    begins: Duration,
    ends: Duration,
    begun: bool,
}

impl Worker {
    pub(super) fn new(list: bool, sleeps: &Sleeps, now: Duration) -> Self {
        let lists = list.then(|| now + sleeps.start);
        let queue = VecDeque::new();
        Self { lists, queue, next: None, is_started: false, is_hungry: false, complete: false }
    }

    /// When something happens next.
    pub(super) fn due(&self) -> Option<Duration> {
        let next = self.next.map(|next| if next.begun { next.ends } else { next.begins });
        self.lists.or(next)
    }

    /// Whether nothing more comes.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether it has run everything, and nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        self.complete && self.queue.is_empty()
    }

    /// Takes in a command. A batch that starts a runner of its own does so when what was there before has ended.
    pub(super) fn obey(&mut self, command: TestsCommand, sleeps: &Sleeps, now: Duration) {
        match command {
            TestsCommand::Complete => self.complete = true,
            TestsCommand::Batch(batch) => {
                self.is_hungry = false;
                for (position, test) in batch.tests.iter().enumerate() {
                    let starts = position == 0 && (sleeps.per_batch || !self.is_started);
                    self.is_started = true;
                    self.queue.push_back(Queued { index: test.index, starts });
                }
                if self.next.is_none() {
                    self.schedule(sleeps, now);
                }
            }
        }
    }

    /// Sleeps on until now, and says what has happened meanwhile.
    pub(super) fn pass(
        &mut self,
        sleeps: &Sleeps,
        now: Duration,
        clock: Timestamp,
        observe: &mut dyn FnMut(Slept),
    ) -> Vec<TestsNews> {
        let mut news = Vec::new();
        if self.lists.take_if(|lists| *lists <= now).is_some() {
            let listed =
                |(name, _): &(String, Duration)| ListedTest { name: name.clone(), ..Default::default() };
            news.push(TestsNews::Listed(sleeps.tests.iter().map(listed).collect()));
        }
        while let Some(next) = self.next.as_mut() {
            if !next.begun && next.begins <= now {
                next.begun = true;
                let index = self.queue[0].index;
                observe(Slept::Begun(index));
                news.push(TestsNews::Started { index, at: clock });
            }
            if self.queue.len() == 1 && next.begun {
                self.ask(&mut news);
            }
            let Some(Sleep { ends, .. }) = self.next.take_if(|next| next.begun && next.ends <= now) else {
                break;
            };
            if let Some(Queued { index, .. }) = self.queue.pop_front() {
                observe(Slept::Ended(index));
                news.push(TestsNews::Finished(report(index, sleeps, clock)));
            }
            if !self.queue.is_empty() {
                self.schedule(sleeps, ends);
            }
        }
        if self.queue.is_empty() && self.lists.is_none() {
            self.ask(&mut news);
        }
        news
    }

    fn ask(&mut self, news: &mut Vec<TestsNews>) {
        if !self.complete && !std::mem::replace(&mut self.is_hungry, true) {
            news.push(TestsNews::Hungry);
        }
    }

    /// The first of the queue may begin from `free` on.
    fn schedule(&mut self, sleeps: &Sleeps, free: Duration) {
        let Some(test) = self.queue.front() else { return };
        let begins = if test.starts { free + sleeps.start } else { free };
        let ends = begins + sleeps.took(test.index).mul_f64(sleeps.slept);
        self.next = Some(Sleep { begins, ends, begun: false });
    }
}

fn report(index: u32, sleeps: &Sleeps, clock: Timestamp) -> TestReport {
    TestReport {
        index,
        verdict: TestVerdict::Passed,
        started: clock,
        duration: sleeps.took(index),
        message: String::new(),
        tail: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{Batch, TestToRun};

    const SECOND: Duration = Duration::from_secs(1);

    fn sleeps(per_batch: bool) -> Sleeps {
        let tests = (1..=3).map(|seconds| (format!("t{seconds}"), SECOND * seconds)).collect();
        Sleeps { tests, pace: 1.0, slept: 1.0, start: SECOND / 2, per_batch }
    }

    fn batch(tests: impl IntoIterator<Item = u32>) -> TestsCommand {
        let test = |index| TestToRun { index, name: format!("t{index}"), timeout: SECOND };
        TestsCommand::Batch(Batch { number: 1, tests: tests.into_iter().map(test).collect() })
    }

    /// What happens to a worker until it has nothing to wait for, and when.
    fn play(worker: &mut Worker, sleeps: &Sleeps) -> Vec<(f64, Slept)> {
        let mut seen = Vec::new();
        while let Some(due) = worker.due() {
            let mut observe = |slept| seen.push((due.as_secs_f64(), slept));
            worker.pass(sleeps, due, Timestamp::default(), &mut observe);
        }
        seen
    }

    #[test]
    fn a_runner_that_stays_is_started_once() {
        let (sleeps, mut worker) = (sleeps(false), Worker::new(false, &sleeps(false), Duration::ZERO));
        worker.obey(batch([0]), &sleeps, Duration::ZERO);
        worker.obey(batch([1]), &sleeps, SECOND);
        let seen = play(&mut worker, &sleeps);
        let (begun, ended) = (Slept::Begun, Slept::Ended);
        assert_eq!(seen, [(0.5, begun(0)), (1.5, ended(0)), (1.5, begun(1)), (3.5, ended(1))]);
    }

    #[test]
    fn a_process_is_started_for_each_batch() {
        let (sleeps, mut worker) = (sleeps(true), Worker::new(false, &sleeps(true), Duration::ZERO));
        worker.obey(batch([0, 1]), &sleeps, Duration::ZERO);
        worker.obey(batch([2]), &sleeps, SECOND);
        let seen = play(&mut worker, &sleeps);
        assert_eq!(seen.last(), Some(&(0.5 + 1.0 + 2.0 + 0.5 + 3.0, Slept::Ended(2))));
    }

    #[test]
    fn one_that_is_late_has_lost_no_time() {
        let (sleeps, mut worker) = (sleeps(false), Worker::new(false, &sleeps(false), Duration::ZERO));
        worker.obey(batch([0, 1, 2]), &sleeps, Duration::ZERO);
        let news = worker.pass(&sleeps, SECOND * 4, Timestamp::default(), &mut |_| {});
        let finished = news.iter().filter(|news| matches!(news, TestsNews::Finished(_))).count();
        assert_eq!((finished, worker.due()), (2, Some(SECOND * 13 / 2)));
    }

    #[test]
    fn more_is_asked_for_once_when_the_last_test_has_begun() {
        let (sleeps, mut worker) = (sleeps(false), Worker::new(true, &sleeps(false), Duration::ZERO));
        let asks = |worker: &mut Worker, at| {
            let news = worker.pass(&sleeps, at, Timestamp::default(), &mut |_| {});
            news.contains(&TestsNews::Hungry)
        };
        assert!(!asks(&mut worker, Duration::ZERO), "it lists the tests first");
        assert!(asks(&mut worker, SECOND));
        worker.obey(batch([0, 1]), &sleeps, SECOND);
        assert!(!asks(&mut worker, SECOND * 3 / 2));
        assert!(asks(&mut worker, SECOND * 5 / 2));
        assert!(!asks(&mut worker, SECOND * 3));
        worker.obey(TestsCommand::Complete, &sleeps, SECOND * 3);
        assert!(!asks(&mut worker, SECOND * 9) && worker.is_over());
    }
}
