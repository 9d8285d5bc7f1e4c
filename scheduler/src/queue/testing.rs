//! A queue with a clock, and short names for what happens to it.

use super::*;
use proto::{BotId, Digest, DigestFunction, Requirements, RunId, SessionId, ShardId, Timestamp};
use std::{num::NonZeroU32, sync::Arc, time::Duration};

pub(super) const TTL: Duration = Duration::from_secs(30);

/// Longer than a slice's life, so that tests of other things see no end of it.
pub(super) const GRACE: Duration = Duration::from_secs(700);

pub(super) const REUSE_FOR: Duration = Duration::from_secs(3600);

pub(super) const TUNING: Tuning = Tuning {
    lease_ttl: TTL,
    most_pending: 1000,
    reuse_for: REUSE_FOR,
    no_resource_after: GRACE,
    retain_for: None,
};

/// What a shard asks for, for ten minutes.
pub(super) fn slice(requirements: &[&str]) -> Slice {
    let mut asked = Requirements::default();
    for text in requirements {
        asked.insert(text.parse().unwrap()).unwrap();
    }
    Slice { requirements: asked, expiration: Duration::from_secs(600), wait_for_capacity: false }
}

/// One step of `shards` shards.
pub(crate) fn step(shards: u32, requirements: &[&str]) -> StepSpec {
    StepSpec {
        name: "step".into(),
        input: Some(Digest::empty(DigestFunction::Blake3)),
        command: vec![],
        extra_args: vec![],
        first: slice(requirements),
        fallbacks: vec![],
        environment: vec![],
        environment_prefixes: vec![],
        outputs: vec![],
        named_caches: vec![],
        timeouts: Timeouts { hard: TTL, io: None, grace: TTL },
        fan_out: FanOut::Shards(NonZeroU32::new(shards).unwrap()),
        max_attempts: NonZeroU32::new(2).unwrap(),
        idempotent: false,
        after: vec![],
        includes: vec![],
    }
}

/// The step, when its shards stay pending for no longer.
pub(super) fn expiring(expiration: Duration, step: StepSpec) -> StepSpec {
    StepSpec { first: Slice { expiration, ..step.first }, ..step }
}

/// A run of these steps.
pub(super) fn spec(priority: u8, steps: impl IntoIterator<Item = StepSpec>) -> RunSpec {
    RunSpec {
        name: "run".into(),
        user: "user".into(),
        tags: vec![],
        priority,
        steps: steps.into_iter().map(Arc::new).collect(),
        parent: None,
        secret: None,
    }
}

pub(super) fn shard(run: RunId, step: u32, index: u32) -> ShardId {
    ShardId { run, step, index }
}

pub(super) fn result(ending: Ending, exit_code: i32) -> AttemptResult {
    AttemptResult {
        ending,
        exit_code: Some(exit_code),
        signal: None,
        message: String::new(),
        outputs: None,
        stats: None,
        out_of_memory: false,
    }
}

/// What a bot says when it holds these.
pub(super) fn report(bot: &str, session: &str, held: Vec<Held>) -> BotReport {
    let mut dimensions = proto::Dimensions::default();
    dimensions.insert("id", bot).unwrap();
    dimensions.insert("os", "Linux").unwrap();
    BotReport {
        bot: bot.parse().unwrap(),
        session: session.parse().unwrap(),
        version: String::new(),
        dimensions: Arc::new(dimensions),
        slots: 1,
        draining: false,
        condition: Condition::default(),
        held,
        returned: vec![],
    }
}

pub(super) fn running(lease: LeaseRef) -> Held {
    Held { lease, output_size: 0, result: None, busy: true, tests: None }
}

pub(super) fn finished(lease: LeaseRef, exit_code: i32) -> Held {
    Held {
        lease,
        output_size: 3,
        result: Some(result(Ending::Completed, exit_code)),
        busy: false,
        tests: None,
    }
}

/// A queue that keeps its records.
pub(super) struct Bench {
    pub(super) queue: Queue,
    pub(super) now: Timestamp,
    pub(super) records: Vec<Record>,
    requests: u32,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(TUNING)
    }

    pub(super) fn with(tuning: Tuning) -> Self {
        let now = Timestamp::from_micros(1_000_000_000);
        Self { queue: Queue::new(tuning), now, records: vec![], requests: 0 }
    }

    pub(super) fn apply(&mut self, event: Event) -> Result<Decided, Refusal> {
        let decided = self.queue.apply(event, self.now)?;
        self.records.extend(decided.records.iter().cloned());
        Ok(decided)
    }

    /// A new run.
    pub(super) fn run(&mut self, spec: RunSpec) -> RunId {
        self.requests += 1;
        let id = RunId::new(self.now, self.requests);
        let request = format!("r{}", self.requests).parse().unwrap();
        let trigger = Trigger { run: id, request, spec: Arc::new(spec), reuses: vec![] };
        self.apply(Event::Trigger(trigger)).unwrap();
        id
    }

    /// A bot calls; what it should hold afterwards.
    pub(super) fn call(&mut self, report: BotReport) -> Vec<LeaseRef> {
        let (bot, session) = (report.bot.clone(), report.session.clone());
        self.apply(Event::Synchronize(report)).unwrap();
        self.desired(&bot, &session)
    }

    /// The bot calls in its first session and holds these.
    pub(super) fn bot(&mut self, bot: &str, held: Vec<Held>) -> Vec<LeaseRef> {
        self.call(report(bot, "s1", held))
    }

    pub(super) fn desired(&self, bot: &BotId, session: &SessionId) -> Vec<LeaseRef> {
        self.queue.desired(bot, session).into_iter().map(|desired| desired.lease).collect()
    }

    pub(super) fn pass(&mut self, time: Duration) -> Decided {
        self.now = self.now + time;
        self.apply(Event::Tick).unwrap()
    }

    pub(super) fn cancel(&mut self, run: RunId, mode: CancelMode) -> Decided {
        self.apply(Event::Cancel { run, mode }).unwrap()
    }

    pub(super) fn state(&self, shard: ShardId) -> ShardState {
        self.queue.shard(shard).unwrap().state
    }

    pub(super) fn run_state(&self, run: RunId) -> RunState {
        self.queue.run(run).unwrap().state()
    }

    /// What a new scheduler makes of the records.
    pub(super) fn replayed(&self) -> Queue {
        let mut queue = Queue::new(TUNING);
        for record in &self.records {
            queue.replay(record).unwrap();
        }
        queue.resume(self.now);
        queue
    }

    pub(super) fn restart(&mut self) {
        self.queue = self.replayed();
    }
}
