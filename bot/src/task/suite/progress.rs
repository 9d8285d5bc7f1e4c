//! What has become of the tests that one process was told to run. Pure.
//!
//! A process that ends before its time takes one test with it: the one that was open; else the one that had just ended,
//! until the runner has settled it; else the next one, which was being set up. All others come back as the rest, to be
//! run by another process. Every process gives at least one verdict or a failure, so this ends.

use crate::{
    attempt::CommandExit,
    drivers::{Event, Finished},
    suite::{TestToRun, TestVerdict},
};
use proto::Timestamp;
use std::{collections::HashMap, fmt, time::Duration};

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// Never runs backwards.
    pub(super) elapsed: Duration,
    pub(super) at: Timestamp,
}

/// Who ended a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndedBy {
    Itself,
    /// The kernel, for lack of memory.
    OutOfMemory,
    /// We, because a test took too long.
    Overdue,
    /// We, because it was silent for too long.
    Silent,
    /// We, because it was at work for too long with no test open.
    Stuck,
    /// We, because the attempt has taken too long, whatever its tests did.
    HardTimeout,
    /// Somebody who does not want the attempt any more.
    Interrupted,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) exit: CommandExit,
    pub(super) by: EndedBy,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            EndedBy::Itself => write!(f, "the process ended with {}", self.exit),
            EndedBy::OutOfMemory => write!(f, "out of memory: the kernel killed the process"),
            EndedBy::Overdue => write!(f, "the test took longer than its timeout"),
            EndedBy::Silent => write!(f, "the command was silent for longer than the I/O timeout"),
            EndedBy::Stuck => write!(f, "the runner was at work for too long with no test to show for it"),
            EndedBy::HardTimeout => write!(f, "the hard timeout of the attempt has passed"),
            EndedBy::Interrupted => write!(f, "the attempt was killed"),
        }
    }
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Started { index: u32, at: Timestamp },
    Ended(Concluded),
}

/// The end of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Concluded {
    pub(super) test: TestToRun,
    pub(super) verdict: TestVerdict,
    pub(super) message: String,
    pub(super) started: Timestamp,
    pub(super) duration: Duration,
}

/// A test that has begun.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) test: TestToRun,
    pub(super) since: Now,
    /// What of it runs, if the runner says so.
    part: Option<String>,
    /// Its time is not to be limited any more.
    pub(super) is_ending: bool,
}

/// What a test has left, while it is being put away.
#[derive(Clone, Debug)]
struct Clearing {
    test: TestToRun,
    since: Duration,
    /// With it goes what the whole process shares, which may take as long as it likes.
    all: bool,
}

/// What a process that has ended leaves.
#[derive(Debug, Default)]
pub(super) struct Conclusion {
    pub(super) outcomes: Vec<Outcome>,
    /// Tests that have not begun, in their order.
    pub(super) rest: Vec<TestToRun>,
    /// Why another process would fare no better.
    pub(super) failure: Option<String>,
    /// What went wrong after the last test, when no test can be blamed.
    pub(super) note: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Told to the process and not begun, by name, each with its place.
    waiting: HashMap<String, (usize, TestToRun)>,
    told: usize,
    open: Option<Open>,
    /// Ended, and the process may still fail for it.
    held: Option<Concluded>,
    /// The last one that has ended.
    last: Option<TestToRun>,
    clearing: Option<Clearing>,
    group: Option<String>,
    /// The process is told of tests one by one.
    pulls: bool,
    up: bool,
    done: bool,
    judged: bool,
    begun: usize,
    failed: bool,
    /// The test for which the process is being ended, by its index, and why.
    overdue: Option<(u32, EndedBy)>,
}

impl Progress {
    /// Of a process that is told of tests later on.
    pub(super) fn pulling() -> Self {
        Self { pulls: true, ..Self::default() }
    }

    /// Of one that is told of these, whose names are unique.
    pub(super) fn of(tests: impl IntoIterator<Item = TestToRun>) -> Self {
        let mut progress = Self::default();
        tests.into_iter().for_each(|test| progress.tell(test));
        progress
    }

