//! What bots report, and what they are told to do.

use super::{
    earlier, fan_out,
    field::{FieldError, InField, text, to_wire},
    items, result, spec, suite,
};
use crate::{
    queue::{AttemptResult, Condition, Grant, Included, LeaseRef, Progress, StepSpec, Token},
    sharding,
    vault::Unopenable,
};
use bytes::Bytes;
use proto::{BotId, Digest, Dimensions, Secret, SessionId, ShardId, Timestamp, limits, v1};
use std::{sync::Arc, time::Duration};

/// More than this is a defect of the bot.
const MOST_SLOTS: u32 = 10_000;

/// Longest reason that a bot gives for anything, in bytes.
const MOST_WORDS: usize = limits::MAX_BOT_WORDS;

/// A bot's call.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) bot: BotId,
    pub(crate) session: SessionId,
    pub(crate) version: String,
    pub(crate) dimensions: Arc<Dimensions>,
    pub(crate) slots: u32,
    pub(crate) draining: bool,
    pub(crate) condition: Condition,
    pub(crate) held: Vec<HeldAttempt>,
    /// Leases that it gives back unfinished.
    pub(crate) returned: Vec<LeaseRef>,
    /// How long the answer may be held back.
    pub(crate) wait: Duration,
}

/// What every answer to a bot says beside its attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    /// By the clock of this host.
    pub(crate) now: Timestamp,
    /// What it should run instead of itself.
    pub(crate) program: Option<Digest>,
}

/// An attempt that it holds, with the next of its output.
#[derive(Clone, Debug)]
pub(crate) struct HeldAttempt {
    pub(crate) lease: LeaseRef,
    pub(crate) output_offset: u64,
    pub(crate) output: Bytes,
    pub(crate) result: Option<AttemptResult>,
    /// Of a worker.
    pub(crate) tests: Option<Progress>,
}

/// One of the attempts that it should hold.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) lease: LeaseRef,
    pub(crate) step: std::sync::Arc<StepSpec>,
    pub(crate) includes: Vec<Included>,
    pub(crate) secret: Result<Option<Secret>, Unopenable>,
    pub(crate) kill: bool,
    /// Bytes of its output that are durable.
    pub(crate) output_received: u64,
    /// Of a worker.
    pub(crate) tests: Option<Grant>,
}

/// Parses a bot's call.
pub(crate) fn parse_report(wire: v1::SynchronizeRequest) -> Result<Report, FieldError> {
    let bot: BotId = wire.bot_id.parse().in_field("bot_id")?;
    let mut dimensions = Dimensions::try_from(&wire.dimensions[..]).in_field("dimensions")?;
    // A bot is found under its own name and no other, whatever it says.
    dimensions.set("id", [bot.as_str()]).in_field("bot_id")?;
    if wire.slots > MOST_SLOTS {
        return Err(FieldError::new("slots", format!("must be at most {MOST_SLOTS}")));
    }
    if wire.held.len() > MOST_SLOTS as usize {
        return Err(FieldError::new("held", format!("must be at most {MOST_SLOTS} attempts")));
    }
    if wire.returned.len() > MOST_SLOTS as usize {
        return Err(FieldError::new("returned", format!("must be at most {MOST_SLOTS} leases")));
    }
    let returned = |(number, lease)| {
        parse_lease(lease).map_err(|error: FieldError| error.within(&format!("returned[{number}]")))
    };
    let held = |(number, held)| {
        parse_held(held).map_err(|error: FieldError| error.within(&format!("held[{number}]")))
    };
    Ok(Report {
        session: wire.session_id.parse().in_field("session_id")?,
        version: text("version", &wire.version, 256)?,
        dimensions: Arc::new(dimensions),
        slots: wire.slots,
        draining: wire.draining,
        condition: Condition {
            quarantined: text("quarantined", &wire.quarantined, MOST_WORDS)?,
            maintenance: text("maintenance", &wire.maintenance, MOST_WORDS)?,
            notice: text("notice", &wire.notice, MOST_WORDS)?,
            state: text("state", &wire.state, limits::MAX_BOT_STATE_BYTES)?,
        },
        held: wire.held.into_iter().enumerate().map(held).collect::<Result<_, _>>()?,
        returned: wire.returned.iter().enumerate().map(returned).collect::<Result<_, _>>()?,
        wait: super::field::duration("wait", wire.wait.as_ref())?.unwrap_or_default(),
        bot,
    })
}

