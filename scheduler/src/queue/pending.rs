//! The pending shards, in the order in which bots get them.
//!
//! Shards of one user and one priority form a line, first come first served. Lines of one priority take turns, so that
//! whoever has triggered ten thousand shards does not keep the others waiting. A line that nobody serves ages: each
//! [`AGING`] without a bot counts as much as one step of priority, so that nothing waits for ever behind what is more
//! urgent. In some pools lines are formed by a tag instead, or the newest run of a line comes first; there one in
//! [`OLDEST_EACH`] shards of a line is of its oldest run, so that nothing waits for ever behind what is newer.
//!
//! Shards are grouped by what they ask of a bot. A bot looks at the head of each priority of each group that it fits,
//! and at nothing else: a decision costs the same with a thousand shards pending as with a million. Groups that ask for
//! one bot are looked at by that bot alone.

mod place;

pub(crate) use place::Place;

use super::spec::{BOT_KEY, RunSpec, Slice};
use crate::pools::{Order, Pools};
use proto::{Dimensions, Requirement, Requirements, RunId, ShardId, Timestamp};
use std::{
    borrow::Borrow,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// A line that has waited this long for its turn counts as one priority sooner.
pub(super) const AGING: Duration = Duration::from_secs(60);

/// Where the newest comes first, one in so many shards of a line is of its oldest run.
pub(super) const OLDEST_EACH: u64 = 8;

/// Shards that a bot may be kept from in favour of another bot are skipped, but no more than this many.
const MOST_SKIPPED: usize = 64;

/// The line that a shard stands in, by what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineName<'a> {
    pub(super) priority: u8,
    /// The user or the tag that lines are formed by. Should a user be called like a tag, both stand in one line.
    pub(super) name: &'a str,
    pub(super) order: Order,
}

impl<'a> LineName<'a> {
    /// That of shards of this run which ask for this.
    pub(super) fn of(pools: &'a Pools, run: &'a RunSpec, requirements: &Requirements) -> Self {
        let pool = pools.of(requirements);
        Self { priority: run.priority, name: pool.share_by.line(&run.user, &run.tags), order: pool.order }
    }
}

/// A shard and the line that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    pub(super) line: LineName<'a>,
    pub(super) shard: ShardId,
}

/// When a line's turn comes among those of its priority: lower first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    /// The newest lease when it was served last, or when it was formed.
    pub(super) lease: u64,
    /// The time of that: since then it has waited.
    pub(super) since: Timestamp,
}

/// See the module.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Pending {
    ids: BTreeMap<Requirements, u64>,
    groups: BTreeMap<u64, Group>,
    /// Groups that ask for bots by name, by these names. Without empty ones.
    of_bots: BTreeMap<String, BTreeSet<u64>>,
    /// All other groups.
    of_all: BTreeSet<u64>,
    /// By priority and order: a user's shards in pools of different orders stand in two lines.
    lines: BTreeMap<(u8, Order), BTreeMap<Arc<str>, Line>>,
    expirations: ByTime,
    len: usize,
}

/// Shards by a time that they have in common, because one trigger has made them: a hundred thousand are put in at once.
/// Without empty sets.
pub(super) type ByTime = BTreeMap<Timestamp, BTreeSet<ShardId>>;

/// Takes a value out of a map without empty sets; whether it was in.
pub(super) fn take_out<K, Q, V>(from: &mut BTreeMap<K, BTreeSet<V>>, key: &Q, value: &V) -> bool
where
    K: Ord + Borrow<Q>,
    Q: Ord + ?Sized,
    V: Ord,
{
    let Some(values) = from.get_mut(key) else { return false };
    let removed = values.remove(value);
    if values.is_empty() {
        from.remove(key);
    }
    removed
}

/// Shards that ask the same of a bot.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    requirements: Requirements,
    /// They are in one pool.
    order: Order,
    /// Of which bots' shards they are. There may be as many of the latter as there are bots, so that nothing may be done in
    /// each of them when a line is served.
    kind: Kind,
    /// By priority. Without empty ones.
    levels: BTreeMap<u8, Level>,
    /// Those that do not wait for a bot that fits, with the time since when they are pending.
    impatient: ByTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Whichever fit.
    OfAll,
    /// Those that are asked for by name.
    OfBots,
}

