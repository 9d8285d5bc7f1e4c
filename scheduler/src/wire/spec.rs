//! Specifications of runs: parsed when they come in, with every default filled in.

use super::{
    earlier::{self, Earlier},
    fan_out,
    field::{FieldError, InField, duration, text, to_wire},
    items,
};
use crate::queue::{FanOut, RunSpec, Slice, StepSpec, Timeouts};
use proto::{EnvironmentPrefix, NamedCache, RelPath, Requirements, ShardId, limits, v1};
use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

/// What a step gets that does not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) expiration: Duration,
    pub(crate) hard: Duration,
    pub(crate) grace: Duration,
    pub(crate) max_attempts: NonZeroU32,
}

const MOST_TAGS: usize = 256;
/// Eight slices in all, as in the original Swarming.
const MOST_FALLBACKS: usize = 7;
const LONGEST_NAME: usize = 256;
const LONGEST_TAG: usize = 1024;

/// More are a mistake: each has cost a bot.
pub(crate) const MOST_ATTEMPTS: u32 = 100;

/// A step goes to bots in one message beside others, and clients accept 4 MiB by default.
const LARGEST_STEP: usize = 512 * 1024;

/// Refuses what only the journal may have: steps that are too large to be handed to bots, which they may be there by
/// their defaults, and the bots of a step, which the scheduler finds. Apart from [`parse_run`], which reads both.
pub(crate) fn check_request(wire: &v1::RunSpec) -> Result<(), FieldError> {
    let mut all_items = 0usize;
    for (number, step) in wire.steps.iter().enumerate() {
        if let Some(v1::FanOut { policy: Some(v1::fan_out::Policy::EachBot(each)) }) = &step.fan_out
            && !each.bot_ids.is_empty()
        {
            let field = format!("steps[{number}].fan_out.each_bot.bot_ids");
            return Err(FieldError::new(&field, "is filled in by the scheduler: leave it out"));
        }
        let (items, bytes) = items::sizes(step);
        all_items = all_items.saturating_add(items);
        if bytes > LARGEST_STEP {
            let problem =
                format!("takes more than {LARGEST_STEP} bytes: put long lists into a file of the input");
            return Err(FieldError::new(&format!("steps[{number}]"), problem));
        }
    }
    if all_items > limits::MAX_ITEMS_BYTES {
        let most = limits::MAX_ITEMS_BYTES;
        let problem =
            format!("have items of more than {most} bytes in all: put them into a file of the input");
        return Err(FieldError::new("steps", problem));
    }
    Ok(())
}

/// Parses a run, without its secret. The journal is read by it, too: what was once accepted has to stay so.
pub(crate) fn parse_run(wire: &v1::RunSpec, defaults: &Defaults) -> Result<RunSpec, FieldError> {
    let priority = u8::try_from(wire.priority)
        .map_err(|_| FieldError::new("priority", "must be 0 (soonest) to 255 (latest)"))?;
    if wire.tags.len() > MOST_TAGS {
        return Err(FieldError::new("tags", format!("are more than {MOST_TAGS}")));
    }
    if wire.steps.is_empty() {
        return Err(FieldError::new("steps", "are missing: a run has at least one"));
    }
    if wire.steps.len() > limits::MAX_STEPS_PER_RUN {
        return Err(FieldError::new("steps", format!("are more than {}", limits::MAX_STEPS_PER_RUN)));
    }
    let mut steps = Vec::with_capacity(wire.steps.len());
    for (number, step) in wire.steps.iter().enumerate() {
        let parsed = parse_step(step, &steps, defaults);
        steps.push(Arc::new(parsed.map_err(|error| error.within(&format!("steps[{number}]")))?));
    }
    let spec = RunSpec {
        name: text("name", &wire.name, LONGEST_NAME)?,
        user: text("user", &wire.user, LONGEST_NAME)?,
        tags: wire.tags.iter().map(|tag| parse_tag(tag)).collect::<Result<_, _>>()?,
        priority,
        steps,
        parent: parse_parent(&wire.parent)?,
        secret: None,
    };
    let most = limits::MAX_SHARDS_PER_RUN;
    if spec.shards() > u64::from(most) {
        return Err(FieldError::new(
            "steps",
            format!("make {} shards, and {most} is the most", spec.shards()),
        ));
    }
    Ok(spec)
}

