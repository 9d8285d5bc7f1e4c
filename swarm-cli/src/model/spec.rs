//! What a user asks for.

use super::TestsPolicy;
use proto::{Cut, Digest, EnvironmentPrefix, IntoDir, NamedCache, RelPath, Requirements, ShardId};
use std::{collections::BTreeSet, time::Duration};

/// What one command is to do, over one isolated input.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSpec {
    /// Names the step to people, in reports and in output directories.
    pub name: String,
    /// The `.isolated` manifest. `None`: there is none but what earlier steps have left.
    pub input: Option<Digest>,
    /// Replaces the manifest's command when not empty.
    pub command: Vec<String>,
    /// Appended to the command.
    pub extra_args: Vec<String>,
    /// What the shards ask of a bot first.
    pub first: Slice,
    /// What they ask for next, in order.
    pub fallbacks: Vec<Slice>,
    /// Variables to set; an empty value unsets.
    pub environment: Vec<(String, String)>,
    /// Directories of the input that come first in variables such as `PATH`, in order.
    pub environment_prefixes: Vec<EnvironmentPrefix>,
    /// Declared outputs, relative to the root of the input.
    pub outputs: Vec<RelPath>,
    /// Directories that bots keep from one run to the next.
    pub named_caches: Vec<NamedCache>,
    /// Longest run of the command. `None`: the scheduler's default.
    pub hard_timeout: Option<Duration>,
    /// Longest silence of the command. `None`: unbounded.
    pub io_timeout: Option<Duration>,
    /// Between TERM and KILL. `None`: the scheduler's default.
    pub grace: Option<Duration>,
    /// How the step is cut into shards.
    pub fan_out: FanOut,
    /// Attempts that a shard gets when bots are lost. `None`: the scheduler's default.
    pub max_attempts: Option<u32>,
    /// The same properties give the same result: an earlier success need not be run again.
    pub idempotent: bool,
    /// The steps that it waits for.
    pub after: Vec<After>,
    /// What is laid out beside the input.
    pub includes: Vec<OutputOf>,
}

/// An earlier step that has to end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// Its place in the run.
    pub step: u32,
    /// How it has to end.
    pub demand: Demand,
}

/// How an earlier step has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// All of its shards and tests have passed.
    Succeeded,
    /// It was run, whatever became of it.
    Ended,
}

/// The outputs of all shards of an earlier step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputOf {
    /// Its place in the run.
    pub step: u32,
    /// Where they are laid out.
    pub into: IntoDir,
}

/// How a step is cut into shards.
#[derive(Clone, Debug, PartialEq)]
pub enum FanOut {
    /// The same command so many times, told apart by environment variables only.
    Shards(u32),
    /// Workers that share its tests: one to begin with, more when the tests are known.
    Tests(TestsPolicy),
    /// The command with some of these for each shard.
    Items(Items),
    /// The command on each bot that fits when it is triggered.
    EachBot {
        /// Also for bots that were silent for no longer. `None`: those that are alive.
        seen_within: Option<Duration>,
    },
}

/// Words that are divided among shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Items {
    /// Empty in what the scheduler tells.
    pub items: Vec<String>,
    /// How many there are.
    pub count: u32,
    /// How they are divided.
    pub cut: Cut,
}

impl Items {
    /// To be triggered.
    pub fn new(items: Vec<String>, cut: Cut) -> Self {
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        Self { items, count, cut }
    }
}

impl StepSpec {
    /// Whether it is given what one of these steps has left, however that has ended, as what makes one of many is.
    pub fn merges(&self, steps: &BTreeSet<u32>) -> bool {
        let of_ended =
            |step: u32| self.after.iter().any(|after| after.step == step && after.demand == Demand::Ended);
        self.includes.iter().any(|include| steps.contains(&include.step) && of_ended(include.step))
    }

    /// How its tests are shared out, if it does that.
    pub fn tests(&self) -> Option<&TestsPolicy> {
        match &self.fan_out {
            FanOut::Tests(policy) => Some(policy),
            FanOut::Shards(_) | FanOut::Items(_) | FanOut::EachBot { .. } => None,
        }
    }

    /// What is divided among its shards, if something is.
    pub fn items(&self) -> Option<&Items> {
        match &self.fan_out {
            FanOut::Items(items) => Some(items),
            FanOut::Shards(_) | FanOut::Tests(_) | FanOut::EachBot { .. } => None,
        }
    }

    /// How many shards it has at least.
    pub fn least_shards(&self) -> u32 {
        match &self.fan_out {
            FanOut::Shards(shards) => *shards,
            FanOut::Items(items) => items.cut.shards(items.count),
            FanOut::Tests(_) | FanOut::EachBot { .. } => 1,
        }
    }
}

/// What a shard asks of a bot, and for how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// All must hold.
    pub requirements: Requirements,
    /// How long a shard may stay pending. `None`: the scheduler's default.
    pub expiration: Option<Duration>,
    /// It stays so though no bot fits.
    pub wait_for_capacity: bool,
}

/// What a bot is told of one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The `.isolated` manifest, if there is one.
    pub input: Option<Digest>,
    /// The manifests of what earlier shards have left, and where that is laid out.
    pub includes: Vec<(Option<Digest>, String)>,
    /// Replaces the manifest's command when not empty.
    pub command: Vec<String>,
    /// Appended to the command.
    pub extra_args: Vec<String>,
    /// Variables to set, those of the shard among them; an empty value unsets.
    pub environment: Vec<(String, String)>,
    /// Declared outputs, relative to the root of the input.
    pub outputs: Vec<String>,
    /// Directories that bots keep, as (name, path).
    pub named_caches: Vec<(String, String)>,
}

/// What a user triggers.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSpec {
    /// Names the run to people.
    pub name: String,
    /// Who asked for it.
    pub user: String,
    /// `key:value`.
    pub tags: Vec<String>,
    /// 0 to 255, lower is sooner.
    pub priority: u8,
    /// At least one.
    pub steps: Vec<StepSpec>,
    /// The running shard with which it ends.
    pub parent: Option<ShardId>,
}
