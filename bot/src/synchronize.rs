//! What to tell the scheduler, when, and what its answers mean. Pure: no I/O, no clock, no task.
//!
//! The synchronizer owns which attempts the bot holds and how much of each the scheduler has. Both sides always say
//! their whole state, so a call that is cut off, repeated or answered by a restarted scheduler needs no special case:
//!
//! - an attempt is started when it is first desired, and never twice, whatever is answered later;
//! - it is told of until an answer leaves it out, and only then forgotten, running or finished;
//! - its output is told from where the scheduler says that it has it, so that none is lost or doubled;
//! - what a worker says of tests is told until the scheduler has it, see `progress`, and its result comes after that.
//!
//! A call that tells something asks to be answered at once. One that has nothing to tell waits at the scheduler for
//! work, or for more tests, and is dropped as soon as there is something to tell.

mod progress;

use crate::{
    attempt::{Assignment, AttemptResult, Ending, Lease},
    remote::{Accepting, Answer, Desired, TestsGrant, TestsProgress, Wish},
    suite::{TestsCommand, TestsNews},
};
use progress::{Progress, Room};
use proto::limits;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    time::Duration,
};

/// Longest that a call waits at the scheduler.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Output is gathered this long before it is told, unless it fills a call.
const GATHER: Duration = Duration::from_millis(250);

/// What the scheduler was told and has not taken is told again after this time.
const RETELL: Duration = Duration::from_secs(1);

/// Calls that tell nothing and bring nothing are at least this far apart, in case the scheduler does not hold them.
const PACE: Duration = Duration::from_millis(250);

/// Bounds of the back-off after failed calls.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// How many leases that have ended are remembered, so as not to start them again.
const REMEMBERED: usize = 4096;

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Begin to carry out an assignment.
    Start(Lease, Box<Assignment>),
    /// End the attempt with TERM, grace, KILL and report its result.
    Kill(Lease),
    /// Tell a worker what to do next.
    Tests(Lease, TestsCommand),
    /// Stop the attempt at once if it runs, and drop all that it left.
    Forget(Lease),
}

/// What one call tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) reports: Vec<Report>,
    pub(crate) wait: Duration,
    pub(crate) accepting: Accepting,
    began: Duration,
    version: u64,
}

/// What a call tells of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) lease: Lease,
    /// The part of its output that goes along.
    pub(crate) output: Range<u64>,
    /// Only beside the last of the output, and when the reports of all tests were taken.
    pub(crate) result: Option<AttemptResult>,
    /// Of a worker.
    pub(crate) tests: Option<TestsProgress>,
}

impl Plan {
    /// Whether the call only waits for work.
    pub(crate) fn is_idle(&self) -> bool {
        !self.wait.is_zero()
    }
}

#[derive(Debug)]
struct Held {
    /// Bytes of output that there are.
    output: u64,
    /// Bytes of output that the scheduler has.
    received: u64,
    result: Option<AttemptResult>,
    /// The scheduler did not take what it was told: tell it again, but not before this time.
    retell: Option<Duration>,
    killing: bool,
    /// Of a worker.
    tests: Option<Progress>,
}

/// The state. See the module.
#[derive(Debug)]
pub(crate) struct Synchronizer {
    slots: usize,
    accepting: Accepting,
    held: BTreeMap<Lease, Held>,
    ended: VecDeque<Lease>,
    /// The scheduler does not know yet who we are, or that we are draining.
    unannounced: bool,
    /// Rises with everything that is to be announced.
    version: u64,
    call_again: Duration,
    /// No call before this time.
    not_before: Duration,
    /// When output was told last.
    output_told: Duration,
    /// When reports of tests were told last.
    tests_told: Duration,
    failures: u32,
}

