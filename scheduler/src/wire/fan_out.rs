//! How steps are cut into shards.

use super::{
    field::{FieldError, InField, duration, text, to_wire},
    items,
};
use crate::queue::{BOT_KEY, EachBot, FanOut, LONGEST_SILENCE, TestDriver, TestsPolicy};
use proto::{BotId, Requirement, Requirements, limits, v1};
use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc};
use v1::fan_out::Policy;

const LONGEST_SUITE: usize = 256;

pub(super) fn parse_fan_out(step: &v1::StepSpec) -> Result<FanOut, FieldError> {
    match step.fan_out.as_ref().and_then(|fan_out| fan_out.policy.as_ref()) {
        None => Err(FieldError::new("fan_out", "is missing: ask for shards, 1 is enough")),
        Some(Policy::Shards(shards)) => {
            let none = || FieldError::new("fan_out.shards.count", "must be at least 1");
            NonZeroU32::new(shards.count).map(FanOut::Shards).ok_or_else(none)
        }
        Some(Policy::Tests(tests)) => {
            let policy = parse_policy(tests, step).map_err(|error| error.within("fan_out.tests"))?;
            Ok(FanOut::Tests(Arc::new(policy)))
        }
        Some(Policy::Items(items)) => {
            let items = items::parse_items(items, step).map_err(|error| error.within("fan_out.items"))?;
            Ok(FanOut::Items(items))
        }
        Some(Policy::EachBot(each)) => parse_each(each, step).map(FanOut::EachBot),
    }
}

fn parse_each(wire: &v1::fan_out::EachBot, step: &v1::StepSpec) -> Result<EachBot, FieldError> {
    const SEEN_WITHIN: &str = "fan_out.each_bot.seen_within";
    let seen_within = duration(SEEN_WITHIN, wire.seen_within.as_ref())?;
    if seen_within.is_some_and(|silence| silence > LONGEST_SILENCE) {
        return Err(FieldError::new(SEEN_WITHIN, "is longer than 7 days: bots are forgotten by then"));
    }
    if !step.fallbacks.is_empty() {
        return Err(FieldError::new(
            "fallbacks",
            "cannot be had of a step with a shard for each bot: no other will do",
        ));
    }
    if step.idempotent {
        return Err(FieldError::new(
            "idempotent",
            "cannot be had of a step with a shard for each bot: bots are not alike",
        ));
    }
    let mut requirements = Requirements::try_from(&step.requirements[..]).in_field("requirements")?;
    requirements
        .insert(Requirement::new(BOT_KEY, ["x"]).in_field("requirements")?)
        .in_field("requirements")?;
    let bots = wire.bot_ids.iter().map(|bot| bot.parse::<BotId>()).collect::<Result<Vec<_>, _>>();
    Ok(EachBot { seen_within, bots: bots.in_field("fan_out.each_bot.bot_ids")?.into() })
}

fn parse_policy(wire: &v1::TestsPolicy, step: &v1::StepSpec) -> Result<TestsPolicy, FieldError> {
    let driver = parse_driver(wire.driver)?;
    check_partitions(driver, wire.partitions)?;
    if wire.retries > limits::MAX_TEST_RETRIES {
        return Err(FieldError::new("retries", format!("must be at most {}", limits::MAX_TEST_RETRIES)));
    }
    if wire.max_workers > limits::MAX_SHARDS_PER_RUN {
        return Err(FieldError::new(
            "max_workers",
            format!("must be at most {}", limits::MAX_SHARDS_PER_RUN),
        ));
    }
    if step.idempotent {
        let problem = "cannot be had of an idempotent step: its tests are shared out anew each time";
        return Err(FieldError::new("driver", problem));
    }
    let suite = if wire.suite.is_empty() { &step.name } else { &wire.suite };
    if wire.only.iter().any(String::is_empty) {
        return Err(FieldError::new("only", "has an empty name: give the frameworks' full names"));
    }
    let only = wire.only.iter().map(|name| text("only", name, limits::MAX_TEST_NAME));
    Ok(TestsPolicy {
        driver,
        partitions: wire.partitions,
        decided: if wire.partitions == 0 { wire.decided_partitions.min(limits::MAX_PARTITIONS) } else { 0 },
        max_workers: NonZeroU32::new(wire.max_workers),
        target_time: duration("target_time", wire.target_time.as_ref())?,
        retries: wire.retries,
        fail_fast: wire.fail_fast,
        suite: text("suite", suite, LONGEST_SUITE)?,
        only: only.collect::<Result<BTreeSet<String>, _>>()?,
        test_timeout: duration("test_timeout", wire.test_timeout.as_ref())?,
    })
}

