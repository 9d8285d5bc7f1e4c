//! What is refused, and how it is said.

use super::*;
use crate::queue::{After, Demand};
use prost::Message as _;
use proto::DigestFunction;

const DEFAULTS: Defaults = Defaults {
    expiration: Duration::from_secs(10),
    hard: Duration::from_secs(20),
    grace: Duration::from_secs(30),
    max_attempts: NonZeroU32::new(3).unwrap(),
};

fn run() -> v1::RunSpec {
    let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: 2 });
    let step = v1::StepSpec {
        input: Some(DigestFunction::Blake3.digest(b"x").into()),
        fan_out: Some(v1::FanOut { policy: Some(policy) }),
        ..Default::default()
    };
    v1::RunSpec { steps: vec![step], ..Default::default() }
}

#[test]
fn what_is_left_open_is_filled_in() {
    let parsed = parse_run(&run(), &DEFAULTS).unwrap();
    let step = &parsed.steps[0];
    assert_eq!(step.timeouts, Timeouts { hard: DEFAULTS.hard, io: None, grace: DEFAULTS.grace });
    assert_eq!((step.first.expiration, step.max_attempts.get()), (DEFAULTS.expiration, 3));
    assert_eq!(parsed.shards(), 2);
    assert_eq!(parse_run(&run_to_wire(&parsed), &DEFAULTS).unwrap(), parsed, "the wire form round-trips");
}

#[test]
fn named_caches_round_trip_and_go_to_the_bot() {
    let mut wire = run();
    let cache = v1::NamedCache { name: "deps".into(), path: "a/b".into() };
    wire.steps[0].named_caches.push(cache.clone());
    let parsed = parse_run(&wire, &DEFAULTS).unwrap();
    assert_eq!(run_to_wire(&parsed).steps[0].named_caches, std::slice::from_ref(&cache));
    wire.steps[0].named_caches.push(cache);
    let error = parse_run(&wire, &DEFAULTS).unwrap_err().to_string();
    assert_eq!(error, "steps[0].named_caches: the cache deps is named twice");
}

#[test]
fn a_grace_of_zero_is_not_the_default() {
    let mut wire = run();
    wire.steps[0].timeouts =
        Some(v1::Timeouts { grace: Some(to_wire(Duration::ZERO)), ..Default::default() });
    assert_eq!(parse_run(&wire, &DEFAULTS).unwrap().steps[0].timeouts.grace, Duration::ZERO);
}

#[test]
fn errors_name_the_field_and_the_remedy() {
    type Change = fn(&mut v1::RunSpec);
    type StepChange = fn(&mut v1::StepSpec);
    let step = |change: StepChange| move |run: &mut v1::RunSpec| change(&mut run.steps[0]);
    let refused = |change: &dyn Fn(&mut v1::RunSpec)| {
        let mut wire = run();
        change(&mut wire);
        parse_run(&wire, &DEFAULTS).unwrap_err().to_string()
    };
    let of_run: [(Change, &str); 4] = [
        (|run| run.steps.clear(), "steps: are missing"),
        (|run| run.priority = 256, "priority: must be 0"),
        (|run| run.tags.push("x".into()), "tags: `x` is not a tag: write key:value"),
        (|run| run.name = "a\nb".into(), "name: contains control"),
    ];
    for (change, expected) in of_run {
        let error = refused(&change);
        assert!(error.starts_with(expected), "{error}");
    }
    let of_step: [(StepChange, &str); 16] = [
        (|step| step.named_caches.push(v1::NamedCache::default()), "steps[0].named_caches: "),
        (|step| step.input = None, "steps[0].input: is missing: only a step with `includes`"),
        (|step| step.after = vec![v1::After::default()], "steps[0].after[0].step: 0 is no earlier step"),
        (|step| step.includes = vec![v1::OutputOf::default()], "steps[0].includes[0].step: 0 is no earlier"),
        (|step| step.after = vec![v1::After::default(); 65], "steps[0].after: are more than 64"),
        (|step| step.input.as_mut().unwrap().hash.push('0'), "steps[0].input: "),
        (|step| step.outputs.push("../x".into()), "steps[0].outputs: "),
        (|step| step.fan_out = None, "steps[0].fan_out: is missing: ask for shards"),
        (|step| step.max_attempts = 101, "steps[0].max_attempts: must be at most"),
        (|step| step.command.push("a\0".into()), "steps[0].command: contains a NUL"),
        (|step| step.environment.push(variable_to_wire("A=", "")), "steps[0].environment: `A=`"),
        (|step| step.requirements.push(v1::Requirement::default()), "steps[0].requirements: "),
        (|step| step.fallbacks = vec![v1::Slice::default(); 8], "steps[0].fallbacks: are more than 7"),
        (|step| step.fallbacks.push(v1::Slice::default()), "steps[0].fallbacks[0]: asks for the same"),
        (
            |step| {
                let bad = vec![v1::Requirement::default()];
                step.fallbacks.push(v1::Slice { requirements: bad, ..Default::default() });
            },
            "steps[0].fallbacks[0].requirements: ",
        ),
        (
            |step| step.expiration = Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            "steps[0].expiration: must not be negative",
        ),
    ];
    for (change, expected) in of_step {
        let error = refused(&step(change));
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn too_many_shards_and_too_large_steps_are_refused() {
    let mut wire = run();
    let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: limits::MAX_SHARDS_PER_RUN });
    wire.steps[0].fan_out = Some(v1::FanOut { policy: Some(policy) });
    assert!(parse_run(&wire, &DEFAULTS).is_ok());
    wire.steps.push(run().steps.remove(0));
    assert!(parse_run(&wire, &DEFAULTS).unwrap_err().to_string().contains("is the most"));

    let mut wire = run();
    assert!(check_request(&wire).is_ok());
    wire.steps[0].extra_args = vec!["x".repeat(LARGEST_STEP)];
    assert!(check_request(&wire).unwrap_err().to_string().starts_with("steps[0]: takes more than"));
}

