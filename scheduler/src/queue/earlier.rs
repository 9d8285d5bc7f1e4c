//! Steps that wait for earlier ones, and what they are given of them.
//!
//! A step waits only for steps before it, so nothing waits in a circle. All shards of a step become pending with the record
//! that ends the last shard that they have waited for; there is no record of its own. That a step cannot become pending any
//! more is decided, and recorded for each of its shards.

use super::{
    apply::Queue,
    event::{Decided, Effect},
    explain::Subject,
    record::Transition,
    run::Run,
    shard::{Ending, ShardState},
    state::State,
    suite::Suite,
};
use proto::{Digest, IntoDir, RunId, ShardId, Timestamp};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// About what one message takes that tells of an earlier shard's outputs.
const INCLUDED_BYTES: usize = 400;

/// An earlier step that has to end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct After {
    pub(crate) step: u32,
    pub(crate) demand: Demand,
}

/// How it has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// All of its shards have passed, and all of its tests.
    Succeeded,
    /// It was run.
    Ended,
}

/// The outputs of all shards of an earlier step, as a part of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputOf {
    pub(crate) step: u32,
    pub(crate) into: IntoDir,
}

/// The outputs of one shard, as a part of the input of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Included {
    /// None: it has left none.
    pub(crate) outputs: Option<Digest>,
    /// A directory below the root, or the root itself, which is empty.
    pub(crate) into: String,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Shards that have not ended.
    pub(super) open: u32,
    /// One has ended otherwise than it should.
    pub(super) failed: bool,
}

/// Whether what a step waits for has ended as it had to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    /// Not all has ended.
    Waits,
    /// This step cannot end as it had to any more.
    Never(u32),
}

/// Why a step's shards wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WaitingStep {
    pub(crate) step: u32,
    /// Those that were asked about.
    pub(crate) shards: Vec<u32>,
    /// The steps that have not ended, with what they are called and how far they are.
    pub(crate) for_steps: Vec<(u32, String)>,
}

impl Run {
    /// Counts a shard that has just ended. Says which steps become ready by it.
    pub(super) fn count_end(&mut self, id: ShardId) -> Vec<u32> {
        let shares = self.shares_tests(id.step);
        let Some(shard) = self.shard(id) else { return Vec::new() };
        // Exit code 1 of a worker says that a test has not passed, and tests have verdicts of their own. Any other says that
        // its runner has failed, which no verdict tells. One whose time is over leaves its tests to others.
        let told = match shard.state {
            ShardState::Ended(Ending::Completed) => {
                shares && shard.result().is_some_and(|result| result.exit_code == Some(1))
            }
            ShardState::Ended(Ending::TimedOut) => self.suites.contains_key(&id.step),
            _ => false,
        };
        let succeeded = shard.succeeded() || told;
        let unneeded = shard.state == ShardState::Ended(Ending::NotNeeded);
        self.tally.succeeded += u32::from(succeeded);
        let Some(progress) = self.progress.get_mut(id.step as usize) else { return Vec::new() };
        progress.open -= 1;
        progress.failed |= !succeeded && !unneeded;
        if progress.open > 0 {
            return Vec::new();
        }
        if let Some(suite) = self.suites.get_mut(&id.step) {
            suite.close();
        }
        self.later(id.step).filter(|later| self.readiness(*later) == Readiness::Ready).collect()
    }

    fn shares_tests(&self, step: u32) -> bool {
        self.spec.steps.get(step as usize).is_some_and(|step| step.fan_out.tests().is_some())
    }

    fn after(&self, step: u32) -> &[After] {
        self.spec.steps.get(step as usize).map_or(&[], |step| &step.after)
    }

    fn includes(&self, step: u32) -> &[OutputOf] {
        self.spec.steps.get(step as usize).map_or(&[], |step| &step.includes)
    }

    /// Whether all shards of a step have ended.
    pub(crate) fn has_ended(&self, step: u32) -> bool {
        self.progress.get(step as usize).is_some_and(|progress| progress.open == 0)
    }

