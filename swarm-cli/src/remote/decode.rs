//! Answers of the scheduler, checked.

mod ledger;

pub(super) use ledger::{driver, history, quarantine, tests_page};

use super::{Novelty, Triggered, Update};
use crate::model::{
    After, Assignment, Attempt, AttemptResult, AttemptStats, Bot, BotHealth, Changes, Counts, Demand,
    Evaluation, Explanation, FanOut, Items, OutputOf, Reused, Run, RunSpec, RunState, Shard, ShardState,
    Slice, SliceEvaluation, StepSpec,
};
use proto::{Cut, Digest, EnvironmentPrefix, NamedCache, RelPath, RunId, ShardId, Timestamp, v1};
use std::{fmt, num::NonZeroU32, time::Duration};

/// What in an answer makes no sense.
#[derive(Debug)]
pub(super) struct Malformed {
    what: &'static str,
    detail: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its {} makes no sense: {}", self.what, self.detail)
    }
}

fn malformed<E: fmt::Display>(what: &'static str) -> impl Fn(E) -> Malformed {
    move |error| Malformed { what, detail: error.to_string() }
}

fn present<'a, T>(what: &'static str, value: Option<&'a T>) -> Result<&'a T, Malformed> {
    value.ok_or_else(|| Malformed { what, detail: "it is missing".into() })
}

pub(super) fn triggered(wire: &v1::TriggerResponse) -> Result<Triggered, Malformed> {
    let novelty = if wire.created { Novelty::Created } else { Novelty::Existing };
    let run = wire.run_id.parse().map_err(malformed("run id"))?;
    Ok(Triggered { run, shards: wire.shards, deduped: wire.deduped, novelty })
}

pub(super) fn evaluation(wire: v1::TriggerResponse) -> Result<Evaluation, Malformed> {
    let slice = |slice: v1::SliceEvaluation| SliceEvaluation {
        step: slice.step,
        slice: slice.slice,
        busy_bots: slice.busy_bots,
        free_bots: slice.free_bots,
        obstacles: obstacles(slice.obstacles),
    };
    Ok(Evaluation {
        made: match wire.run_id.as_str() {
            "" => None,
            run => Some(run.parse().map_err(malformed("run id"))?),
        },
        shards: wire.shards,
        deduped: wire.deduped,
        slices: wire.slices.into_iter().map(slice).collect(),
    })
}

pub(super) fn assignment(wire: v1::Assignment) -> Result<Assignment, Malformed> {
    let include = |one: v1::IncludedOutputs| Ok((digest("outputs", one.outputs.as_ref())?, one.into));
    Ok(Assignment {
        input: digest("input", wire.input.as_ref())?,
        includes: wire.includes.into_iter().map(include).collect::<Result<_, _>>()?,
        command: wire.command,
        extra_args: wire.extra_args,
        environment: wire.environment.into_iter().map(|one| (one.name, one.value)).collect(),
        outputs: wire.outputs,
        named_caches: wire.named_caches.into_iter().map(|one| (one.name, one.path)).collect(),
    })
}

fn obstacles(wire: Vec<v1::Obstacle>) -> Vec<(String, Vec<String>)> {
    wire.into_iter().map(|one| (one.criterion, one.bots)).collect()
}

pub(super) fn update(wire: v1::WatchResponse) -> Result<Update, Malformed> {
    match wire.update {
        Some(v1::watch_response::Update::Run(whole)) => Ok(Update::Whole(Box::new(run(Some(&whole))?))),
        Some(v1::watch_response::Update::Changes(changes)) => Ok(Update::Changes(Changes {
            state: run_state(changes.state())?,
            ended: changes.ended.as_ref().map(Timestamp::from),
            shards: changes.shards.iter().map(shard).collect::<Result<_, _>>()?,
            tests: changes.tests.iter().map(ledger::step_tests).collect(),
        })),
        None => Err(Malformed { what: "update", detail: "it is empty".into() }),
    }
}