    /// The process is told of one more.
    pub(super) fn tell(&mut self, test: TestToRun) {
        self.waiting.insert(test.name.clone(), (self.told, test));
        self.told += 1;
    }

    pub(super) fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// Since when what runs of a test has a limit, and which one.
    pub(super) fn limit(&self) -> Option<(Duration, Duration)> {
        if let Some(clearing) = &self.clearing {
            return (!clearing.all).then_some((clearing.since, clearing.test.timeout));
        }
        let open = self.open.as_ref().filter(|open| !open.is_ending)?;
        Some((open.since.elapsed, open.test.timeout))
    }

    /// The process is being ended because the open test, if there is one, takes too long.
    pub(super) fn overdue(&mut self, by: EndedBy) {
        self.overdue = self.open.as_ref().map(|open| (open.test.index, by));
    }

    /// Whether output can be that of the test `name`. A runner that is told of tests one by one writes for the open one;
    /// another may write for the next before it says that this has begun.
    pub(super) fn may_write(&self, name: &str) -> bool {
        let is_open = self.open.as_ref().is_some_and(|open| open.test.name == name);
        let is_held = || self.held.as_ref().is_some_and(|held| held.test.name == name);
        is_open || (!self.pulls && (is_held() || self.waiting.contains_key(name)))
    }