/// The shard that is meant, if any is.
pub(crate) fn parse_parent(parent: &str) -> Result<Option<ShardId>, FieldError> {
    if parent.is_empty() { Ok(None) } else { parent.parse().map(Some).in_field("parent") }
}

fn parse_tag(tag: &str) -> Result<String, FieldError> {
    if !tag.contains(':') {
        return Err(FieldError::new("tags", format!("`{tag}` is not a tag: write key:value")));
    }
    text("tags", tag, LONGEST_TAG)
}

fn parse_step(
    wire: &v1::StepSpec,
    earlier: &[Arc<StepSpec>],
    defaults: &Defaults,
) -> Result<StepSpec, FieldError> {
    let Earlier { after, includes } = earlier::parse_earlier(wire, earlier)?;
    let outputs = wire.outputs.iter().map(|path| RelPath::new(path)).collect::<Result<_, _>>();
    Ok(StepSpec {
        name: text("name", &wire.name, LONGEST_NAME)?,
        input: earlier::parse_input(wire)?,
        command: arguments("command", &wire.command)?,
        extra_args: arguments("extra_args", &wire.extra_args)?,
        first: parse_slice(&wire.requirements, wire.expiration.as_ref(), wire.wait_for_capacity, defaults)?,
        fallbacks: parse_fallbacks(wire, defaults)?,
        environment: wire.environment.iter().map(parse_variable).collect::<Result<_, _>>()?,
        environment_prefixes: EnvironmentPrefix::from_wire(&wire.environment_prefixes)
            .in_field("environment_prefixes")?,
        outputs: outputs.in_field("outputs")?,
        named_caches: NamedCache::from_wire(&wire.named_caches).in_field("named_caches")?,
        timeouts: parse_timeouts(wire.timeouts.as_ref(), defaults)
            .map_err(|error| error.within("timeouts"))?,
        fan_out: fan_out::parse_fan_out(wire)?,
        max_attempts: parse_attempts(wire.max_attempts, defaults)?,
        idempotent: wire.idempotent,
        after,
        includes,
    })
}

fn parse_fallbacks(wire: &v1::StepSpec, defaults: &Defaults) -> Result<Vec<Slice>, FieldError> {
    if wire.fallbacks.len() > MOST_FALLBACKS {
        return Err(FieldError::new("fallbacks", format!("are more than {MOST_FALLBACKS}")));
    }
    let mut asked =
        BTreeSet::from([Requirements::try_from(&wire.requirements[..]).in_field("requirements")?]);
    let parse = |(number, slice): (usize, &v1::Slice)| {
        let (expiration, wait) = (slice.expiration.as_ref(), slice.wait_for_capacity);
        let parsed = parse_slice(&slice.requirements, expiration, wait, defaults);
        let parsed = parsed.map_err(|error| error.within(&format!("fallbacks[{number}]")))?;
        if asked.insert(parsed.requirements.clone()) {
            return Ok(parsed);
        }
        let problem = "asks for the same as an earlier slice: bots that did not take that will not take this";
        Err(FieldError::new(&format!("fallbacks[{number}]"), problem))
    };
    wire.fallbacks.iter().enumerate().map(parse).collect()
}

fn parse_slice(
    requirements: &[v1::Requirement],
    expiration: Option<&prost_types::Duration>,
    wait_for_capacity: bool,
    defaults: &Defaults,
) -> Result<Slice, FieldError> {
    Ok(Slice {
        requirements: Requirements::try_from(requirements).in_field("requirements")?,
        expiration: duration("expiration", expiration)?.unwrap_or(defaults.expiration),
        wait_for_capacity,
    })
}

fn arguments(field: &str, given: &[String]) -> Result<Vec<String>, FieldError> {
    if given.iter().any(|argument| argument.contains('\0')) {
        return Err(FieldError::new(field, "contains a NUL, which no command can be given"));
    }
    Ok(given.to_vec())
}

fn parse_variable(variable: &v1::EnvironmentVariable) -> Result<(String, String), FieldError> {
    let (name, value) = (&variable.name, &variable.value);
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        let problem = format!("`{}` is not a variable: no `=` and no NUL", name.escape_debug());
        return Err(FieldError::new("environment", problem));
    }
    Ok((name.clone(), value.clone()))
}