pub(super) fn run(wire: Option<&v1::Run>) -> Result<Run, Malformed> {
    let wire = present("run", wire)?;
    let mut shards = wire.shards.iter().map(shard).collect::<Result<Vec<_>, _>>()?;
    shards.sort_by_key(|shard| shard.id);
    let counts = match (&wire.counts, shards.is_empty()) {
        (Some(counts), true) => Counts {
            waiting: counts.waiting,
            pending: counts.pending,
            running: counts.running,
            succeeded: counts.succeeded,
            failed: counts.failed,
            skipped: counts.skipped,
        },
        _ => Counts::of(&shards),
    };
    let announced = wire.counts.map_or(0, |counts| {
        let v1::ShardCounts { waiting, pending, running, succeeded, failed, skipped } = counts;
        [waiting, pending, running, succeeded, failed, skipped].into_iter().fold(0, u32::saturating_add)
    });
    Ok(Run {
        id: wire.id.parse().map_err(malformed("run id"))?,
        spec: run_spec(present("run", wire.spec.as_ref())?)?,
        state: run_state(wire.state())?,
        created: wire.created.as_ref().map(Timestamp::from).unwrap_or_default(),
        ended: wire.ended.as_ref().map(Timestamp::from),
        shards,
        counts,
        has_secret: wire.has_secret,
        announced,
        tests: wire.tests.iter().map(ledger::step_tests).collect(),
    })
}

fn run_spec(wire: &v1::RunSpec) -> Result<RunSpec, Malformed> {
    Ok(RunSpec {
        name: wire.name.clone(),
        user: wire.user.clone(),
        tags: wire.tags.clone(),
        priority: u8::try_from(wire.priority).map_err(malformed("priority"))?,
        steps: wire.steps.iter().map(step_spec).collect::<Result<_, _>>()?,
        parent: match wire.parent.as_str() {
            "" => None,
            parent => Some(parent.parse().map_err(malformed("parent"))?),
        },
    })
}

fn step_spec(wire: &v1::StepSpec) -> Result<StepSpec, Malformed> {
    let timeouts = wire.timeouts.unwrap_or_default();
    let fan_out = match wire.fan_out.as_ref().and_then(|fan_out| fan_out.policy.as_ref()) {
        Some(v1::fan_out::Policy::Shards(shards)) => FanOut::Shards(shards.count),
        Some(v1::fan_out::Policy::Tests(policy)) => FanOut::Tests(ledger::policy(policy)?),
        Some(v1::fan_out::Policy::Items(wire)) => FanOut::Items(items(wire)?),
        Some(v1::fan_out::Policy::EachBot(each)) => {
            FanOut::EachBot { seen_within: each.seen_within.and_then(duration) }
        }
        None => FanOut::Shards(1),
    };
    let outputs = wire.outputs.iter().map(|path| RelPath::new(path));
    Ok(StepSpec {
        name: wire.name.clone(),
        input: digest("input", wire.input.as_ref())?,
        command: wire.command.clone(),
        extra_args: wire.extra_args.clone(),
        first: slice(&wire.requirements, wire.expiration, wire.wait_for_capacity)?,
        fallbacks: {
            let parse = |one: &v1::Slice| slice(&one.requirements, one.expiration, one.wait_for_capacity);
            wire.fallbacks.iter().map(parse).collect::<Result<_, _>>()?
        },
        environment: wire.environment.iter().map(|v| (v.name.clone(), v.value.clone())).collect(),
        outputs: outputs.collect::<Result<_, _>>().map_err(malformed("outputs"))?,
        environment_prefixes: EnvironmentPrefix::from_wire(&wire.environment_prefixes)
            .map_err(malformed("environment_prefixes"))?,
        named_caches: NamedCache::from_wire(&wire.named_caches).map_err(malformed("named_caches"))?,
        hard_timeout: timeouts.hard.and_then(duration),
        io_timeout: timeouts.io.and_then(duration),
        grace: timeouts.grace.and_then(duration),
        fan_out,
        max_attempts: Some(wire.max_attempts).filter(|&n| n > 0),
        idempotent: wire.idempotent,
        after: wire.after.iter().map(after).collect::<Result<_, _>>()?,
        includes: wire.includes.iter().map(output_of).collect::<Result<_, _>>()?,
    })
}

fn digest(what: &'static str, wire: Option<&v1::Digest>) -> Result<Option<Digest>, Malformed> {
    wire.map(|digest| Digest::try_from(digest).map_err(malformed(what))).transpose()
}

fn after(wire: &v1::After) -> Result<After, Malformed> {
    let demand = match wire.condition() {
        v1::after::Condition::Unspecified | v1::after::Condition::Succeeded => Demand::Succeeded,
        v1::after::Condition::Ended => Demand::Ended,
    };
    Ok(After { step: wire.step, demand })
}

