//! What holds whatever happens, in whatever order.

use super::super::{pending::Pending, testing::*, *};
use proptest::{prelude::*, sample::Index};
use proto::{RunId, ShardId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Something that bots, users and networks do.
#[derive(Clone, Debug)]
enum Act {
    Trigger {
        request: u8,
        priority: u8,
        shards: u32,
        mac: bool,
        idempotent: bool,
        /// Further steps, each waiting for the one before.
        later: Vec<(u32, bool)>,
        /// By whatever runs on this bot.
        parent: Option<usize>,
    },
    /// A bot calls with what it believes to hold, having finished some of it.
    Call {
        bot: usize,
        finish: Option<Index>,
    },
    /// It calls, but the answer is lost on the way.
    CallUnheard {
        bot: usize,
        finish: Option<Index>,
    },
    /// An old call arrives once more.
    Repeat(Index),
    RestartBot(usize),
    Ask(usize),
    Cancel {
        run: Index,
        kill: bool,
    },
    Delete(Index),
    Pass(u16),
    RestartScheduler,
}

fn trigger() -> impl Strategy<Value = Act> {
    let parent = proptest::option::weighted(0.3, 0..BOTS.len());
    let later = proptest::collection::vec((1..4u32, any::<bool>()), 0..3);
    (0..20u8, 0..3u8, 1..5u32, proptest::bool::weighted(0.2), any::<bool>(), later, parent).prop_map(
        |(request, priority, shards, mac, idempotent, later, parent)| Act::Trigger {
            request,
            priority,
            shards,
            mac,
            idempotent,
            later,
            parent,
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    let bot = 0..BOTS.len();
    let finish = || proptest::option::of(any::<Index>());
    prop_oneof![
        2 => trigger(),
        8 => (bot.clone(), finish()).prop_map(|(bot, finish)| Act::Call { bot, finish }),
        2 => (bot.clone(), finish()).prop_map(|(bot, finish)| Act::CallUnheard { bot, finish }),
        2 => any::<Index>().prop_map(Act::Repeat),
        1 => bot.clone().prop_map(Act::RestartBot),
        2 => bot.prop_map(Act::Ask),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(run, kill)| Act::Cancel { run, kill }),
        1 => any::<Index>().prop_map(Act::Delete),
        2 => (0..40u16).prop_map(Act::Pass),
        1 => Just(Act::RestartScheduler),
    ]
}

const BOTS: [(&str, u32); 3] = [("b1", 1), ("b2", 2), ("b3", 1)];

/// Some commands fail.
fn end(lease: LeaseRef) -> Held {
    finished(lease, i32::from(lease.token.0.is_multiple_of(5)))
}

/// A step after the one of this number, which has to succeed or only to end.
fn following((step_before, (shards, succeed)): (u32, &(u32, bool))) -> StepSpec {
    let demand = if *succeed { Demand::Succeeded } else { Demand::Ended };
    StepSpec { after: vec![After { step: step_before, demand }], ..step(*shards, &["os=Linux"]) }
}

/// A shard is run when what it waits for has ended as it had to, waits for as long as that is open, and is skipped otherwise.
fn check_earlier(run: &Run, id: ShardId, shard: &Shard) -> Result<(), TestCaseError> {
    let spec = &run.spec.steps[id.step as usize];
    let Some(after) = spec.after.first() else { return Ok(()) };
    let earlier = &run.steps[after.step as usize];
    let ended = earlier.iter().all(|shard| matches!(shard.state, ShardState::Ended(_)));
    let met = match after.demand {
        Demand::Succeeded => earlier.iter().all(Shard::succeeded),
        Demand::Ended => earlier.iter().all(|shard| shard.state != ShardState::Ended(Ending::Skipped)),
    };
    match shard.state {
        ShardState::Waiting => prop_assert!(!ended, "{} waits for nothing", id),
        ShardState::Ended(Ending::Skipped) => prop_assert!(!met, "{} was skipped for nothing", id),
        ShardState::Ended(Ending::Canceled) => {}
        _ => prop_assert!(ended && met, "{} was not to be run", id),
    }
    Ok(())
}

/// A bot's own idea of the world.
#[derive(Clone, Default)]
struct BotSide {
    session: u32,
    held: Vec<LeaseRef>,
}

struct World {
    bench: Bench,
    bots: Vec<BotSide>,
    sent: Vec<BotReport>,
    /// How each shard ended, when it first did.
    ended: BTreeMap<ShardId, Shard>,
    runs: Vec<RunId>,
}

impl World {
    fn new() -> Self {
        let bots = vec![BotSide::default(); BOTS.len()];
        Self { bench: Bench::new(), bots, sent: vec![], ended: BTreeMap::new(), runs: vec![] }
    }

    fn report(&self, bot: usize, finish: Option<&Index>) -> BotReport {
        let side = &self.bots[bot];
        let done = finish.filter(|_| !side.held.is_empty()).map(|index| *index.get(&side.held));
        let held =
            side.held.iter().map(|lease| if Some(*lease) == done { end(*lease) } else { running(*lease) });
        let held = held.collect();
        let (name, slots) = BOTS[bot];
        BotReport { slots, ..report(name, &format!("s{}", side.session), held) }
    }

    fn call(&mut self, bot: usize, report: BotReport) -> Result<(), TestCaseError> {
        self.sent.push(report.clone());
        let before = self.bench.queue.desired(&report.bot, &report.session).len();
        let session = report.session.clone();
        if self.bench.apply(Event::Synchronize(report.clone())).is_ok() {
            let desired = self.bench.desired(&report.bot, &session);
            prop_assert!(desired.len() <= before.max(BOTS[bot].1 as usize), "slots are respected");
            // Said twice, it changes nothing but what one call may bring.
            let again = BotReport { held: vec![], draining: true, ..report };
            let changed = self.bench.queue.apply(Event::Synchronize(again.clone()), self.bench.now);
            prop_assert_eq!(changed.unwrap().records, vec![]);
            prop_assert_eq!(self.bench.desired(&again.bot, &session), desired);
        }
        Ok(())
    }

    fn hear(&mut self, bot: usize) {
        let session = format!("s{}", self.bots[bot].session).parse().unwrap();
        self.bots[bot].held = self.bench.desired(&BOTS[bot].0.parse().unwrap(), &session);
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match act {
            Act::Trigger { request, priority, shards, mac, idempotent, later, parent } => {
                // A Mac is never there: in the end everybody takes a Linux.
                let first = Slice { wait_for_capacity: *priority == 0, ..slice(&["os=Mac"]) };
                let first = if *mac { first } else { slice(&["os=Linux"]) };
                let fallbacks =
                    if *mac { vec![slice(&["os=Mac", "id=b1"]), slice(&["os=Linux"])] } else { vec![] };
                let step = StepSpec { idempotent: *idempotent, first, fallbacks, ..step(*shards, &[]) };
                let parent = parent.and_then(|bot| self.bots[bot].held.first()).map(|lease| lease.shard);
                let steps = [step].into_iter().chain((0u32..).zip(later).map(following));
                let spec = Arc::new(RunSpec { parent, ..spec(*priority, steps) });
                let run = RunId::new(self.bench.now, u32::from(*request));
                let request = format!("r{request}").parse().unwrap();
                let reuses = self.bench.queue.reusable(&spec, self.bench.now);
                let trigger = Trigger { run, request, spec, reuses };
                if self.bench.queue.run(run).is_none()
                    && self.bench.apply(Event::Trigger(trigger)).is_ok_and(|d| !d.records.is_empty())
                {
                    self.runs.push(run);
                }
            }
            Act::Call { bot, finish } => {
                self.call(*bot, self.report(*bot, finish.as_ref()))?;
                self.hear(*bot);
            }
            Act::CallUnheard { bot, finish } => self.call(*bot, self.report(*bot, finish.as_ref()))?,
            Act::Repeat(index) if !self.sent.is_empty() => {
                // The world may have refused it; it must not have harmed anybody.
                let _ = self.bench.apply(Event::Synchronize(index.get(&self.sent).clone()));
            }
            Act::RestartBot(bot) => {
                let side = &mut self.bots[*bot];
                *side = BotSide { session: side.session + 1, held: vec![] };
            }
            Act::Ask(bot) => {
                let session = format!("s{}", self.bots[*bot].session).parse().unwrap();
                let bot = BOTS[*bot].0.parse().unwrap();
                self.bench.apply(Event::Ask { bot, session }).unwrap();
            }
            Act::Cancel { run, kill } if !self.runs.is_empty() => {
                let mode = if *kill { CancelMode::KillRunning } else { CancelMode::PendingOnly };
                self.bench.cancel(*run.get(&self.runs), mode);
            }
            Act::Delete(run) if !self.runs.is_empty() => {
                let run = *run.get(&self.runs);
                if self.bench.apply(Event::Delete { run }).is_ok() {
                    self.runs.retain(|other| *other != run);
                    self.ended.retain(|shard, _| shard.run != run);
                }
            }
            Act::Pass(seconds) => drop(self.bench.pass(Duration::from_secs((*seconds).into()))),
            Act::RestartScheduler => self.bench.restart(),
            Act::Repeat(_) | Act::Cancel { .. } | Act::Delete(_) => {}
        }
        Ok(())
    }

    /// What has to hold at any time.
    fn check(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(&self.bench.queue.state, &self.bench.replayed().state, "replayed state");
        let queue = &self.bench.queue;
        let mut live = BTreeSet::new();
        for (token, id) in queue.leases() {
            prop_assert!(live.insert(id), "two live leases on {}", id);
            let attempt = queue.shard(id).and_then(Shard::live);
            prop_assert_eq!(attempt.map(|attempt| attempt.token), Some(token));
        }
        let (mut waiting, mut pending) = (0, 0);
        for (id, shard) in self.runs.iter().flat_map(|run| queue.run(*run).unwrap().shards()) {
            prop_assert_eq!(shard.state == ShardState::Running, live.contains(&id));
            waiting += usize::from(shard.state == ShardState::Waiting);
            pending += usize::from(shard.state == ShardState::Pending);
            check_earlier(queue.run(id.run).unwrap(), id, shard)?;
            let tokens = shard.attempts.iter().map(|attempt| attempt.token);
            prop_assert!(tokens.clone().zip(tokens.skip(1)).all(|(one, next)| one < next), "tokens grow");
            if let ShardState::Ended(_) = shard.state {
                let first = self.ended.entry(id).or_insert_with(|| shard.clone());
                prop_assert_eq!(&*first, shard, "a shard ends once");
            } else {
                prop_assert!(!self.ended.contains_key(&id), "what has ended stays so");
            }
        }
        prop_assert_eq!((waiting, pending), (queue.waiting(), queue.pending()));
        Ok(())
    }

    /// With live bots and nothing in the way, everything ends.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        // After a restart a fallback is taken before it is known to be lacking: two slices expire, one after the other.
        for _ in 0..1500 {
            for bot in 0..BOTS.len() {
                let report = BotReport {
                    held: self.bots[bot].held.iter().map(|lease| end(*lease)).collect(),
                    ..self.report(bot, None)
                };
                // A stray call may keep it out for the life of a lease.
                if self.bench.apply(Event::Synchronize(report)).is_ok() {
                    self.hear(bot);
                }
            }
            self.bench.pass(Duration::from_secs(1));
        }
        self.check()?;
        for run in &self.runs {
            prop_assert!(self.bench.queue.run(*run).unwrap().ended.is_some(), "run {} has ended", run);
        }
        prop_assert_eq!(&self.bench.queue.state.pending, &Pending::default());
        prop_assert_eq!(self.bench.queue.waiting(), 0);
        prop_assert!(self.bench.queue.state.held.is_empty());
        prop_assert_eq!(self.bench.queue.next_deadline(), None);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_shard_ends_exactly_once_and_the_state_is_what_its_records_replay_to(
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let mut world = World::new();
        for act in &acts {
            world.act(act)?;
            world.check()?;
        }
        world.settle()?;
    }

    #[test]
    fn a_bot_gets_the_first_shard_that_it_fits(
        runs in proptest::collection::vec((0..4u8, 1..4u32, any::<bool>()), 1..8),
    ) {
        let mut bench = Bench::new();
        let mut expected = vec![];
        for (priority, shards, fits) in runs {
            let os = if fits { "os=Linux" } else { "os=Mac" };
            let run = bench.run(spec(priority, [step(shards, &[os])]));
            expected.extend((0..shards).filter(|_| fits).map(|index| (priority, shard(run, 0, index))));
        }
        expected.sort();
        let mut held = vec![];
        for (_, shard) in expected {
            let leases = bench.bot("b", held);
            prop_assert_eq!(leases[0].shard, shard);
            held = vec![finished(leases[0], 0)];
        }
    }
}