    /// Whether the process has said that it came to its end.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// How many have not begun.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes in what the process says.
    pub(super) fn apply(&mut self, event: Event, now: Now) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        match event {
            Event::Up | Event::Ready | Event::Ahead => self.up = true,
            Event::Started(name) => {
                self.up = true;
                let Some((_, test)) = self.waiting.remove(&name) else { return outcomes };
                outcomes.extend(self.held.take().map(Outcome::Ended));
                // A runner that has begun the next one without a word about the former.
                outcomes.extend(self.open.take().map(|open| {
                    Outcome::Ended(open.ended(TestVerdict::Failed, "the runner tells no result", now))
                }));
                outcomes.push(Outcome::Started { index: test.index, at: now.at });
                self.begun += 1;
                self.clearing = None;
                self.open = Some(Open { test, since: now, part: None, is_ending: false });
            }
            Event::Finished(finished) => {
                self.finish(finished, now);
                if self.pulls {
                    outcomes.extend(self.held.take().map(Outcome::Ended));
                }
            }
            Event::Settled { group } => {
                self.group = group;
                // Nothing of it is left to run: how the process ends is still to be seen.
                if !self.waiting.is_empty() {
                    outcomes.extend(self.held.take().map(Outcome::Ended));
                }
            }
            Event::Unknown(name) => {
                let unknown = self.waiting.remove(&name).map(|(_, test)| unknown(test, now));
                outcomes.extend(unknown.map(Outcome::Ended));
            }
            Event::Clearing { name, all } => {
                let test = self.open.as_ref().map(|open| &open.test).or(self.last.as_ref());
                let test = test.filter(|test| test.name == name).cloned();
                self.clearing = test.map(|test| Clearing { test, since: now.elapsed, all });
            }
            Event::Cleared { .. } => self.clearing = None,
            Event::Done => self.done = true,
            Event::Judged => (self.done, self.judged) = (true, true),
            Event::Doing(part) => self.open.iter_mut().for_each(|open| open.part = Some(part.clone())),
            Event::Ending => self.open.iter_mut().for_each(|open| open.is_ending = true),
            Event::Blamed(why) => self.blame(&why),
            Event::Output(..) | Event::Sync => {}
        }
        outcomes
    }

    fn finish(&mut self, finished: Finished, now: Now) {
        let Some(open) = self.open.take_if(|open| open.test.name == finished.name) else { return };
        self.failed |= finished.verdict == TestVerdict::Failed;
        self.clearing = None;
        self.last = Some(open.test.clone());
        let mut concluded = match self.overdue {
            // It has come to its end between our decision and the kill.
            Some((index, by)) if index == open.test.index => {
                let end = End { exit: CommandExit::Signal(9), by };
                open.ended(TestVerdict::TimedOut, &format!("before it ended, {end}"), now)
            }
            _ => open.ended(finished.verdict, &finished.message, now),
        };
        if let Some((took, exact)) = finished.took {
            concluded.duration = concluded.duration.clamp(took, took + exact);
        }
        self.held = Some(concluded);
    }

    /// What has ended last has failed, for something that came before or after it.
    fn blame(&mut self, why: &str) {
        let Some(held) = &mut self.held else { return };
        self.failed = true;
        if matches!(held.verdict, TestVerdict::Passed | TestVerdict::Skipped) {
            held.verdict = TestVerdict::Failed;
        }
        if !held.message.contains(why) {
            let separator = if held.message.is_empty() { "" } else { "\n" };
            held.message.push_str(&format!("{separator}{why}"));
        }
    }

    /// The process has ended, and all that it said was taken in.
    pub(super) fn conclude(mut self, end: End, now: Now) -> Conclusion {
        let mut conclusion = Conclusion::default();
        let ended = self.take_ended(end, now, &mut conclusion);
        let mut rest: Vec<_> = std::mem::take(&mut self.waiting).into_values().collect();
        rest.sort_unstable_by_key(|(place, _)| *place);
        let mut rest: Vec<TestToRun> = rest.into_iter().map(|(_, test)| test).collect();
        let is_clean = self.is_clean(end);
        if ended || self.stopped(end) || (self.overdue.is_some() && end.by != EndedBy::Itself) {
            // The open, the held or the overdue one has explained it.
        } else if let Some(Clearing { test, .. }) = self.clearing.take() {
            let why = match end.by {
                EndedBy::Overdue => "it took longer than the test itself may".to_owned(),
                _ => end.to_string(),
            };
            conclusion.note = Some(not_put_away(&test.name, &why));
        } else if self.pulls && !self.up {
            conclusion.failure = Some(format!("the runner asked for no test: {end}"));
        } else if rest.is_empty() {
            conclusion.note = (!is_clean).then(|| format!("after the last test, {end}"));
        } else if !self.up || (self.done && self.begun == 0 && end.exit != CommandExit::Code(0)) {
            let tests = rest.len();
            conclusion.failure = Some(format!("the runner ran none of its {tests} tests: {end}"));
        } else if self.done && end.by == EndedBy::Itself {
            conclusion.outcomes.extend(rest.drain(..).map(|test| Outcome::Ended(unknown(test, now))));
        } else if self.pulls && self.begun == 0 {
            conclusion.failure = Some(format!("the runner ended before it ran a test: {end}"));
        } else if !self.pulls {
            let next = self.next(&rest);
            let open = Open { test: rest.remove(next), since: now, part: None, is_ending: false };
            let message = format!("before it began, {end}");
            conclusion.outcomes.push(Outcome::Ended(open.ended(verdict(end), &message, now)));
        }
        conclusion.rest = rest;
        conclusion
    }

    /// Ends the open and the held test. Tells whether one of them explains how the process ended.
    fn take_ended(&mut self, end: End, now: Now, conclusion: &mut Conclusion) -> bool {
        let mut outcome = |concluded| conclusion.outcomes.push(Outcome::Ended(concluded));
        if let Some(open) = self.open.take() {
            self.held.take().into_iter().for_each(&mut outcome);
            let other = self.overdue.is_some_and(|(index, by)| by == end.by && index != open.test.index);
            // Nobody says that it would have taken longer than it may.
            let in_time = now.elapsed < open.since.elapsed.saturating_add(open.test.timeout);
            let cut_off = end.by == EndedBy::HardTimeout && in_time;
            if other || cut_off || end.by == EndedBy::Interrupted {
                // Nothing of it has ended the process. It is run again, from its start.
                self.waiting.insert(open.test.name.clone(), (0, open.test));
            } else {
                let part = open.part.as_ref().map_or("while it ran".into(), |part| format!("in its {part}"));
                let message = format!("{part}, {end}");
                outcome(open.ended(verdict(end), &message, now));
            }
            return true;
        }
        let Some(mut held) = self.held.take() else { return false };
        let is_told = held.verdict == TestVerdict::TimedOut;
        let explains = !is_told && !self.stopped(end) && !self.is_clean(end) && !self.done_with_rest(end);
        if explains {
            if held.verdict != TestVerdict::Failed {
                held.verdict = verdict(end);
            }
            if !held.message.is_empty() {
                held.message.push('\n');
            }
            held.message.push_str(&format!("after it had ended, {end}"));
        }
        outcome(held);
        explains
    }

    /// The program came to its end and left tests out: these are unknown to it, whatever its exit code.
    fn done_with_rest(&self, end: End) -> bool {
        self.done && end.by == EndedBy::Itself && !self.waiting.is_empty()
    }

    fn stopped(&self, end: End) -> bool {
        matches!(end.by, EndedBy::Interrupted | EndedBy::HardTimeout)
    }

    fn is_clean(&self, end: End) -> bool {
        let expected = match end.exit {
            CommandExit::Code(0) => true,
            CommandExit::Code(1) => self.failed || self.judged,
            CommandExit::Code(_) => self.judged,
            CommandExit::Signal(_) => self.judged,
        };
        end.by == EndedBy::Itself && self.done && expected
    }

    /// The test that was being set up: the first of the group that the runner was at, if it said so.
    fn next(&self, rest: &[TestToRun]) -> usize {
        let of = |group: &String| {
            rest.iter().position(|test| {
                test.name.strip_prefix(group.as_str()).is_some_and(|rest| rest.starts_with('.'))
            })
        };
        self.group.as_ref().and_then(of).unwrap_or(0)
    }
}