fn output_of(wire: &v1::OutputOf) -> Result<OutputOf, Malformed> {
    Ok(OutputOf { step: wire.step, into: wire.into.parse().map_err(malformed("into"))? })
}

fn slice(
    requirements: &[v1::Requirement],
    expiration: Option<impl TryInto<Duration>>,
    wait_for_capacity: bool,
) -> Result<Slice, Malformed> {
    Ok(Slice {
        requirements: requirements.try_into().map_err(malformed("requirements"))?,
        expiration: expiration.and_then(duration),
        wait_for_capacity,
    })
}

/// Negative durations do not occur; they would mean nothing.
fn duration(wire: impl TryInto<Duration>) -> Option<Duration> {
    wire.try_into().ok().filter(|duration| !duration.is_zero())
}

fn run_state(wire: v1::RunState) -> Result<RunState, Malformed> {
    Ok(match wire {
        v1::RunState::Pending => RunState::Pending,
        v1::RunState::Running => RunState::Running,
        v1::RunState::Succeeded => RunState::Succeeded,
        v1::RunState::Failed => RunState::Failed,
        v1::RunState::Canceled => RunState::Canceled,
        v1::RunState::Incomplete => RunState::Incomplete,
        v1::RunState::Unspecified => return Err(unknown_state()),
    })
}

fn shard_state(wire: v1::ShardState) -> Result<ShardState, Malformed> {
    Ok(match wire {
        v1::ShardState::Waiting => ShardState::Waiting,
        v1::ShardState::Pending => ShardState::Pending,
        v1::ShardState::Running => ShardState::Running,
        v1::ShardState::Completed => ShardState::Completed,
        v1::ShardState::Expired => ShardState::Expired,
        v1::ShardState::TimedOut => ShardState::TimedOut,
        v1::ShardState::Canceled => ShardState::Canceled,
        v1::ShardState::Killed => ShardState::Killed,
        v1::ShardState::BotDied => ShardState::BotDied,
        v1::ShardState::ClientError => ShardState::ClientError,
        v1::ShardState::InternalError => ShardState::InternalError,
        v1::ShardState::NoResource => ShardState::NoResource,
        v1::ShardState::NotNeeded => ShardState::NotNeeded,
        v1::ShardState::Skipped => ShardState::Skipped,
        v1::ShardState::Unspecified => return Err(unknown_state()),
    })
}

fn unknown_state() -> Malformed {
    Malformed {
        what: "state",
        detail: "this program does not know it; it may be older than the scheduler".into(),
    }
}

fn shard(wire: &v1::Shard) -> Result<Shard, Malformed> {
    Ok(Shard {
        id: wire.id.parse().map_err(malformed("shard id"))?,
        state: shard_state(wire.state())?,
        attempts: wire.attempts.iter().map(attempt).collect::<Result<_, _>>()?,
        ended: wire.ended.as_ref().map(Timestamp::from),
        message: wire.message.clone(),
        killing: wire.killing,
        slice: wire.slice,
        reused: wire.deduped_result.as_ref().map(|result| reused(&wire.deduped_from, result)).transpose()?,
        bot: match wire.bot_id.as_str() {
            "" => None,
            bot => Some(bot.parse().map_err(malformed("bot id"))?),
        },
    })
}

fn items(wire: &v1::fan_out::Items) -> Result<Items, Malformed> {
    use v1::fan_out::items::Cut as Wire;
    let number = |number| NonZeroU32::try_from(number).map_err(malformed("number of items"));
    let cut = match present("cut of items", wire.cut.as_ref())? {
        Wire::PerShard(most) => Cut::PerShard(number(*most)?),
        Wire::Shards(shards) => Cut::Shards(number(*shards)?),
    };
    Ok(Items { items: Vec::new(), count: wire.count, cut })
}

fn reused(from: &str, result: &v1::AttemptResult) -> Result<Box<Reused>, Malformed> {
    let from = from.parse().map_err(malformed("shard id"))?;
    Ok(Box::new(Reused { from, result: attempt_result(result)? }))
}