impl Synchronizer {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots,
            accepting: Accepting::Work,
            held: BTreeMap::new(),
            ended: VecDeque::new(),
            unannounced: true,
            version: 0,
            call_again: Duration::ZERO,
            not_before: Duration::ZERO,
            output_told: Duration::ZERO,
            tests_told: Duration::ZERO,
            failures: 0,
        }
    }

    /// One that takes nothing new and tells of attempts that are over: their leases, their output in bytes, and their
    /// results, as far as they have come to one.
    pub(crate) fn of_former(over: impl IntoIterator<Item = (Lease, u64, Option<AttemptResult>)>) -> Self {
        let held = |(lease, output, result)| {
            let held = Held { output, received: 0, result, retell: None, killing: true, tests: None };
            (lease, held)
        };
        let held = over.into_iter().map(held).collect();
        Self { held, accepting: Accepting::Nothing, ..Self::new(0) }
    }

    /// What is held.
    pub(crate) fn leases(&self) -> Vec<Lease> {
        self.held.keys().copied().collect()
    }

    /// How many results, and bytes of output and reports of tests, the scheduler does not have.
    pub(crate) fn untold(&self) -> (usize, u64) {
        let results = self.held.values().filter(|held| held.result.is_some()).count();
        let of_tests = |held: &Held| held.tests.as_ref().map_or(0, Progress::untold);
        (results, self.held.values().map(|held| held.output - held.received + of_tests(held)).sum())
    }

    /// When the next call may tell of that. None: it has all.
    pub(crate) fn untold_from(&self) -> Option<Duration> {
        let is_told = self.untold() == (0, 0);
        (!is_told).then(|| self.news_from().map_or(self.not_before, |from| from.max(self.not_before)))
    }

    /// No call may begin before this time.
    pub(crate) fn not_before(&self) -> Duration {
        self.not_before
    }

    /// From when on there is something that is worth a call, or dropping one that only waits.
    pub(crate) fn news_from(&self) -> Option<Duration> {
        if self.unannounced {
            return Some(self.not_before);
        }
        let one = |held: &Held| {
            let unsent = held.output - held.received;
            match held.retell {
                Some(retell) => Some(retell),
                None if held.result.is_some() && held.tests.as_ref().is_none_or(Progress::lets_go) => {
                    Some(Duration::ZERO)
                }
                None if unsent >= limits::MAX_OUTPUT_PER_SYNC as u64 => Some(Duration::ZERO),
                None => (unsent > 0).then_some(self.output_told + GATHER),
            }
        };
        let tests = |held: &Held| held.tests.as_ref().and_then(|tests| tests.news_from(self.tests_told));
        let held = self.held.values();
        let news = held.flat_map(|held| [one(held), tests(held)]).flatten().min();
        news.map(|news| news.max(self.not_before))
    }

    /// What a call that begins now tells: of everything that is held, with as much output as fits.
    pub(crate) fn plan(&mut self, now: Duration) -> Plan {
        let talkative = self.held.values().filter(|held| held.output > held.received).count();
        let share = (limits::MAX_OUTPUT_PER_SYNC / talkative.max(1)) as u64;
        let reporting = |held: &&Held| held.tests.as_ref().is_some_and(Progress::has_reports);
        let mut room = Room::among(self.held.values().filter(reporting).count());
        let report = |(lease, held): (&Lease, &mut Held)| {
            let end = held.output.min(held.received + share);
            let last = end == held.output && held.tests.as_ref().is_none_or(Progress::lets_go);
            let result = held.result.clone().filter(|_| last);
            let tests = held.tests.as_mut().map(|tests| tests.tell(&mut room, now));
            Report { lease: *lease, output: held.received..end, result, tests }
        };
        let reports: Vec<Report> = self.held.iter_mut().map(report).collect();
        let tells_output = reports.iter().any(|report| !report.output.is_empty());
        if tells_output {
            self.output_told = now;
        }
        let tells_tests = reports.iter().any(|report| report.tests.as_ref().is_some_and(progress::tells));
        if tells_tests {
            self.tests_told = now;
        }
        let tells = tells_output
            || tells_tests
            || self.unannounced
            || reports.iter().any(|report| report.result.is_some());
        let wait = if tells { Duration::ZERO } else { self.call_again.min(LONGEST_WAIT) };
        Plan { reports, wait, accepting: self.accepting, began: now, version: self.version }
    }

    /// A call was answered.
    pub(crate) fn answered(&mut self, plan: &Plan, answer: Answer, now: Duration) -> Vec<Action> {
        self.failures = 0;
        self.call_again = answer.call_again;
        if plan.version == self.version {
            self.unannounced = false;
        }
        let desired: BTreeSet<Lease> = answer.desired.iter().map(|desired| desired.lease).collect();
        let released: Vec<Lease> =
            self.held.keys().filter(|lease| !desired.contains(lease)).copied().collect();
        let mut actions: Vec<Action> = released.into_iter().map(|lease| self.forget(lease)).collect();
        actions.extend(answer.desired.into_iter().flat_map(|desired| self.desire(desired)));
        for report in &plan.reports {
            if let Some(held) = self.held.get_mut(&report.lease) {
                let ignored = !report.output.is_empty() && held.received <= report.output.start;
                held.retell = (ignored || report.result.is_some()).then(|| now + RETELL);
                if let (Some(tests), Some(told)) = (&mut held.tests, &report.tests) {
                    tests.answered(told, now);
                }
            }
        }
        if plan.is_idle() && actions.is_empty() {
            self.not_before = plan.began + PACE;
        }
        actions
    }

    /// A call failed. `jitter` picks a time below the one it is given.
    pub(crate) fn failed(&mut self, now: Duration, jitter: impl FnOnce(Duration) -> Duration) {
        let ceiling = SHORTEST_BACKOFF.saturating_mul(1 << self.failures.min(10)).min(LONGEST_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + jitter(ceiling);
    }

    /// The last calls that failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt's output has this many bytes by now.
    pub(crate) fn output_grew(&mut self, lease: Lease, output: u64) {
        if let Some(held) = self.held.get_mut(&lease) {
            held.output = held.output.max(output);
        }
    }

    /// A worker tells of its tests.
    pub(crate) fn tests(&mut self, lease: Lease, news: TestsNews) {
        let held = self.held.get_mut(&lease).filter(|held| held.result.is_none());
        if let Some(tests) = held.and_then(|held| held.tests.as_mut()) {
            tests.take(news);
        }
    }

    /// Whether more of what a worker tells can be kept. It waits as long as not.
    pub(crate) fn takes_tests(&self, lease: Lease) -> bool {
        let tests = self.held.get(&lease).and_then(|held| held.tests.as_ref());
        tests.is_none_or(Progress::has_room)
    }

    /// An attempt has ended. Its output does not grow any more.
    pub(crate) fn finished(&mut self, lease: Lease, result: AttemptResult) {
        if let Some(held) = self.held.get_mut(&lease) {
            held.result.get_or_insert(result);
            held.tests.iter_mut().for_each(Progress::end);
        }
    }

    /// Takes nothing new from now on.
    pub(crate) fn drain(&mut self) {
        if self.accepting == Accepting::Work {
            self.accepting = Accepting::Nothing;
            self.announce();
        }
    }

    /// Takes work again.
    pub(crate) fn resume(&mut self) {
        self.accepting = Accepting::Work;
        self.announce();
    }

    /// What the bot says of itself has changed: the next call tells it at once.
    pub(crate) fn announce(&mut self) {
        self.unannounced = true;
        self.version += 1;
    }

    /// Whether the scheduler knows all that was to be announced.
    pub(crate) fn is_announced(&self) -> bool {
        !self.unannounced
    }

    /// Whether nothing is held.
    pub(crate) fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether a draining bot may go: the scheduler knows of it, or cannot be told, and nothing is held.
    pub(crate) fn is_drained(&self) -> bool {
        self.accepting == Accepting::Nothing
            && self.held.is_empty()
            && (!self.unannounced || self.failures > 0)
    }

    fn forget(&mut self, lease: Lease) -> Action {
        self.held.remove(&lease);
        self.ended.push_back(lease);
        if self.ended.len() > REMEMBERED {
            self.ended.pop_front();
        }
        Action::Forget(lease)
    }

    fn desire(&mut self, desired: Desired) -> Vec<Action> {
        let Desired { lease, assignment, wish, output_received, tests } = desired;
        if let Some(held) = self.held.get_mut(&lease) {
            held.received = output_received.min(held.output);
            let kill = wish == Wish::Kill && !held.killing && held.result.is_none();
            held.killing |= kill;
            let mut actions = held.grant(lease, tests);
            actions.extend(kill.then_some(Action::Kill(lease)));
            return actions;
        }
        // More than there are slots is a defect of the scheduler; what is not held is desired again.
        if self.ended.contains(&lease) || self.held.len() >= self.slots {
            return Vec::new();
        }
        let result = match (&assignment, wish) {
            (Err(refused), _) => Some(AttemptResult::unstarted(Ending::ClientError, refused.to_string())),
            (Ok(_), Wish::Kill) => {
                Some(AttemptResult::unstarted(Ending::Killed, "killed before it was started".into()))
            }
            (Ok(_), Wish::Run) => None,
        };
        let start = result.is_none();
        let killing = wish == Wish::Kill;
        let order = assignment.as_ref().ok().and_then(|assignment| assignment.tests.as_ref());
        let progress = order.map(|order| Progress::new(order.list));
        let held = Held { output: 0, received: 0, result, retell: None, killing, tests: progress };
        let held = self.held.entry(lease).or_insert(held);
        let assignment = assignment.ok().filter(|_| start);
        let mut actions: Vec<Action> =
            assignment.map(|assignment| Action::Start(lease, Box::new(assignment))).into_iter().collect();
        actions.extend(held.grant(lease, tests));
        actions
    }
}

impl Held {
    /// What a worker is told. One that ends, or has ended, takes no more tests.
    fn grant(&mut self, lease: Lease, grant: Option<TestsGrant>) -> Vec<Action> {
        let (Some(tests), Some(mut grant)) = (&mut self.tests, grant) else { return Vec::new() };
        if self.killing || self.result.is_some() {
            grant.batches.clear();
            grant.complete = false;
        }
        tests.grant(grant).into_iter().map(|command| Action::Tests(lease, command)).collect()
    }
}

#[cfg(test)]
mod tests;
