//! Runs, and how far they are.

use super::{OutcomeCounts, RunSpec, Shard, ShardState, StepSpec, StepTests, TestsPolicy};
use proto::{RunId, ShardId, Timestamp};
use std::time::Duration;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// No shard has been taken yet.
    Pending,
    /// Some shard has been taken.
    Running,
    /// Every shard completed with exit code 0.
    Succeeded,
    /// Every shard ended by its own command or timeout, at least one badly.
    Failed,
    /// Cancelled by a user.
    Canceled,
    /// Some shard expired, lost its bots or hit an error that is not the command's.
    Incomplete,
}

impl RunState {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The state in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Incomplete => "incomplete",
        }
    }
}

/// How many shards stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Wait for earlier steps.
    pub waiting: u32,
    /// Wait for a bot.
    pub pending: u32,
    /// A bot has them.
    pub running: u32,
    /// Completed with exit code 0, or not needed.
    pub succeeded: u32,
    /// Ended in any other way.
    pub failed: u32,
    /// Were never run because of earlier steps.
    pub skipped: u32,
}

impl Counts {
    /// Counts these shards.
    pub fn of(shards: &[Shard]) -> Self {
        let mut counts = Self::default();
        for shard in shards {
            *match shard.state {
                ShardState::Waiting => &mut counts.waiting,
                ShardState::Pending => &mut counts.pending,
                ShardState::Running => &mut counts.running,
                ShardState::Skipped => &mut counts.skipped,
                _ if shard.is_good() => &mut counts.succeeded,
                _ => &mut counts.failed,
            } += 1;
        }
        counts
    }

    /// All of them.
    pub fn total(self) -> u32 {
        self.waiting + self.pending + self.running + self.ended()
    }

    /// Those that nothing changes any more.
    pub fn ended(self) -> u32 {
        self.succeeded + self.failed + self.skipped
    }
}

/// A run with its shards, or without them in lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// What was asked for.
    pub spec: RunSpec,
    /// Where it stands.
    pub state: RunState,
    /// When it was triggered.
    pub created: Timestamp,
    /// When its last shard ended.
    pub ended: Option<Timestamp>,
    /// By step, then by index.
    pub shards: Vec<Shard>,
    /// How many shards stand where.
    pub counts: Counts,
    /// Whether it was triggered with a secret.
    pub has_secret: bool,
    /// How many shards it had when it was told of as a whole.
    pub announced: u32,
    /// How far the tests are of steps that share them out.
    pub tests: Vec<StepTests>,
}

/// What changed in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// Where the run stands now.
    pub state: RunState,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The shards that changed, whole.
    pub shards: Vec<Shard>,
    /// The steps whose tests have changed.
    pub tests: Vec<StepTests>,
}

impl Run {
    /// Brings the run up to date.
    pub fn apply(&mut self, changes: Changes) {
        self.state = changes.state;
        self.ended = changes.ended.or(self.ended);
        for changed in changes.shards {
            match self.shards.binary_search_by_key(&changed.id, |shard| shard.id) {
                Ok(at) => self.shards[at] = changed,
                Err(at) => self.shards.insert(at, changed),
            }
        }
        for changed in changes.tests {
            match self.tests.iter_mut().find(|tests| tests.step == changed.step) {
                Some(tests) => *tests = changed,
                None => self.tests.push(changed),
            }
        }
        self.counts = Counts::of(&self.shards);
    }

    /// Takes later news of the tests of a step.
    pub fn count_tests(&mut self, step: u32, counts: OutcomeCounts) {
        match self.tests.iter_mut().find(|tests| tests.step == step) {
            Some(tests) => tests.counts = Some(counts),
            None => {
                let verified = self.tests_policy(step).is_some_and(|policy| policy.driver.lists_tests());
                self.tests.push(StepTests { step, counts: Some(counts), verified });
            }
        }
    }

    /// Whether all of its shards are here: many come in several messages.
    pub fn is_whole(&self) -> bool {
        self.missing() == 0
    }

    /// How many of its shards are not here.
    pub fn missing(&self) -> u64 {
        let expected: u64 = self.spec.steps.iter().map(|step| u64::from(step.least_shards())).sum();
        expected.max(self.announced.into()).saturating_sub(self.shards.len() as u64)
    }

    /// How the tests of this step are shared out, if they are.
    pub fn tests_policy(&self, step: u32) -> Option<&TestsPolicy> {
        self.spec.steps.get(usize::try_from(step).unwrap_or(usize::MAX))?.tests()
    }

    /// The steps that share out their tests, with how they do.
    pub fn steps_with_tests(&self) -> impl Iterator<Item = (u32, &TestsPolicy)> {
        let steps = (0u32..).zip(&self.spec.steps);
        steps.filter_map(|(step, spec)| Some((step, spec.tests()?)))
    }

    /// By step, when the last one ended that it has waited for. Goes over all shards.
    pub fn ready(&self) -> Vec<Timestamp> {
        let ended = |step: u32| self.shards_of(step).iter().filter_map(|shard| shard.ended).max();
        let ended: Vec<Option<Timestamp>> =
            (0u32..).zip(&self.spec.steps).map(|(step, _)| ended(step)).collect();
        let last =
            |step: &StepSpec| step.after.iter().filter_map(|after| *ended.get(after.step as usize)?).max();
        self.spec.steps.iter().map(|step| last(step).unwrap_or(self.created)).collect()
    }

