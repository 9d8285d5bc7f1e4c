//! Why shards are still pending.

use super::{
    apply::Queue,
    event::Refusal,
    orders::{BotOrder, Standing},
    pending::{Claim, LineName, OLDEST_EACH, Place, bots_asked_for},
    presence::Bot,
    shard::ShardState,
    spec::{RunSpec, Slice, StepSpec},
};
use crate::pools::{Order, ShareBy};
use proto::{BotId, Requirements, RunId, ShardId, Timestamp};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Every pending shard of a run.
    Run(RunId),
    /// One shard.
    Shard(ShardId),
}

/// Why the pending shards of one step at one slice are pending. They share their requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepExplanation {
    pub(crate) step: u32,
    pub(crate) pending: Vec<u32>,
    /// Where the first of these stands.
    pub(crate) place: Place,
    pub(crate) bots: SortedBots,
    /// When the first of them expires.
    pub(crate) expires: Timestamp,
    /// The slice that they are at, of so many.
    pub(crate) slice: u8,
    pub(crate) slices: u8,
    /// When the first of them gives it up, as long as no bot fits.
    pub(crate) no_resource: Option<Timestamp>,
    /// Each shard is for one bot, and `bots` are only these.
    pub(crate) each: bool,
}

/// A criterion and the bots that it keeps away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) criterion: String,
    pub(crate) bots: Vec<BotId>,
}

impl Queue {
    /// One explanation for each step that has pending shards.
    pub(crate) fn explain(&self, subject: Subject, now: Timestamp) -> Result<Vec<StepExplanation>, Refusal> {
        let id = match subject {
            Subject::Run(run) => run,
            Subject::Shard(shard) => shard.run,
        };
        let run = self.run(id).ok_or(Refusal::UnknownRun { run: id })?;
        if let Subject::Shard(shard) = subject
            && run.shard(shard).is_none()
        {
            return Err(Refusal::UnknownShard { shard });
        }
        let asked = |shard| matches!(subject, Subject::Run(_)) || subject == Subject::Shard(shard);
        let mut pending: BTreeMap<(u32, u8), Vec<ShardId>> = BTreeMap::new();
        for (id, shard) in run.shards().filter(|(id, _)| asked(*id)) {
            if shard.state == ShardState::Pending {
                pending.entry((id.step, shard.slice)).or_default().push(id);
            }
        }
        let explain = |((step, slice), pending): ((u32, u8), Vec<ShardId>)| {
            let spec = run.spec.steps.get(step as usize)?;
            self.explain_slice(&run.spec, spec, slice, &pending, now)
        };
        Ok(pending.into_iter().filter_map(explain).collect())
    }

    fn explain_slice(
        &self,
        run: &RunSpec,
        step: &StepSpec,
        number: u8,
        pending: &[ShardId],
        now: Timestamp,
    ) -> Option<StepExplanation> {
        let shard = *pending.first()?;
        let slice = &*step.asked(shard.index, number);
        let claim = Claim { line: LineName::of(&self.state.pools, run, &slice.requirements), shard };
        let own = step.fan_out.bot(shard.index);
        let bots = match own {
            None => self.sort_bots(slice, pending, now),
            Some(_) => self.sort_own_bots(step, pending, now),
        };
        let able = bots.busy.iter().chain(&bots.free).filter(|id| own.is_none_or(|own| own == *id));
        let fitting: HashMap<&str, &Bot> =
            able.filter_map(|id| Some((id.as_str(), self.presence.bots.get(id)?))).collect();
        // There may be as many that ask for bots by name as there are bots.
        let compete = |asked: &Requirements| match bots_asked_for(asked) {
            Some(names) => {
                let mut named = names.iter().filter_map(|name| fitting.get(name.as_str()));
                named.any(|bot| asked.fit(&bot.dimensions))
            }
            None => fitting.values().any(|bot| asked.fit(&bot.dimensions)),
        };
        let since = pending.iter().filter_map(|id| Some(self.shard(*id)?.pending_since)).min();
        let since = since.unwrap_or(now);
        Some(StepExplanation {
            step: shard.step,
            pending: pending.iter().map(|id| id.index).collect(),
            place: self.state.pending.place(claim, self.state.pools.of(&slice.requirements), now, compete)?,
            bots,
            expires: (since + slice.expiration).max(self.presence.no_expiration_before),
            slice: number,
            slices: step.slices(),
            no_resource: self.no_resource(slice, since, now),
            each: own.is_some(),
        })
    }

    /// Sorts the bots that these pending shards are for, one each.
    fn sort_own_bots(&self, step: &StepSpec, pending: &[ShardId], now: Timestamp) -> SortedBots {
        let mut sorted = SortedBots::default();
        let mut obstacles: BTreeMap<String, Vec<BotId>> = BTreeMap::new();
        for (index, id) in
            pending.iter().filter_map(|shard| Some((shard.index, step.fan_out.bot(shard.index)?)))
        {
            let criteria = match self.presence.bots.get(id) {
                Some(bot) => self.criteria_against(id, bot, &step.asked(index, 0), now),
                None => vec!["the bot has not called since the scheduler started".into()],
            };
            if criteria.is_empty() {
                let fitting = if self.free_slots(id) > 0 { &mut sorted.free } else { &mut sorted.busy };
                fitting.push(id.clone());
            }
            for criterion in criteria {
                obstacles.entry(criterion).or_default().push(id.clone());
            }
        }
        sorted.obstacles = to_obstacles(obstacles);
        sorted
    }