#[derive(Debug, PartialEq, Eq, Default)]
struct Level {
    /// Those of `shards`, in a group of all bots.
    turns: BTreeSet<(Turn, Arc<str>)>,
    /// By line. Without empty ones.
    shards: BTreeMap<Arc<str>, BTreeSet<ShardId>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    turn: Turn,
    /// How often, since it was formed.
    served: u64,
    /// Where its shards are.
    groups: BTreeSet<u64>,
    groups_of_bots: BTreeSet<u64>,
}

/// What decides between two shards: lower first.
type Rank<'a> = (i64, u8, Turn, &'a str, Seat);

/// What decides between two shards of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seat {
    OldestFirst(ShardId),
    NewestFirst(Reverse<RunId>, ShardId),
}

impl Seat {
    fn shard(self) -> ShardId {
        match self {
            Self::OldestFirst(shard) | Self::NewestFirst(_, shard) => shard,
        }
    }
}

/// The shards of the newest run in their order, then those of the one before, and so on.
fn newest_first(shards: &BTreeSet<ShardId>) -> impl Iterator<Item = &ShardId> {
    let run = |shard: &ShardId| shard.run;
    let runs = std::iter::successors(shards.last().map(run), move |newer| {
        shards.range(..first_of(*newer)).next_back().map(run)
    });
    runs.flat_map(move |run| shards.range(first_of(run)..=last_of(run)))
}

fn first_of(run: RunId) -> ShardId {
    ShardId { run, step: 0, index: 0 }
}

fn last_of(run: RunId) -> ShardId {
    ShardId { run, step: u32::MAX, index: u32::MAX }
}

fn aged(turn: Turn, now: Timestamp) -> u64 {
    now.since(turn.since).as_secs() / AGING.as_secs()
}

/// The priority that a line has by now.
fn level(priority: u8, turn: Turn, now: Timestamp) -> i64 {
    i64::from(priority).saturating_sub_unsigned(aged(turn, now))
}

/// The names of the bots that are asked for, if any are.
pub(super) fn bots_asked_for(requirements: &Requirements) -> Option<&BTreeSet<String>> {
    requirements.iter().find(|requirement| requirement.key() == BOT_KEY).map(Requirement::any_of)
}

