//! Steps with one shard for each bot: which bots these are is decided once, when the run is triggered, and kept with the
//! run, so that a replay knows them without the bots.

use super::{apply::Queue, event::Refusal, policy::FanOut, presence::Bot, spec::RunSpec, spec::StepSpec};
use proto::{BotId, Timestamp, limits};
use std::{cell::Cell, collections::BTreeMap, sync::Arc, time::Duration};

/// Criteria that one refusal names.
const MOST_NAMED: usize = 5;

/// One shard for each bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EachBot {
    /// Also for bots that were silent for no longer than this.
    pub(crate) seen_within: Option<Duration>,
    /// By index of the shard, sorted. None before the run is made.
    pub(crate) bots: Arc<[BotId]>,
}

impl RunSpec {
    /// As it was asked for: without the bots that it turned out to be for, and the parts that it turned out to be.
    pub(super) fn as_asked(self: &Arc<Self>) -> Arc<Self> {
        let none = |_, _: &StepSpec, _: &EachBot| Ok::<_, std::convert::Infallible>([].into());
        match self.with_bots(none) {
            Ok(asked) => asked.with_parts(|_, _| 0),
            Err(never) => match never {},
        }
    }

    /// With these bots for the steps that have a shard for each bot.
    fn with_bots<E>(
        self: &Arc<Self>,
        bots: impl Fn(usize, &StepSpec, &EachBot) -> Result<Arc<[BotId]>, E>,
    ) -> Result<Arc<Self>, E> {
        let mut spec = Arc::clone(self);
        for (number, step) in self.steps.iter().enumerate() {
            let FanOut::EachBot(each) = &step.fan_out else { continue };
            let fan_out = FanOut::EachBot(EachBot { bots: bots(number, step, each)?, ..each.clone() });
            let steps = &mut Arc::make_mut(&mut spec).steps;
            steps[number] = Arc::new(StepSpec { fan_out, ..StepSpec::clone(step) });
        }
        Ok(spec)
    }
}

impl Queue {
    /// The run with the bots that there are now for its steps.
    pub(super) fn with_present_bots(
        &self,
        spec: &Arc<RunSpec>,
        now: Timestamp,
    ) -> Result<Arc<RunSpec>, Refusal> {
        let most = limits::MAX_SHARDS_PER_RUN;
        let fits = |shards: u64| match shards > u64::from(most) {
            true => Err(Refusal::TooManyShards { shards, most }),
            false => Ok(()),
        };
        let made = Cell::new(0u64);
        let spec = spec.with_bots(|number, step, each| {
            let bots = self.bots_for(number, step, each, now)?;
            made.set(made.get() + bots.len() as u64);
            fits(made.get()).map(|()| bots)
        })?;
        fits(spec.shards())?;
        // How many bots there are was not known when the rest was checked.
        let of_bots =
            |step: u32| spec.steps.get(step as usize).is_some_and(|step| step.fan_out.bot(0).is_some());
        let most = limits::MAX_INCLUDED_SHARDS;
        let steps = (0u32..).zip(&spec.steps);
        for (step, later) in steps.filter(|(_, later)| later.includes.iter().any(|one| of_bots(one.step))) {
            let given = later.includes.iter().filter_map(|one| spec.steps.get(one.step as usize));
            let shards = given.map(|step| u64::from(step.fan_out.most_shards())).sum();
            if shards > u64::from(most) {
                return Err(Refusal::TooManyIncluded { step, shards, most });
            }
        }
        Ok(spec)
    }

    fn bots_for(
        &self,
        number: usize,
        step: &StepSpec,
        each: &EachBot,
        now: Timestamp,
    ) -> Result<Arc<[BotId]>, Refusal> {
        if now < self.presence.no_roll_call_before {
            return Err(Refusal::Gathering { wait: self.presence.no_roll_call_before.since(now) });
        }
        let silence = each.seen_within.unwrap_or_default().max(self.tuning.lease_ttl);
        let silent = |bot: &Bot| now.since(bot.last_seen) > silence;
        let fits = |bot: &Bot| !silent(bot) && step.first.requirements.fit(&bot.dimensions);
        let bots: Arc<[BotId]> = self.bots().filter(|(_, bot)| fits(bot)).map(|(id, _)| id.clone()).collect();
        if !bots.is_empty() {
            return Ok(bots);
        }
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        for (_, bot) in self.bots() {
            let unmet = step.first.requirements.unmet(&bot.dimensions).map(|one| format!("`{one}`"));
            let silent = silent(bot).then(|| format!("having been silent for more than {silence:?}"));
            for criterion in unmet.chain(silent) {
                *kept.entry(criterion).or_default() += 1;
            }
        }
        let named =
            kept.iter().take(MOST_NAMED).map(|(criterion, bots)| format!("{criterion} keeps {bots} away"));
        let why =
            if kept.is_empty() { "none has called yet".into() } else { named.collect::<Vec<_>>().join(", ") };
        Err(Refusal::NoBot { step: number, why })
    }
}