impl Open {
    fn ended(self, verdict: TestVerdict, message: &str, now: Now) -> Concluded {
        Concluded {
            test: self.test,
            verdict,
            message: message.to_owned(),
            started: self.since.at,
            duration: now.elapsed.saturating_sub(self.since.elapsed),
        }
    }
}

/// What the verdict of a test does not tell any more.
pub(super) fn not_put_away(test: &str, why: &str) -> String {
    format!("what {test} has left could not be put away: {why}")
}

fn unknown(test: TestToRun, now: Now) -> Concluded {
    let message = "the runner on this bot does not know the test, or does not run it".to_owned();
    Concluded { test, verdict: TestVerdict::Unknown, message, started: now.at, duration: Duration::ZERO }
}

/// What the end of its process means for the test that is to blame.
pub(super) fn verdict(end: End) -> TestVerdict {
    match end.by {
        EndedBy::Overdue | EndedBy::Silent | EndedBy::Stuck | EndedBy::HardTimeout => TestVerdict::TimedOut,
        EndedBy::OutOfMemory => TestVerdict::Crashed { how: "out of memory".into() },
        EndedBy::Itself | EndedBy::Interrupted => TestVerdict::Crashed { how: end.exit.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(index: u32, name: &str) -> TestToRun {
        TestToRun { index, name: name.into(), timeout: Duration::from_secs(1) }
    }

    fn now(millis: u64) -> Now {
        Now { elapsed: Duration::from_millis(millis), at: Timestamp::from_micros(millis * 1000) }
    }

    fn progress() -> Progress {
        Progress::of([test(0, "A.a"), test(1, "A.b"), test(2, "B.c")])
    }

    fn finished(name: &str, verdict: TestVerdict) -> Event {
        Event::Finished(Finished { name: name.into(), verdict, message: String::new(), took: None })
    }

    fn started(name: &str) -> Event {
        Event::Started(name.into())
    }

    fn by_itself(exit: CommandExit) -> End {
        End { exit, by: EndedBy::Itself }
    }

    fn verdicts(outcomes: &[Outcome]) -> Vec<(u32, TestVerdict)> {
        let ended = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Ended(concluded) => Some((concluded.test.index, concluded.verdict.clone())),
            Outcome::Started { .. } => None,
        });
        ended.collect()
    }

    fn apply(progress: &mut Progress, events: impl IntoIterator<Item = Event>) -> Vec<(u32, TestVerdict)> {
        let outcomes: Vec<_> = events.into_iter().flat_map(|event| progress.apply(event, now(5))).collect();
        verdicts(&outcomes)
    }

    fn crashed(how: &str) -> TestVerdict {
        TestVerdict::Crashed { how: how.into() }
    }

    use TestVerdict::{Failed, Passed, TimedOut, Unknown};

    #[test]
    fn a_test_that_has_ended_is_told_when_the_next_one_begins() {
        let mut progress = progress();
        assert_eq!(apply(&mut progress, [started("A.b"), finished("A.b", Passed)]), []);
        assert_eq!(apply(&mut progress, [started("A.a")]), [(1, Passed)]);
        assert_eq!((progress.waiting(), progress.open().unwrap().test.index), (1, 0));
        let done = [finished("A.a", Failed), started("B.c"), finished("B.c", Passed), Event::Done];
        assert_eq!(apply(&mut progress, done), [(0, Failed)]);
        let conclusion = progress.conclude(by_itself(CommandExit::Code(1)), now(9));
        assert_eq!(verdicts(&conclusion.outcomes), [(2, Passed)]);
        assert!(conclusion.rest.is_empty() && conclusion.failure.is_none() && conclusion.note.is_none());
    }

    #[test]
    fn a_process_that_dies_takes_the_open_test_alone() {
        for (end, expected) in [
            (by_itself(CommandExit::Signal(6)), crashed("signal 6 (SIGABRT)")),
            (by_itself(CommandExit::Code(0)), crashed("exit code 0")),
            (End { exit: CommandExit::Signal(9), by: EndedBy::OutOfMemory }, crashed("out of memory")),
            (End { exit: CommandExit::Signal(15), by: EndedBy::Overdue }, TimedOut),
        ] {
            let mut progress = progress();
            apply(&mut progress, [started("A.a"), finished("A.a", Passed), started("A.b")]);
            let conclusion = progress.conclude(end, now(9));
            assert_eq!(verdicts(&conclusion.outcomes), [(1, expected)]);
            assert_eq!(conclusion.rest, [test(2, "B.c")]);
        }
    }

    #[test]
    fn what_fails_between_tests_belongs_to_the_former_until_it_is_settled_then_to_the_next() {
        let crash = by_itself(CommandExit::Signal(11));
        let events = [started("A.a"), finished("A.a", Passed)];
        let mut torn_down = progress();
        apply(&mut torn_down, events.clone());
        let conclusion = torn_down.conclude(crash, now(9));
        assert_eq!(verdicts(&conclusion.outcomes), [(0, crashed("signal 11 (SIGSEGV)"))]);
        assert_eq!(conclusion.rest.len(), 2);
        let mut set_up = progress();
        assert_eq!(apply(&mut set_up, events), []);
        let settled = Event::Settled { group: Some("B".into()) };
        assert_eq!(apply(&mut set_up, [settled]), [(0, Passed)]);
        let conclusion = set_up.conclude(crash, now(9));
        assert_eq!(verdicts(&conclusion.outcomes), [(2, crashed("signal 11 (SIGSEGV)"))]);
        assert_eq!(conclusion.rest, [test(1, "A.b")]);
    }

    #[test]
    fn an_end_that_no_failed_test_explains_belongs_to_the_last_test() {
        let mut progress = Progress::of([test(0, "A.a")]);
        let settled = Event::Settled { group: None };
        apply(&mut progress, [started("A.a"), finished("A.a", Passed), settled, Event::Done]);
        let conclusion = progress.conclude(by_itself(CommandExit::Code(23)), now(9));
        assert_eq!(verdicts(&conclusion.outcomes), [(0, crashed("exit code 23"))]);
    }

    #[test]
    fn the_overdue_test_has_timed_out_and_not_the_one_that_began_meanwhile() {
        let end = End { exit: CommandExit::Signal(9), by: EndedBy::Overdue };
        let mut next_began = progress();
        apply(&mut next_began, [started("A.a")]);
        next_began.overdue(EndedBy::Overdue);
        let told = apply(&mut next_began, [finished("A.a", Passed), started("A.b")]);
        assert_eq!(told, [(0, TimedOut)]);
        let conclusion = next_began.conclude(end, now(9));
        assert_eq!((verdicts(&conclusion.outcomes), conclusion.rest.len()), (vec![], 2));
        let mut pulling = Progress::pulling();
        pulling.tell(test(0, "a"));
        apply(&mut pulling, [Event::Ready, started("a")]);
        pulling.overdue(EndedBy::Overdue);
        assert_eq!(apply(&mut pulling, [finished("a", Passed)]), [(0, TimedOut)]);
        let conclusion = pulling.conclude(end, now(9));
        assert_eq!((conclusion.note, conclusion.failure), (None, None));
    }

    #[test]
    fn output_is_taken_for_tests_of_the_process_only() {
        let mut pulling = Progress::pulling();
        ["a", "b"].into_iter().zip(0..).for_each(|(name, index)| pulling.tell(test(index, name)));
        apply(&mut pulling, [Event::Ready, started("a")]);
        assert_eq!(["a", "b", "c"].map(|name| pulling.may_write(name)), [true, false, false]);
        assert_eq!(["A.a", "B.c", "C.d"].map(|name| progress().may_write(name)), [true, true, false]);
    }

    #[test]
    fn a_failed_test_explains_exit_code_1_and_no_other() {
        for (code, last) in [(1, Passed), (23, crashed("exit code 23"))] {
            let mut progress = Progress::of([test(0, "A.a"), test(1, "A.b")]);
            let settled = Event::Settled { group: None };
            let first = [started("A.a"), finished("A.a", Failed)];
            apply(&mut progress, first.into_iter().chain([started("A.b"), finished("A.b", Passed), settled]));
            apply(&mut progress, [Event::Done]);
            let conclusion = progress.conclude(by_itself(CommandExit::Code(code)), now(9));
            assert_eq!(verdicts(&conclusion.outcomes), [(1, last)]);
        }
    }

    #[test]
    fn what_a_runner_leaves_out_is_unknown_to_it() {
        let mut progress = progress();
        apply(&mut progress, [started("A.a"), finished("A.a", Passed), Event::Done]);
        let conclusion = progress.conclude(by_itself(CommandExit::Code(0)), now(9));
        assert_eq!(verdicts(&conclusion.outcomes), [(0, Passed), (1, Unknown), (2, Unknown)]);
    }

    #[test]
    fn a_runner_that_runs_nothing_is_a_failure_and_blames_no_test() {
        for events in [vec![], vec![Event::Up, Event::Done]] {
            let mut progress = progress();
            apply(&mut progress, events);
            let conclusion = progress.conclude(by_itself(CommandExit::Code(127)), now(9));
            assert_eq!((verdicts(&conclusion.outcomes), conclusion.rest.len()), (vec![], 3));
            let failure = conclusion.failure.unwrap();
            assert!(
                failure.contains("none of its 3 tests") && failure.contains("exit code 127"),
                "{failure}"
            );
        }
    }

    #[test]
    fn an_attempt_that_is_killed_gives_its_open_test_back() {
        let mut progress = progress();
        apply(&mut progress, [started("A.a"), finished("A.a", Passed), started("A.b")]);
        let end = End { exit: CommandExit::Signal(15), by: EndedBy::Interrupted };
        let conclusion = progress.conclude(end, now(9));
        assert_eq!((verdicts(&conclusion.outcomes), conclusion.rest.len()), (vec![], 2));
        assert!(conclusion.failure.is_none());
    }

    #[test]
    fn the_open_test_of_an_attempt_that_took_too_long_is_given_back_unless_it_did_so_itself() {
        let end = End { exit: CommandExit::Signal(15), by: EndedBy::HardTimeout };
        for (ended, told, rest) in [(900, vec![], 2), (1005, vec![(1, TimedOut)], 1)] {
            let mut progress = progress();
            apply(&mut progress, [started("A.a"), finished("A.a", Passed), started("A.b")]);
            let conclusion = progress.conclude(end, now(ended));
            assert_eq!((verdicts(&conclusion.outcomes), conclusion.rest.len()), (told, rest));
            assert!(conclusion.failure.is_none());
        }
    }

    #[test]
    fn a_runner_that_pulls_tells_at_once_and_an_end_between_tests_blames_none() {
        let mut progress = Progress::pulling();
        progress.tell(test(0, "a"));
        let events = [Event::Ready, started("a"), finished("a", Passed), Event::Unknown("b".into())];
        assert_eq!(apply(&mut progress, events), [(0, Passed)]);
        progress.tell(test(1, "b"));
        assert_eq!(apply(&mut progress, [Event::Unknown("b".into())]), [(1, Unknown)]);
        progress.tell(test(2, "c"));
        let conclusion = progress.conclude(by_itself(CommandExit::Signal(9)), now(9));
        assert_eq!((verdicts(&conclusion.outcomes), conclusion.rest), (vec![], vec![test(2, "c")]));
        assert!(conclusion.failure.is_none());
    }

    #[test]
    fn an_end_while_something_is_put_away_belongs_to_the_test_that_has_left_it() {
        let overdue = End { exit: CommandExit::Signal(15), by: EndedBy::Overdue };
        let clearing = |all| Event::Clearing { name: "a".into(), all };
        for (end, why) in [(by_itself(CommandExit::Signal(6)), "SIGABRT"), (overdue, "longer than the test")]
        {
            // Its end was not told.
            let mut known = Progress::pulling();
            ["a", "b"].into_iter().zip(0..).for_each(|(name, index)| known.tell(test(index, name)));
            apply(&mut known, [Event::Ready, started("a"), Event::Ahead, clearing(false)]);
            assert_eq!(known.limit(), Some((Duration::from_millis(5), Duration::from_secs(1))));
            known.overdue(end.by);
            let conclusion = known.conclude(end, now(9));
            assert_eq!(verdicts(&conclusion.outcomes), [(0, verdict(end))]);
            assert_eq!((conclusion.rest, conclusion.note), (vec![test(1, "b")], None));
            // It was: nothing is left but a note, and the next one is not to blame.
            let mut told = Progress::pulling();
            told.tell(test(0, "a"));
            let events = [Event::Ready, started("a"), Event::Ahead, finished("a", Passed), Event::Ready];
            assert_eq!(apply(&mut told, events), [(0, Passed)]);
            told.tell(test(1, "b"));
            apply(&mut told, [clearing(false)]);
            told.overdue(end.by);
            let conclusion = told.conclude(end, now(9));
            assert_eq!((verdicts(&conclusion.outcomes), conclusion.rest), (vec![], vec![test(1, "b")]));
            let note = conclusion.note.unwrap();
            assert!(note.contains("what a has left") && note.contains(why), "{note}");
        }
    }

    #[test]
    fn what_is_put_away_is_limited_unless_the_whole_process_shares_it() {
        let mut progress = Progress::pulling();
        progress.tell(test(0, "a"));
        apply(&mut progress, [Event::Ready, started("a"), Event::Clearing { name: "a".into(), all: true }]);
        assert_eq!(progress.limit(), None);
        apply(&mut progress, [finished("a", Passed), Event::Clearing { name: "b".into(), all: false }]);
        assert_eq!(progress.limit(), None, "nobody knows it");
        apply(&mut progress, [Event::Clearing { name: "a".into(), all: false }]);
        assert!(progress.limit().is_some());
        apply(&mut progress, [Event::Cleared { name: "a".into(), problem: String::new() }]);
        assert_eq!(progress.limit(), None);
    }

    #[test]
    fn the_runners_own_time_bounds_ours() {
        let mut progress = Progress::of([test(0, "a")]);
        progress.apply(started("a"), now(0));
        let took = Some((Duration::from_millis(20), Duration::from_millis(1)));
        let name = "a".to_owned();
        let finished = Finished { name, verdict: Passed, message: String::new(), took };
        progress.apply(Event::Finished(finished), now(300));
        progress.apply(Event::Done, now(300));
        let conclusion = progress.conclude(by_itself(CommandExit::Code(0)), now(301));
        let [Outcome::Ended(ended)] = conclusion.outcomes.as_slice() else { panic!("{conclusion:?}") };
        assert_eq!(ended.duration, Duration::from_millis(21));
    }
}