    /// The steps that wait for this one, or have waited.
    pub(crate) fn later(&self, step: u32) -> impl Iterator<Item = u32> {
        let waits = move |later: &u32| {
            let spec = self.spec.steps.get(*later as usize);
            spec.is_some_and(|spec| spec.after.iter().any(|after| after.step == step))
        };
        (step + 1..u32::try_from(self.spec.steps.len()).unwrap_or(u32::MAX)).filter(waits)
    }

    /// The shards of a step.
    pub(crate) fn shards_of(&self, step: u32) -> impl Iterator<Item = ShardId> + use<> {
        let count = self.steps.get(step as usize).map_or(0, Vec::len);
        let run = self.id;
        (0..u32::try_from(count).unwrap_or(u32::MAX)).map(move |index| ShardId { run, step, index })
    }

    /// Whether a step was never run because of an earlier one. All of its shards share that.
    pub(super) fn is_skipped(&self, step: u32) -> bool {
        let first = self.steps.get(step as usize).and_then(|shards| shards.first());
        first.is_some_and(|shard| shard.state == ShardState::Ended(Ending::Skipped))
    }

    /// Whether a later step is given the outputs of this one.
    pub(super) fn is_included(&self, step: u32) -> bool {
        self.spec.steps.iter().any(|later| later.includes.iter().any(|include| include.step == step))
    }

    /// What a step that has become ready is given of earlier ones: of each of their shards, in order.
    pub(crate) fn included(&self, step: u32) -> Vec<Included> {
        let shards = self.includes(step).iter().flat_map(|include| {
            let shards = self.steps.get(include.step as usize).into_iter().flatten();
            (0u32..).zip(shards).map(|(index, shard)| Included {
                outputs: shard.result().and_then(|result| result.outputs),
                into: include.into.of_shard(index),
            })
        });
        shards.collect()
    }

    /// About what that takes in a message.
    pub(super) fn included_bytes(&self, step: u32) -> usize {
        let shards = self
            .includes(step)
            .iter()
            .filter_map(|include| self.steps.get(include.step as usize))
            .map(Vec::len);
        shards.sum::<usize>() * INCLUDED_BYTES
    }

    fn readiness(&self, step: u32) -> Readiness {
        let mut readiness = Readiness::Ready;
        for after in self.after(step) {
            match self.meets(*after) {
                Some(true) => {}
                Some(false) => return Readiness::Never(after.step),
                None => readiness = Readiness::Waits,
            }
        }
        readiness
    }

    /// Whether a step ends as it has to. None as long as that is open.
    fn meets(&self, after: After) -> Option<bool> {
        let progress = self.progress.get(after.step as usize)?;
        let ended = progress.open == 0;
        match after.demand {
            Demand::Succeeded if progress.failed => Some(false),
            Demand::Succeeded => ended.then(|| self.tests_passed(after.step)),
            Demand::Ended => ended.then(|| !self.is_skipped(after.step)),
        }
    }

    /// Whether the tests of a step that has ended have all passed, if it should have had some.
    fn tests_passed(&self, step: u32) -> bool {
        let passed = |suite: &Suite| {
            !suite.lacks_tests() && !suite.ledger.is_stopped() && suite.ledger.counts().red() == 0
        };
        !self.shares_tests(step) || self.suites.get(&step).is_some_and(passed)
    }

    /// What a step is called in messages.
    fn called(&self, step: u32) -> String {
        match self.spec.steps.get(step as usize).map(|step| step.name.as_str()) {
            None | Some("") => format!("step {step}"),
            Some(name) => format!("step `{name}`"),
        }
    }
}

impl State {
    /// All shards of a step that has waited become pending.
    pub(super) fn release(&mut self, id: RunId, number: u32, at: Timestamp) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let spec = Arc::clone(&run.spec);
        let Some(step) = spec.steps.get(number as usize).map(Arc::clone) else { return };
        let mut released = Vec::new();
        for (index, shard) in (0u32..).zip(run.steps.get_mut(number as usize).into_iter().flatten()) {
            if shard.state == ShardState::Waiting {
                shard.state = ShardState::Pending;
                shard.pending_since = at;
                run.tally.move_one(ShardState::Waiting, ShardState::Pending);
                released.push(ShardId { run: id, step: number, index });
            }
        }
        self.waiting -= released.len();
        self.line_up(&spec, &step, &released, at);
    }
}

