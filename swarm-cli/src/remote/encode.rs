//! Requests as wire messages.

use super::{BotFilter, OutputEnd, OutputStart, RunFilter};
use crate::model::{
    After, BotOrder, BotState, Demand, Driver, FanOut, OutputOf, Quarantine, RunSpec, RunState, Slice,
    StepSpec, TestsPolicy,
};
use proto::{Cut, RequestId, Secret, ShardId, v1};
use std::time::Duration;

pub(super) fn trigger(request: &RequestId, spec: &RunSpec, secret: Option<&Secret>) -> v1::TriggerRequest {
    v1::TriggerRequest {
        request_id: request.to_string(),
        run: Some(run_spec(spec)),
        secret: secret.map(Into::into),
        ..v1::TriggerRequest::default()
    }
}

fn run_spec(spec: &RunSpec) -> v1::RunSpec {
    v1::RunSpec {
        name: spec.name.clone(),
        user: spec.user.clone(),
        tags: spec.tags.clone(),
        priority: u32::from(spec.priority),
        steps: spec.steps.iter().map(step_spec).collect(),
        parent: spec.parent.map(|parent| parent.to_string()).unwrap_or_default(),
    }
}

fn step_spec(step: &StepSpec) -> v1::StepSpec {
    let variable = |(name, value): &(String, String)| v1::EnvironmentVariable {
        name: name.clone(),
        value: value.clone(),
    };
    v1::StepSpec {
        name: step.name.clone(),
        input: step.input.map(Into::into),
        command: step.command.clone(),
        extra_args: step.extra_args.clone(),
        requirements: (&step.first.requirements).into(),
        environment: step.environment.iter().map(variable).collect(),
        outputs: step.outputs.iter().map(ToString::to_string).collect(),
        timeouts: Some(v1::Timeouts {
            hard: duration(step.hard_timeout),
            io: duration(step.io_timeout),
            grace: duration(step.grace),
        }),
        expiration: duration(step.first.expiration),
        wait_for_capacity: step.first.wait_for_capacity,
        fallbacks: step.fallbacks.iter().map(slice).collect(),
        fan_out: Some(fan_out(&step.fan_out)),
        max_attempts: step.max_attempts.unwrap_or(0),
        named_caches: step.named_caches.iter().map(Into::into).collect(),
        environment_prefixes: step.environment_prefixes.iter().map(Into::into).collect(),
        idempotent: step.idempotent,
        after: step.after.iter().map(after).collect(),
        includes: step.includes.iter().map(output_of).collect(),
    }
}

fn after(after: &After) -> v1::After {
    let condition = match after.demand {
        Demand::Succeeded => v1::after::Condition::Succeeded,
        Demand::Ended => v1::after::Condition::Ended,
    };
    v1::After { step: after.step, condition: condition.into() }
}

fn output_of(output: &OutputOf) -> v1::OutputOf {
    v1::OutputOf { step: output.step, into: output.into.to_string() }
}

fn fan_out(fan_out: &FanOut) -> v1::FanOut {
    v1::FanOut {
        policy: Some(match fan_out {
            FanOut::Shards(count) => v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: *count }),
            FanOut::Tests(policy) => v1::fan_out::Policy::Tests(tests_policy(policy)),
            FanOut::Items(items) => v1::fan_out::Policy::Items(v1::fan_out::Items {
                items: items.items.clone(),
                cut: Some(match items.cut {
                    Cut::PerShard(most) => v1::fan_out::items::Cut::PerShard(most.get()),
                    Cut::Shards(shards) => v1::fan_out::items::Cut::Shards(shards.get()),
                }),
                count: 0,
            }),
            FanOut::EachBot { seen_within } => v1::fan_out::Policy::EachBot(v1::fan_out::EachBot {
                seen_within: duration(*seen_within),
                bot_ids: Vec::new(),
            }),
        }),
    }
}