fn attempt(wire: &v1::Attempt) -> Result<Attempt, Malformed> {
    Ok(Attempt {
        number: wire.number,
        bot: wire.bot_id.clone(),
        started: wire.started.as_ref().map(Timestamp::from),
        ended: wire.ended.as_ref().map(Timestamp::from),
        result: wire.result.as_ref().map(attempt_result).transpose()?,
        lost: wire.lost.clone(),
        output_size: wire.output_size,
        returned: wire.returned,
    })
}

fn attempt_result(wire: &v1::AttemptResult) -> Result<AttemptResult, Malformed> {
    Ok(AttemptResult {
        state: shard_state(wire.state())?,
        exit_code: wire.exit_code,
        signal: wire.signal,
        message: wire.message.clone(),
        outputs: wire.outputs.as_ref().map(Digest::try_from).transpose().map_err(malformed("outputs"))?,
        stats: wire.stats.as_ref().map(attempt_stats).unwrap_or_default(),
        out_of_memory: wire.out_of_memory,
    })
}

fn attempt_stats(wire: &v1::AttemptStats) -> AttemptStats {
    AttemptStats {
        fetch: wire.fetch.and_then(duration).unwrap_or_default(),
        run: wire.run.and_then(duration).unwrap_or_default(),
        upload: wire.upload.and_then(duration).unwrap_or_default(),
        cold_items: wire.cold_items,
        cold_bytes: wire.cold_bytes,
        hot_items: wire.hot_items,
        hot_bytes: wire.hot_bytes,
        uploaded_bytes: wire.uploaded_bytes,
    }
}

pub(super) fn run_ids(wire: &[String]) -> Result<Vec<RunId>, Malformed> {
    wire.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(malformed("run id"))
}

pub(super) fn shard_ids(wire: &[String]) -> Result<Vec<ShardId>, Malformed> {
    wire.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(malformed("shard id"))
}

pub(super) fn explanation(wire: v1::StepExplanation) -> Explanation {
    Explanation {
        step: wire.step,
        pending_shards: wire.pending_shards,
        waiting_shards: Vec::new(),
        waiting_for: Vec::new(),
        ahead: wire.ahead,
        busy_bots: wire.busy_bots,
        free_bots: wire.free_bots,
        obstacles: obstacles(wire.obstacles),
        expires: wire.expires.as_ref().map(Timestamp::from),
        summary: wire.summary,
        place: wire.place,
        slice: wire.slice,
        slices: wire.slices,
        no_resource: wire.no_resource.as_ref().map(Timestamp::from),
    }
}

pub(super) fn note(wire: v1::StepNote) -> Explanation {
    Explanation { step: wire.step, summary: wire.text, ..Explanation::default() }
}

pub(super) fn waiting(wire: v1::WaitingStep) -> Explanation {
    Explanation {
        step: wire.step,
        waiting_shards: wire.shards,
        waiting_for: wire.for_steps,
        summary: wire.summary,
        ..Explanation::default()
    }
}

pub(super) fn bot(wire: &v1::Bot) -> Result<Bot, Malformed> {
    let running = wire.running.iter().map(|id| id.parse());
    Ok(Bot {
        id: wire.id.clone(),
        dimensions: wire.dimensions[..].try_into().map_err(malformed("dimensions"))?,
        version: wire.version.clone(),
        slots: wire.slots,
        running: running.collect::<Result<_, _>>().map_err(malformed("shard id"))?,
        first_seen: wire.first_seen.as_ref().map(Timestamp::from),
        last_seen: wire.last_seen.as_ref().map(Timestamp::from),
        health: match (wire.dead, wire.order()) {
            (true, _) => BotHealth::Dead,
            (false, v1::BotOrder::Quarantine) => BotHealth::Quarantined,
            (false, v1::BotOrder::Terminate) => BotHealth::Terminating,
            (false, v1::BotOrder::Drain) => BotHealth::Draining,
            (false, _) if !wire.quarantined.is_empty() => BotHealth::Quarantined,
            (false, _) if !wire.maintenance.is_empty() => BotHealth::Maintenance,
            (false, _) if wire.draining => BotHealth::Draining,
            (false, _) => BotHealth::Alive,
        },
        message: [&wire.order_message, &wire.quarantined, &wire.maintenance]
            .into_iter()
            .find(|why| !why.is_empty())
            .cloned()
            .unwrap_or_default(),
        notice: wire.notice.clone(),
        // A bot that says what is no JSON has said nothing.
        state: serde_json::from_str(&wire.state).unwrap_or_default(),
    })
}