fn check_partitions(driver: TestDriver, partitions: u32) -> Result<(), FieldError> {
    let most = limits::MAX_PARTITIONS;
    match (driver.lists(), partitions) {
        (true, 0) => Ok(()),
        (true, _) => Err(FieldError::new("partitions", "must be 0: this driver lists tests one by one")),
        (false, count) if count > most => {
            Err(FieldError::new("partitions", format!("must be at most {most}")))
        }
        (false, _) => Ok(()),
    }
}

fn parse_driver(driver: i32) -> Result<TestDriver, FieldError> {
    match v1::TestDriver::try_from(driver) {
        Ok(v1::TestDriver::Gtest) => Ok(TestDriver::Gtest),
        Ok(v1::TestDriver::Libtest) => Ok(TestDriver::Libtest),
        Ok(v1::TestDriver::Pytest) => Ok(TestDriver::Pytest),
        Ok(v1::TestDriver::Ctest) => Ok(TestDriver::Ctest),
        Ok(v1::TestDriver::Bazel) => Ok(TestDriver::Bazel),
        Ok(v1::TestDriver::Opaque) => Ok(TestDriver::Opaque),
        Ok(v1::TestDriver::Unspecified) => Err(FieldError::new("driver", "is missing")),
        Err(_) => {
            Err(FieldError::new("driver", format!("{driver} is none that this scheduler knows: upgrade it")))
        }
    }
}

/// The driver's number.
pub(super) fn driver_to_wire(driver: TestDriver) -> v1::TestDriver {
    match driver {
        TestDriver::Gtest => v1::TestDriver::Gtest,
        TestDriver::Libtest => v1::TestDriver::Libtest,
        TestDriver::Pytest => v1::TestDriver::Pytest,
        TestDriver::Ctest => v1::TestDriver::Ctest,
        TestDriver::Bazel => v1::TestDriver::Bazel,
        TestDriver::Opaque => v1::TestDriver::Opaque,
    }
}

/// All of it, as the journal keeps it.
pub(super) fn fan_out_to_wire(fan_out: &FanOut) -> v1::FanOut {
    let policy = match fan_out {
        FanOut::Items(items) => Policy::Items(items::items_to_wire(items)),
        FanOut::EachBot(each) => Policy::EachBot(v1::fan_out::EachBot {
            seen_within: each.seen_within.map(to_wire),
            bot_ids: each.bots.iter().map(ToString::to_string).collect(),
        }),
        FanOut::Shards(count) => Policy::Shards(v1::fan_out::Shards { count: count.get() }),
        FanOut::Tests(policy) => Policy::Tests(v1::TestsPolicy {
            driver: driver_to_wire(policy.driver).into(),
            partitions: policy.partitions,
            max_workers: policy.max_workers.map_or(0, NonZeroU32::get),
            target_time: policy.target_time.map(to_wire),
            retries: policy.retries,
            fail_fast: policy.fail_fast,
            suite: policy.suite.clone(),
            only: policy.only.iter().cloned().collect(),
            test_timeout: policy.test_timeout.map(to_wire),
            decided_partitions: policy.decided,
        }),
    };
    v1::FanOut { policy: Some(policy) }
}

/// As answers have it: without long lists that whoever asks has, or is told with the shards.
pub(super) fn fan_out_outline(fan_out: &FanOut) -> v1::FanOut {
    let policy = match fan_out {
        FanOut::Items(items) => Policy::Items(items::outline(items)),
        FanOut::EachBot(each) => {
            let seen_within = each.seen_within.map(to_wire);
            Policy::EachBot(v1::fan_out::EachBot { seen_within, bot_ids: Vec::new() })
        }
        FanOut::Shards(_) | FanOut::Tests(_) => return fan_out_to_wire(fan_out),
    };
    v1::FanOut { policy: Some(policy) }
}