/// Inserts what comes in ascending order. When that is most of the set, both are merged at once, which is many times as
/// fast.
fn extend<T: Ord>(set: &mut BTreeSet<T>, ascending: impl ExactSizeIterator<Item = T>) {
    if set.len() <= ascending.len() {
        set.append(&mut ascending.collect());
    } else {
        set.extend(ascending);
    }
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a shard into its line, pending `since` then. A line that is formed by it begins at `turn`.
    pub(super) fn insert(&mut self, claim: Claim<'_>, slice: &Slice, since: Timestamp, turn: Turn) {
        self.insert_all(claim.line, &[claim.shard], slice, since, turn);
    }

    /// The same for shards of one line that ask for the same, in ascending order: the line is looked up once.
    pub(super) fn insert_all(
        &mut self,
        line: LineName<'_>,
        all: &[ShardId],
        slice: &Slice,
        since: Timestamp,
        turn: Turn,
    ) {
        let LineName { priority, name, order } = line;
        let requirements = &slice.requirements;
        // Most shards find their group and their line: names are cloned only for new ones.
        let id = self.ids.get(requirements).copied().unwrap_or_else(|| {
            let id = self.groups.last_key_value().map_or(0, |(last, _)| last + 1);
            self.ids.insert(requirements.clone(), id);
            let (levels, impatient) = (BTreeMap::new(), ByTime::new());
            let kind = match bots_asked_for(requirements) {
                None => {
                    self.of_all.insert(id);
                    Kind::OfAll
                }
                Some(names) => {
                    for name in names {
                        self.of_bots.entry(name.clone()).or_default().insert(id);
                    }
                    Kind::OfBots
                }
            };
            let requirements = requirements.clone();
            self.groups.insert(id, Group { requirements, order, kind, levels, impatient });
            id
        });
        let lines = self.lines.entry((priority, order)).or_default();
        let name = match lines.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(name),
        };
        let (groups, groups_of_bots) = (BTreeSet::new(), BTreeSet::new());
        let formed = || Line { turn, served: 0, groups, groups_of_bots };
        let line = lines.entry(Arc::clone(&name)).or_insert_with(formed);
        if let Some(group) = self.groups.get_mut(&id) {
            let level = group.levels.entry(priority).or_default();
            match group.kind {
                Kind::OfAll => {
                    line.groups.insert(id);
                    level.turns.insert((line.turn, Arc::clone(&name)));
                }
                Kind::OfBots => drop(line.groups_of_bots.insert(id)),
            }
            extend(level.shards.entry(name).or_default(), all.iter().copied());
            if !slice.wait_for_capacity {
                extend(group.impatient.entry(since).or_default(), all.iter().copied());
            }
        }
        extend(self.expirations.entry(since + slice.expiration).or_default(), all.iter().copied());
        self.len += all.len();
    }

    /// Takes out what was put in with these.
    pub(super) fn remove(&mut self, claim: Claim<'_>, slice: &Slice, since: Timestamp) {
        let requirements = &slice.requirements;
        self.len -= usize::from(take_out(&mut self.expirations, &(since + slice.expiration), &claim.shard));
        let Some(&id) = self.ids.get(requirements) else { return };
        let Some(group) = self.groups.get_mut(&id) else { return };
        take_out(&mut group.impatient, &since, &claim.shard);
        let LineName { priority, name, order } = claim.line;
        let Some(level) = group.levels.get_mut(&priority) else { return };
        let Some(shards) = level.shards.get_mut(name) else { return };
        shards.remove(&claim.shard);
        if !shards.is_empty() {
            return;
        }
        // The last one of this line in this group.
        let left = level.shards.remove_entry(name);
        if let Some(lines) = self.lines.get_mut(&(priority, order)) {
            if let (Some(line), Some((left, _))) = (lines.get_mut(name), left) {
                level.turns.remove(&(line.turn, left));
                line.groups.remove(&id);
                line.groups_of_bots.remove(&id);
                if line.groups.is_empty() && line.groups_of_bots.is_empty() {
                    lines.remove(name);
                }
            }
            if lines.is_empty() {
                self.lines.remove(&(priority, order));
            }
        }
        if level.shards.is_empty() {
            group.levels.remove(&priority);
        }
        if group.levels.is_empty() {
            self.groups.remove(&id);
            self.ids.remove(requirements);
            self.of_all.remove(&id);
            for name in bots_asked_for(requirements).into_iter().flatten() {
                take_out(&mut self.of_bots, name, &id);
            }
        }
    }

    /// A shard of this line got a bot: the others of its priority are next. Costs as much as the line has
    /// groups of all bots.
    pub(super) fn served(&mut self, line: LineName<'_>, turn: Turn) {
        let LineName { priority, name, order } = line;
        let lines = self.lines.get_mut(&(priority, order));
        let Some(line) = lines.and_then(|lines| lines.get_mut(name)) else { return };
        let earlier = std::mem::replace(&mut line.turn, turn);
        line.served += 1;
        for id in &line.groups {
            let level = self.groups.get_mut(id).and_then(|group| group.levels.get_mut(&priority));
            let Some(level) = level else { continue };
            let Some((name, _)) = level.shards.get_key_value(name) else { continue };
            level.turns.remove(&(earlier, Arc::clone(name)));
            level.turns.insert((turn, Arc::clone(name)));
        }
    }

    /// The first shard that fits a bot with these dimensions and is not better `left` to another.
    pub(super) fn best(
        &self,
        dimensions: &Dimensions,
        now: Timestamp,
        left: impl Fn(ShardId) -> bool,
    ) -> Option<ShardId> {
        let own = dimensions.get(BOT_KEY).into_iter().flatten().filter_map(|name| self.of_bots.get(name));
        let groups = self.of_all.iter().chain(own.flatten()).filter_map(|id| self.groups.get(id));
        let fitting = groups.filter(|group| group.requirements.fit(dimensions));
        let levels = fitting.flat_map(|group| group.levels.iter().map(move |level| (group, level)));
        let heads = levels.filter_map(|(group, (&priority, level))| {
            let in_turn = self.in_turn(group, priority, level);
            let order = |name: &str| self.order_now(group.order, priority, name);
            level.head(in_turn, priority, now, order, &left)
        });
        heads.min().map(|(.., seat)| seat.shard())
    }

    /// The lines of a level, the one whose turn it is first.
    fn in_turn<'a>(
        &'a self,
        group: &Group,
        priority: u8,
        level: &'a Level,
    ) -> impl Iterator<Item = (Turn, &'a Arc<str>)> {
        let known = level.turns.iter().map(|(turn, name)| (*turn, name));
        let mut of_bots = Vec::new();
        if group.kind == Kind::OfBots {
            let lines = self.lines.get(&(priority, group.order));
            let turn = |name| Some((lines?.get(name)?.turn, name));
            of_bots.extend(level.shards.keys().filter_map(turn));
            of_bots.sort_unstable();
        }
        known.chain(of_bots)
    }

    /// In which order the shards of a line are taken now, in a pool of this order.
    fn order_now(&self, order: Order, priority: u8, line: &str) -> Order {
        let served = || Some(self.lines.get(&(priority, order))?.get(line)?.served);
        match order {
            Order::Lifo if served().is_some_and(|served| served % OLDEST_EACH == OLDEST_EACH - 1) => {
                Order::Fifo
            }
            order => order,
        }
    }

    /// The groups that may fit `many` bots with these names: all of them, unless more bots are asked for by name.
    pub(super) fn groups_for<'a>(
        &'a self,
        many: usize,
        bots: impl Iterator<Item = &'a str>,
    ) -> BTreeSet<u64> {
        if self.of_bots.len() <= many {
            return self.groups.keys().copied().collect();
        }
        let by_name = bots.filter_map(|name| self.of_bots.get(name)).flatten();
        self.of_all.iter().chain(by_name).copied().collect()
    }

    /// What the shards of a group ask for, if there are some.
    pub(super) fn asked_by(&self, group: u64) -> Option<&Requirements> {
        self.groups.get(&group).map(|group| &group.requirements)
    }

    /// What is asked for, each once.
    pub(super) fn asked(&self) -> impl Iterator<Item = &Requirements> {
        self.ids.keys()
    }

    /// The pending shards of each group, priority and line, by id.
    pub(super) fn queues(&self) -> impl Iterator<Item = &BTreeSet<ShardId>> {
        self.groups.values().flat_map(|group| group.levels.values()).flat_map(|level| level.shards.values())
    }

    /// What is asked for by shards that do not wait for a bot that fits, and those shards, the longest pending first.
    pub(super) fn impatient(&self) -> impl Iterator<Item = (&Requirements, &ByTime)> {
        let groups = self.groups.values().filter(|group| !group.impatient.is_empty());
        groups.map(|group| (&group.requirements, &group.impatient))
    }

    pub(super) fn next_expiration(&self) -> Option<Timestamp> {
        self.expirations.first_key_value().map(|(expires, _)| *expires)
    }

    pub(super) fn expired(&self, now: Timestamp) -> impl Iterator<Item = ShardId> {
        self.expirations.range(..=now).flat_map(|(_, shards)| shards.iter().copied())
    }
}