    /// Sorts the bots by what they are to these pending shards of a slice, or to those to come.
    pub(super) fn sort_bots(&self, slice: &Slice, pending: &[ShardId], now: Timestamp) -> SortedBots {
        let mut sorted = SortedBots::default();
        let mut obstacles: BTreeMap<String, Vec<BotId>> = BTreeMap::new();
        for (id, bot) in self.bots() {
            let mut criteria = self.criteria_against(id, bot, slice, now);
            let free = self.free_slots(id) > 0;
            if criteria.is_empty()
                && free
                && !pending.is_empty()
                && pending.iter().all(|shard| self.is_left_to_others(*shard, id, now))
            {
                criteria.push("the bot lost it before, and others are asked first".into());
            }
            if criteria.is_empty()
                && free
                && !pending.is_empty()
                && pending.iter().all(|shard| self.is_shunned(*shard, id, now))
            {
                criteria.push("tests of the step crashed in a row on the bot, and others are asked".into());
            }
            if criteria.is_empty() {
                let fitting = if free { &mut sorted.free } else { &mut sorted.busy };
                fitting.push(id.clone());
            }
            for criterion in criteria {
                obstacles.entry(criterion).or_default().push(id.clone());
            }
        }
        sorted.obstacles = to_obstacles(obstacles);
        sorted
    }

    fn criteria_against(&self, id: &BotId, bot: &Bot, slice: &Slice, now: Timestamp) -> Vec<String> {
        let mut criteria: Vec<String> =
            slice.requirements.unmet(&bot.dimensions).map(ToString::to_string).collect();
        if self.is_dead(bot, now) {
            criteria.push("the bot is dead".into());
        }
        if bot.draining {
            criteria.push("the bot is draining".into());
        }
        criteria.extend(bot.condition.obstacles());
        // One that is lenient keeps the bot from nothing that no other fits.
        let keeps_away =
            |standing: &&Standing| !standing.lenient || self.fits_beside(id, &slice.requirements, now);
        criteria.extend(self.order_of(id).filter(keeps_away).map(ToString::to_string));
        if bot.slots == 0 {
            criteria.push("the bot has no slots".into());
        }
        criteria
    }
}

fn to_obstacles(obstacles: BTreeMap<String, Vec<BotId>>) -> Vec<Obstacle> {
    obstacles.into_iter().map(|(criterion, bots)| Obstacle { criterion, bots }).collect()
}

/// What keeps the bot away.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.order {
            BotOrder::Work => "the bot may work",
            BotOrder::Drain => "the bot was drained by an operator",
            BotOrder::Quarantine => "the bot was quarantined",
            BotOrder::Terminate(_) => "the bot is to end",
        })?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// Why a shard has its place.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "priority {}", self.priority)?;
        if self.aged > 0 {
            let now = i64::from(self.priority).saturating_sub_unsigned(self.aged);
            write!(f, ", counted as {now} because no shard of this line and priority got a bot lately")?;
        }
        if self.pool.order == Order::Lifo {
            write!(f, ", the newest run first, but for one in {OLDEST_EACH} shards")?;
        }
        match (&self.pool.share_by, self.lines) {
            (_, 0) => Ok(()),
            (ShareBy::User, 1) => write!(f, ", taking turns with 1 other user"),
            (ShareBy::User, many) => write!(f, ", taking turns with {many} other users"),
            (ShareBy::Tag(prefix), others) => {
                write!(f, ", taking turns by the tag `{prefix}` with {others} more")
            }
        }
    }
}

/// All bots, each once or under the criteria that keep it away.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct SortedBots {
    /// They fit and are busy.
    pub(crate) busy: Vec<BotId>,
    /// They fit and have a free slot.
    pub(crate) free: Vec<BotId>,
    pub(crate) obstacles: Vec<Obstacle>,
}

/// One sentence that sums it up.
impl fmt::Display for StepExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = match self.pending.len() {
            1 => "1 shard waits".to_owned(),
            many => format!("{many} shards wait"),
        };
        if self.each {
            let (free, busy) = (self.bots.free.len(), self.bots.busy.len());
            write!(f, "{waiting}, each for its bot: {free} free, {busy} busy")?;
            return self.bots.obstacles.iter().try_for_each(|obstacle| {
                let (criterion, bots) = (&obstacle.criterion, obstacle.bots.len());
                write!(f, ", `{criterion}` keeps {bots} away")
            });
        }
        if !self.bots.free.is_empty() {
            return write!(f, "{waiting} and will be taken by bots that have a free slot");
        }
        if !self.bots.busy.is_empty() {
            let busy = self.bots.busy.len();
            let ahead = self.place.ahead;
            let behind = match ahead {
                0 => String::new(),
                1 => " behind 1 other".into(),
                many => format!(" behind {many} others"),
            };
            return write!(f, "{waiting}{behind}: every bot that fits is busy ({busy})");
        }
        let widest = self.bots.obstacles.iter().max_by_key(|obstacle| obstacle.bots.len());
        match widest {
            None => write!(f, "{waiting} and no bot has called since the scheduler started"),
            Some(obstacle) => {
                let (criterion, bots) = (&obstacle.criterion, obstacle.bots.len());
                write!(f, "{waiting} and no bot fits: `{criterion}` keeps {bots} away")
            }
        }
    }
}