    /// How long a shard waited for its first bot, from when its step was [`Self::ready`].
    pub fn queued(&self, shard: &Shard, ready: &[Timestamp]) -> Option<Duration> {
        let started = shard.attempts.first().and_then(|attempt| attempt.started)?;
        Some(started.since(ready.get(shard.id.step as usize).copied().unwrap_or(self.created)))
    }

    /// Whether a later step was given what this one has left, and has succeeded and left something itself.
    pub fn is_taken_up(&self, step: u32) -> bool {
        let left =
            |shard: &Shard| shard.is_good() && shard.result().is_some_and(|result| result.outputs.is_some());
        let given = |spec: &StepSpec| spec.includes.iter().any(|include| include.step == step);
        let mut later = (0u32..).zip(&self.spec.steps).filter(|(_, spec)| given(spec));
        later.any(|(later, _)| self.shards_of(later).iter().any(left))
    }

    /// The shards of a step.
    pub fn shards_of(&self, step: u32) -> &[Shard] {
        let from = self.shards.partition_point(|shard| shard.id.step < step);
        let to = self.shards.partition_point(|shard| shard.id.step <= step);
        &self.shards[from..to]
    }

    /// The shard of this name.
    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id == id)
    }

    /// What a shard is called where people read: its index, after its step's name when there are several steps.
    pub fn label(&self, id: ShardId) -> String {
        if self.spec.steps.len() > 1 {
            format!("{}/{}", self.step_name(id), id.index)
        } else {
            id.index.to_string()
        }
    }

    /// What stands before its lines: its bot where each has one of its own.
    pub fn prefix(&self, shard: &Shard) -> String {
        shard.bot.as_ref().map_or_else(|| self.label(shard.id), ToString::to_string)
    }

    /// Its label with what tells it apart: its bot, or its items, counted from 1.
    pub fn title(&self, shard: &Shard) -> String {
        let label = self.label(shard.id);
        if let Some(bot) = &shard.bot {
            return format!("{label} (for {bot})");
        }
        match self.items_of(shard.id) {
            Some(items) if items.len() == 1 => format!("{label} (item {})", items.end),
            Some(items) => format!("{label} (items {} to {})", items.start + 1, items.end),
            None => label,
        }
    }

    /// Which of its step's items a shard has, counted from 0, if there are any.
    pub fn items_of(&self, id: ShardId) -> Option<std::ops::Range<u32>> {
        let items = self.spec.steps.get(usize::try_from(id.step).ok()?)?.items()?;
        items.cut.range(items.count, id.index)
    }

    /// The name of the step that a shard belongs to; never empty.
    pub fn step_name(&self, id: ShardId) -> String {
        self.name_of_step(id.step)
    }

    /// The name of a step; never empty.
    pub fn name_of_step(&self, step: u32) -> String {
        let spec = self.spec.steps.get(usize::try_from(step).unwrap_or(usize::MAX));
        match spec.map(|spec| spec.name.as_str()) {
            None | Some("") => format!("step-{step}"),
            Some(name) => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        display::{Page, shard_table},
        json::RunJson,
        model::{FanOut, Items},
        testing::{completed, pending, run},
    };
    use proto::Cut;
    use std::{collections::BTreeMap, num::NonZeroU32};

    #[test]
    fn shards_are_told_apart_by_their_items() {
        let mut run = run(RunState::Failed, vec![completed(0, 0), completed(1, 1)]);
        let cut = Cut::PerShard(NonZeroU32::new(2).unwrap());
        run.spec.steps[0].fan_out = FanOut::Items(Items { items: vec![], count: 3, cut });
        assert_eq!(run.missing(), 0);
        let titles: Vec<String> = run.shards.iter().map(|shard| run.title(shard)).collect();
        assert_eq!(titles, ["0 (items 1 to 2)", "1 (item 3)"]);
        let json = serde_json::to_value(RunJson::from(&run)).unwrap();
        assert_eq!(json["shards"][1]["items"], serde_json::json!([2, 1]));
        assert_eq!((&json["steps"][0]["items"], &json["steps"][0]["shards"]), (&3.into(), &2.into()));
        assert_eq!(json["steps"][0].get("each_bot"), None);
    }

    #[test]
    fn shards_for_bots_are_told_apart_by_these_before_they_run() {
        let mut run = run(RunState::Running, vec![completed(0, 0), pending(1)]);
        run.spec.steps[0].fan_out = FanOut::EachBot { seen_within: None };
        for (shard, bot) in run.shards.iter_mut().zip(["bot-0", "bot-9"]) {
            shard.bot = Some(bot.parse().unwrap());
        }
        assert_eq!(run.title(&run.shards[1]), "1 (for bot-9)");
        let table = shard_table(&run, &BTreeMap::new(), Page::PLAIN);
        assert!(table.lines().any(|line| line.contains("pending") && line.contains("bot-9")), "{table}");
        let json = serde_json::to_value(RunJson::from(&run)).unwrap();
        assert_eq!((&json["steps"][0]["each_bot"], &json["steps"][0]["shards"]), (&true.into(), &2.into()));
        assert_eq!(json["shards"][1]["bot"], "bot-9");
    }
}