impl Level {
    /// The first shard of the line whose turn it is.
    fn head<'a>(
        &'a self,
        in_turn: impl Iterator<Item = (Turn, &'a Arc<str>)>,
        priority: u8,
        now: Timestamp,
        order: impl Fn(&str) -> Order,
        left: impl Fn(ShardId) -> bool,
    ) -> Option<Rank<'a>> {
        let in_turn = in_turn.filter_map(|(turn, name)| Some((turn, name, self.shards.get(name)?)));
        let seats = in_turn.flat_map(|(turn, name, shards)| {
            let (oldest, newest) = match order(name) {
                Order::Fifo => (Some(shards.iter()), None),
                Order::Lifo => (None, Some(newest_first(shards))),
            };
            let oldest = oldest.into_iter().flatten().map(|shard| Seat::OldestFirst(*shard));
            let newest =
                newest.into_iter().flatten().map(|shard| Seat::NewestFirst(Reverse(shard.run), *shard));
            oldest.chain(newest).map(move |seat| (turn, name, seat))
        });
        let mut looked_at = seats.take(MOST_SKIPPED);
        let (turn, name, seat) = looked_at.find(|(.., seat)| !left(seat.shard()))?;
        Some((level(priority, turn, now), priority, turn, name, seat))
    }
}