fn tests_policy(policy: &TestsPolicy) -> v1::TestsPolicy {
    v1::TestsPolicy {
        driver: match policy.driver {
            Driver::Gtest => v1::TestDriver::Gtest,
            Driver::Libtest => v1::TestDriver::Libtest,
            Driver::Pytest => v1::TestDriver::Pytest,
            Driver::Ctest => v1::TestDriver::Ctest,
            Driver::Bazel => v1::TestDriver::Bazel,
            Driver::Opaque => v1::TestDriver::Opaque,
        }
        .into(),
        partitions: policy.partitions,
        max_workers: policy.max_workers.unwrap_or(0),
        target_time: duration(policy.target_time),
        retries: policy.retries,
        fail_fast: policy.fail_fast,
        suite: policy.suite.clone(),
        only: policy.only.clone(),
        test_timeout: duration(policy.test_timeout),
        decided_partitions: 0,
    }
}

pub(super) fn quarantine(quarantine: &Quarantine) -> v1::TestQuarantine {
    v1::TestQuarantine {
        suite: quarantine.suite.clone(),
        test: quarantine.test.clone(),
        owner: quarantine.owner.clone(),
        reason: quarantine.reason.clone(),
        expires: Some(quarantine.expires.into()),
    }
}

fn slice(slice: &Slice) -> v1::Slice {
    v1::Slice {
        requirements: (&slice.requirements).into(),
        expiration: duration(slice.expiration),
        wait_for_capacity: slice.wait_for_capacity,
    }
}

/// A duration beyond the wire's range (half the age of the universe) is as good as the default.
fn duration<T: TryFrom<Duration>>(duration: Option<Duration>) -> Option<T> {
    duration.and_then(|duration| duration.try_into().ok())
}

pub(super) fn list(filter: &RunFilter, page_size: u32, page_token: &str) -> v1::ListRequest {
    v1::ListRequest {
        page_size,
        page_token: page_token.to_owned(),
        states: filter.states.iter().map(|&state| run_state(state).into()).collect(),
        user: filter.user.clone(),
        tags: filter.tags.clone(),
        name: filter.name.clone(),
        created_after: filter.created_after.map(Into::into),
        created_before: filter.created_before.map(Into::into),
        parent: filter.parent.map(|parent| parent.to_string()).unwrap_or_default(),
    }
}

pub(super) fn list_bots(filter: &BotFilter, page_size: u32, page_token: &str) -> v1::ListBotsRequest {
    let state = |state: &BotState| {
        match state {
            BotState::Alive => v1::BotState::Alive,
            BotState::Idle => v1::BotState::Idle,
            BotState::Busy => v1::BotState::Busy,
            BotState::Draining => v1::BotState::Draining,
            BotState::Quarantined => v1::BotState::Quarantined,
            BotState::Maintenance => v1::BotState::Maintenance,
            BotState::Dead => v1::BotState::Dead,
        }
        .into()
    };
    v1::ListBotsRequest {
        requirements: (&filter.requirements).into(),
        page_size,
        page_token: page_token.to_owned(),
        states: filter.states.iter().map(state).collect(),
    }
}

pub(super) fn bot_order(order: BotOrder) -> v1::BotOrder {
    match order {
        BotOrder::Work => v1::BotOrder::Work,
        BotOrder::Drain => v1::BotOrder::Drain,
        BotOrder::Quarantine => v1::BotOrder::Quarantine,
        BotOrder::Terminate => v1::BotOrder::Terminate,
    }
}

fn run_state(state: RunState) -> v1::RunState {
    match state {
        RunState::Pending => v1::RunState::Pending,
        RunState::Running => v1::RunState::Running,
        RunState::Succeeded => v1::RunState::Succeeded,
        RunState::Failed => v1::RunState::Failed,
        RunState::Canceled => v1::RunState::Canceled,
        RunState::Incomplete => v1::RunState::Incomplete,
    }
}

pub(super) fn read_output(shard: ShardId, from: OutputStart) -> v1::ReadOutputRequest {
    v1::ReadOutputRequest {
        shard_id: shard.to_string(),
        attempt: from.attempt.unwrap_or(0),
        offset: from.offset,
        follow: from.until == OutputEnd::Attempt,
    }
}