fn parse_held(wire: v1::HeldAttempt) -> Result<HeldAttempt, FieldError> {
    let lease = wire.lease.as_ref().ok_or_else(|| FieldError::new("lease", "is missing"))?;
    if wire.output_offset.checked_add(wire.output.len() as u64).is_none() {
        return Err(FieldError::new("output_offset", "is beyond any output"));
    }
    let result = wire.result.as_ref().map(result::parse_result).transpose();
    let tests = wire.tests.as_ref().map(suite::parse_progress).transpose();
    Ok(HeldAttempt {
        lease: parse_lease(lease).map_err(|error| error.within("lease"))?,
        output_offset: wire.output_offset,
        output: wire.output,
        result: result.map_err(|error| error.within("result"))?,
        tests: tests.map_err(|error| error.within("tests"))?,
    })
}

fn parse_lease(wire: &v1::LeaseRef) -> Result<LeaseRef, FieldError> {
    let shard = wire.shard_id.parse::<ShardId>().in_field("shard_id")?;
    Ok(LeaseRef { shard, attempt: wire.attempt, token: Token(wire.token) })
}

/// What a bot is told.
pub(crate) fn answer_to_wire(
    orders: &[Order],
    call_again: Duration,
    terminate: bool,
    greeting: Greeting,
) -> v1::SynchronizeResponse {
    v1::SynchronizeResponse {
        desired: orders.iter().map(order_to_wire).collect(),
        call_again: Some(to_wire(call_again)),
        terminate,
        now: Some(greeting.now.into()),
        program: greeting.program.map(Into::into),
    }
}

fn order_to_wire(order: &Order) -> v1::DesiredAttempt {
    let lease = &order.lease;
    v1::DesiredAttempt {
        lease: Some(v1::LeaseRef {
            shard_id: lease.shard.to_string(),
            attempt: lease.attempt,
            token: lease.token.0,
        }),
        // A command that cannot be given its secret is not run: a bot refuses what is empty.
        assignment: order.secret.as_ref().ok().map(|secret| v1::Assignment {
            secret: secret.as_ref().map(Into::into),
            ..assignment(&order.step, &order.includes, lease.shard)
        }),
        kill: order.kill,
        output_received: order.output_received,
        tests: order.tests.as_ref().map(suite::grant_to_wire),
    }
}

/// What is to be done for a shard. Without its secret.
pub(crate) fn assignment(step: &StepSpec, includes: &[Included], shard: ShardId) -> v1::Assignment {
    let of_shard = sharding::environment(shard, &step.fan_out);
    // The shard's own variables win.
    let of_step = step.environment.iter().filter(|(name, _)| of_shard.iter().all(|(own, _)| own != name));
    let environment = of_step.map(|(name, value)| spec::variable_to_wire(name, value));
    let own = of_shard.iter().map(|(name, value)| spec::variable_to_wire(name, value));
    let (command, extra_args) = items::words(step, shard.index);
    v1::Assignment {
        input: step.input.map(Into::into),
        includes: includes.iter().map(earlier::included_to_wire).collect(),
        command,
        extra_args,
        environment: environment.chain(own).collect(),
        outputs: step.outputs.iter().map(|path| path.as_str().to_owned()).collect(),
        timeouts: Some(spec::timeouts_to_wire(step.timeouts)),
        named_caches: step.named_caches.iter().map(Into::into).collect(),
        environment_prefixes: step.environment_prefixes.iter().map(Into::into).collect(),
        secret: None,
        tests: step.fan_out.tests().map(|policy| v1::TestsOrder {
            driver: fan_out::driver_to_wire(policy.driver).into(),
            partitions: policy.parts(),
        }),
    }
}