/// A step, and a second one after it that is given its outputs.
fn chain() -> v1::RunSpec {
    let mut wire = run();
    let includes = vec![v1::OutputOf { step: 0, into: "parts/{index}".into() }];
    wire.steps.push(v1::StepSpec {
        includes,
        input: None,
        command: vec!["sh".into()],
        ..wire.steps[0].clone()
    });
    wire
}

#[test]
fn a_step_may_wait_for_earlier_ones_and_be_given_their_outputs_alone() {
    let parsed = parse_run(&chain(), &DEFAULTS).unwrap();
    let step = &parsed.steps[1];
    assert_eq!(step.input, None);
    assert_eq!(step.after, [After { step: 0, demand: Demand::Succeeded }], "which is implied");
    assert_eq!(parse_run(&run_to_wire(&parsed), &DEFAULTS).unwrap(), parsed, "the wire form round-trips");
    let mut wire = chain();
    wire.steps[1].after = vec![v1::After { step: 0, condition: v1::after::Condition::Ended.into() }];
    assert_eq!(parse_run(&wire, &DEFAULTS).unwrap().steps[1].after[0].demand, Demand::Ended);
}

#[test]
fn errors_of_later_steps_name_the_step_and_the_remedy() {
    type Change = fn(&mut v1::StepSpec);
    let after = |step| v1::After { step, condition: 0 };
    let refused = |change: &dyn Fn(&mut v1::StepSpec)| {
        let mut wire = chain();
        change(&mut wire.steps[1]);
        parse_run(&wire, &DEFAULTS).unwrap_err().to_string()
    };
    let of_step: [(Change, &str); 6] = [
        (|step| step.command.clear(), "steps[1].input: is missing"),
        (
            |step| step.includes[0].into = "parts".into(),
            "steps[1].includes[0].into: `parts` is the same for all shards of step 0: put {index} into it",
        ),
        (|step| step.includes[0].into = "../{index}".into(), "steps[1].includes[0].into: "),
        (|step| step.includes[0].step = 1, "steps[1].includes[0].step: 1 is no earlier step"),
        (|step| step.idempotent = true, "steps[1].idempotent: cannot be had of a step with `after`"),
        (
            |step| step.after = vec![v1::After { step: 0, condition: 9 }],
            "steps[1].after[0].condition: 9 is none",
        ),
    ];
    for (change, expected) in of_step {
        let error = refused(&change);
        assert!(error.starts_with(expected), "{error}");
    }
    let twice = refused(&|step| step.after = vec![after(0), after(0)]);
    assert_eq!(twice, "steps[1].after[1].step: 0 is named twice: give one condition");
}

#[test]
fn what_the_journal_could_not_be_read_with_is_refused() {
    let mut wire = chain();
    let last = wire.steps.pop().unwrap();
    wire.steps = vec![wire.steps[0].clone(); 2 * limits::MAX_EARLIER_STEPS];
    let (before, behind) = (0..limits::MAX_EARLIER_STEPS as u32, limits::MAX_EARLIER_STEPS as u32);
    let after = before.map(|step| v1::After { step, condition: 0 }).collect();
    let includes = vec![v1::OutputOf { step: behind, into: "parts/{index}".into() }];
    wire.steps.push(v1::StepSpec { after, includes, ..last });
    let error = parse_run(&wire, &DEFAULTS).unwrap_err().to_string();
    assert!(error.ends_with("after: and `includes` name more than 64 steps together"), "{error}");

    let each = v1::fan_out::EachBot { seen_within: None, bot_ids: vec!["b".into()] };
    let fan_out = Some(v1::FanOut { policy: Some(v1::fan_out::Policy::EachBot(each)) });
    let wire = v1::RunSpec { steps: vec![v1::StepSpec { fan_out, ..run().steps.remove(0) }], ..run() };
    assert!(parse_run(&wire, &DEFAULTS).is_ok(), "the journal has them");
    let error = check_request(&wire).unwrap_err().to_string();
    assert_eq!(error, "steps[0].fan_out.each_bot.bot_ids: is filled in by the scheduler: leave it out");
}