fn parse_timeouts(wire: Option<&v1::Timeouts>, defaults: &Defaults) -> Result<Timeouts, FieldError> {
    let given = |get: fn(&v1::Timeouts) -> Option<&prost_types::Duration>| wire.and_then(get);
    let grace = given(|timeouts| timeouts.grace.as_ref());
    Ok(Timeouts {
        hard: duration("hard", given(|timeouts| timeouts.hard.as_ref()))?.unwrap_or(defaults.hard),
        io: duration("io", given(|timeouts| timeouts.io.as_ref()))?,
        // Absent and zero differ here: zero kills at once.
        grace: match grace {
            Some(_) => duration("grace", grace)?.unwrap_or_default(),
            None => defaults.grace,
        },
    })
}

fn parse_attempts(given: u32, defaults: &Defaults) -> Result<NonZeroU32, FieldError> {
    if given > MOST_ATTEMPTS {
        return Err(FieldError::new("max_attempts", format!("must be at most {MOST_ATTEMPTS}")));
    }
    Ok(NonZeroU32::new(given).unwrap_or(defaults.max_attempts))
}

/// All of it, as the journal keeps it.
pub(crate) fn run_to_wire(spec: &RunSpec) -> v1::RunSpec {
    to_wire_with(spec, fan_out::fan_out_to_wire)
}

/// As answers have it: without items.
pub(crate) fn run_outline(spec: &RunSpec) -> v1::RunSpec {
    to_wire_with(spec, fan_out::fan_out_outline)
}

fn to_wire_with(spec: &RunSpec, fan_out: fn(&FanOut) -> v1::FanOut) -> v1::RunSpec {
    v1::RunSpec {
        name: spec.name.clone(),
        user: spec.user.clone(),
        tags: spec.tags.clone(),
        priority: u32::from(spec.priority),
        steps: spec.steps.iter().map(|step| step_to_wire(step, fan_out(&step.fan_out))).collect(),
        parent: spec.parent.map(|parent| parent.to_string()).unwrap_or_default(),
    }
}

fn step_to_wire(step: &StepSpec, fan_out: v1::FanOut) -> v1::StepSpec {
    v1::StepSpec {
        name: step.name.clone(),
        input: step.input.map(Into::into),
        command: step.command.clone(),
        extra_args: step.extra_args.clone(),
        requirements: (&step.first.requirements).into(),
        environment: step.environment.iter().map(|(name, value)| variable_to_wire(name, value)).collect(),
        outputs: step.outputs.iter().map(|path| path.as_str().to_owned()).collect(),
        timeouts: Some(timeouts_to_wire(step.timeouts)),
        expiration: Some(to_wire(step.first.expiration)),
        wait_for_capacity: step.first.wait_for_capacity,
        fallbacks: step.fallbacks.iter().map(slice_to_wire).collect(),
        fan_out: Some(fan_out),
        max_attempts: step.max_attempts.get(),
        named_caches: step.named_caches.iter().map(Into::into).collect(),
        environment_prefixes: step.environment_prefixes.iter().map(Into::into).collect(),
        idempotent: step.idempotent,
        after: step.after.iter().map(earlier::after_to_wire).collect(),
        includes: step.includes.iter().map(earlier::output_of_to_wire).collect(),
    }
}

fn slice_to_wire(slice: &Slice) -> v1::Slice {
    v1::Slice {
        requirements: (&slice.requirements).into(),
        expiration: Some(to_wire(slice.expiration)),
        wait_for_capacity: slice.wait_for_capacity,
    }
}

/// One variable.
pub(crate) fn variable_to_wire(name: &str, value: &str) -> v1::EnvironmentVariable {
    v1::EnvironmentVariable { name: name.to_owned(), value: value.to_owned() }
}

/// All three.
pub(crate) fn timeouts_to_wire(timeouts: Timeouts) -> v1::Timeouts {
    v1::Timeouts {
        hard: Some(to_wire(timeouts.hard)),
        io: timeouts.io.map(to_wire),
        grace: Some(to_wire(timeouts.grace)),
    }
}

#[cfg(test)]
mod tests;