impl Queue {
    /// Does what follows for later steps from the shards that have ended by what was decided: those that have become pending
    /// are offered, and those that cannot any more are skipped, and so on with those that wait for these.
    pub(super) fn advance(&mut self, now: Timestamp, decided: &mut Decided) {
        let mut seen = 0;
        while seen < decided.records.len() {
            let shards = decided.records[seen..].iter().filter_map(|record| record.transition.shard());
            let ended = |id: &ShardId| {
                self.shard(*id).is_some_and(|shard| matches!(shard.state, ShardState::Ended(_)))
            };
            let steps: BTreeSet<(RunId, u32)> = shards.filter(ended).map(|id| (id.run, id.step)).collect();
            seen = decided.records.len();
            for (run, step) in steps {
                self.advance_after(run, step, now, decided);
            }
        }
    }

    fn advance_after(&mut self, id: RunId, step: u32, now: Timestamp, decided: &mut Decided) {
        let Some(run) = self.run(id) else { return };
        if run.progress.get(step as usize).is_none_or(|progress| progress.open > 0 && !progress.failed) {
            // Nothing follows from it yet.
            return;
        }
        let later: Vec<(u32, Readiness)> =
            run.later(step).map(|later| (later, run.readiness(later))).collect();
        for (later, readiness) in later {
            match readiness {
                Readiness::Waits => {}
                Readiness::Ready => {
                    decided.effects.insert(Effect::Offer);
                    self.list_known(id, later, now, decided);
                    self.end_idle_workers(id, later, now, decided);
                }
                Readiness::Never(cause) => self.skip(id, later, cause, now, decided),
            }
        }
    }

    fn skip(&mut self, id: RunId, step: u32, cause: u32, now: Timestamp, decided: &mut Decided) {
        let Some(run) = self.run(id).filter(|run| !run.has_ended(step)) else { return };
        let how = if run.is_skipped(cause) { "was skipped" } else { "did not succeed" };
        let message = format!("{} {how}", run.called(cause));
        for shard in self.shards_of(id, step, ShardState::Waiting) {
            let message = message.clone();
            self.commit(Transition::ShardEnded { shard, ending: Ending::Skipped, message }, now, decided);
        }
    }

    /// Why shards wait for earlier steps, by step.
    pub(crate) fn explain_waiting(&self, subject: Subject) -> Vec<WaitingStep> {
        let (id, only) = match subject {
            Subject::Run(run) => (run, None),
            Subject::Shard(shard) => (shard.run, Some(shard)),
        };
        let Some(run) = self.run(id) else { return Vec::new() };
        let explain = |(step, shards): (u32, &Vec<_>)| {
            let asked = run.shards_of(step).zip(shards).filter(|(id, shard): &(ShardId, &super::Shard)| {
                shard.state == ShardState::Waiting && only.is_none_or(|only| only == *id)
            });
            let shards: Vec<u32> = asked.map(|(id, _)| id.index).collect();
            let after = run.spec.steps.get(step as usize).map_or(&[][..], |step| &step.after);
            let open = after.iter().filter(|after| !run.has_ended(after.step));
            let for_steps = open.map(|after| (after.step, run.stands(after.step))).collect();
            (!shards.is_empty()).then_some(WaitingStep { step, shards, for_steps })
        };
        (0u32..).zip(&run.steps).filter_map(explain).collect()
    }
}

impl Run {
    /// What a step is called and how far it is.
    fn stands(&self, step: u32) -> String {
        let open = self.progress.get(step as usize).map_or(0, |progress| progress.open);
        let all = self.steps.get(step as usize).map_or(0, Vec::len);
        format!("{} ({open} of {all} shards have not ended)", self.called(step))
    }
}

/// One sentence that sums it up.
impl fmt::Display for WaitingStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shards.len() {
            1 => write!(f, "1 shard waits for ")?,
            many => write!(f, "{many} shards wait for ")?,
        }
        let steps: Vec<&str> = self.for_steps.iter().map(|(_, stands)| stands.as_str()).collect();
        f.write_str(&steps.join(", "))
    }
}