#[test]
fn outputs_of_too_many_shards_are_refused() {
    let mut wire = chain();
    let shards =
        |count| v1::FanOut { policy: Some(v1::fan_out::Policy::Shards(v1::fan_out::Shards { count })) };
    wire.steps[0].fan_out = Some(shards(limits::MAX_INCLUDED_SHARDS));
    assert!(parse_run(&wire, &DEFAULTS).is_ok());
    wire.steps[0].fan_out = Some(shards(limits::MAX_INCLUDED_SHARDS + 1));
    let error = parse_run(&wire, &DEFAULTS).unwrap_err().to_string();
    assert!(
        error.starts_with("steps[1].includes: are of up to 1001 shards, and 1000 is the most"),
        "{error}"
    );
}

#[test]
fn items_count_apart_from_the_rest_of_a_step_and_their_sum_is_bounded() {
    let with = |items: Vec<String>| {
        let cut = Some(v1::fan_out::items::Cut::PerShard(10));
        let policy = v1::fan_out::Policy::Items(v1::fan_out::Items { items, cut, count: 0 });
        v1::StepSpec { fan_out: Some(v1::FanOut { policy: Some(policy) }), ..run().steps.remove(0) }
    };
    let many = || (0..100_000).map(|number| format!("tests/module_{number:06}/test_things.py")).collect();
    let wire = v1::RunSpec { steps: vec![with(many())], ..run() };
    check_request(&wire).unwrap();
    let spec = parse_run(&wire, &DEFAULTS).unwrap();
    assert_eq!(spec.shards(), 10_000);
    assert_eq!(parse_run(&run_to_wire(&spec), &DEFAULTS).unwrap(), spec, "nothing is lost in the journal");
    let bytes = run_to_wire(&spec).encoded_len();
    assert!(bytes < limits::MAX_ITEMS_BYTES, "{bytes}");
    let outline = run_outline(&spec);
    assert!(outline.encoded_len() < 1000, "answers have their number only");
    let Some(v1::fan_out::Policy::Items(items)) = outline.steps[0].fan_out.clone().unwrap().policy else {
        panic!()
    };
    assert_eq!((items.items.len(), items.count), (0, 100_000));
    let twice = v1::RunSpec { steps: vec![with(many()), with(many()), with(many())], ..run() };
    assert!(check_request(&twice).unwrap_err().to_string().starts_with("steps: have items of more than"));
}

#[test]
fn a_shard_for_each_bot_goes_with_nothing_that_another_bot_could_do() {
    let each = |seconds| {
        let seen_within = Some(prost_types::Duration { seconds, nanos: 0 });
        let policy = v1::fan_out::Policy::EachBot(v1::fan_out::EachBot { seen_within, bot_ids: vec![] });
        v1::StepSpec { fan_out: Some(v1::FanOut { policy: Some(policy) }), ..run().steps.remove(0) }
    };
    let parse = |step| parse_run(&v1::RunSpec { steps: vec![step], ..run() }, &DEFAULTS);
    let refused = |step| parse(step).unwrap_err().to_string();
    assert_eq!(parse(each(7 * 24 * 3600)).unwrap().shards(), 0, "nobody has been asked for yet");
    assert!(
        refused(each(7 * 24 * 3600 + 1))
            .starts_with("steps[0].fan_out.each_bot.seen_within: is longer than 7 days")
    );
    assert!(
        refused(v1::StepSpec { idempotent: true, ..each(0) })
            .starts_with("steps[0].idempotent: cannot be had")
    );
    let asked = vec![v1::Requirement { key: "os".into(), any_of: vec!["Mac".into()] }];
    let fallbacks = vec![v1::Slice { requirements: asked, ..Default::default() }];
    assert!(refused(v1::StepSpec { fallbacks, ..each(0) }).starts_with("steps[0].fallbacks: cannot be had"));
    let full = (0..64).map(|n| v1::Requirement { key: format!("k{n}"), any_of: vec!["v".into()] }).collect();
    assert!(refused(v1::StepSpec { requirements: full, ..each(0) }).starts_with("steps[0].requirements: "));
}
