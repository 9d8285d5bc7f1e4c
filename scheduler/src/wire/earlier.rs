//! Steps that wait for earlier ones and are given their outputs.

use super::field::{FieldError, InField};
use crate::queue::{After, Demand, FanOut, Included, OutputOf, StepSpec};
use proto::{Digest, IntoDir, limits, v1};
use std::{collections::BTreeMap, sync::Arc};
use v1::after::Condition;

/// What a step has to do with earlier ones.
pub(super) struct Earlier {
    pub(super) after: Vec<After>,
    pub(super) includes: Vec<OutputOf>,
}

/// Parses what `step` has to do with those before it.
pub(super) fn parse_earlier(step: &v1::StepSpec, earlier: &[Arc<StepSpec>]) -> Result<Earlier, FieldError> {
    let mut after = parse_after(&step.after, earlier)?;
    let includes = parse_includes(&step.includes, earlier)?;
    for include in &includes {
        after.entry(include.step).or_insert(Demand::Succeeded);
    }
    // The journal has them together.
    if after.len() > limits::MAX_EARLIER_STEPS {
        let problem = format!("and `includes` name more than {} steps together", limits::MAX_EARLIER_STEPS);
        return Err(FieldError::new("after", problem));
    }
    if step.idempotent && !after.is_empty() {
        let problem = "cannot be had of a step with `after` or `includes`: what it would be found by is known when \
                       earlier steps have ended";
        return Err(FieldError::new("idempotent", problem));
    }
    let after = after.into_iter().map(|(step, demand)| After { step, demand }).collect();
    Ok(Earlier { after, includes })
}

/// The input, which a step need not have that is given others.
pub(super) fn parse_input(step: &v1::StepSpec) -> Result<Option<Digest>, FieldError> {
    match &step.input {
        Some(input) => Digest::try_from(input).map(Some).in_field("input"),
        None if step.includes.is_empty() || step.command.is_empty() => {
            let problem = "is missing: only a step with `includes` and a `command` of its own needs none";
            Err(FieldError::new("input", problem))
        }
        None => Ok(None),
    }
}

fn bounded<T>(field: &str, given: &[T]) -> Result<(), FieldError> {
    let most = limits::MAX_EARLIER_STEPS;
    if given.len() > most {
        return Err(FieldError::new(field, format!("are more than {most}")));
    }
    Ok(())
}

/// The earlier step that is meant.
fn find(step: u32, earlier: &[Arc<StepSpec>]) -> Result<&StepSpec, FieldError> {
    let found = earlier.get(step as usize).map(|step| &**step);
    found.ok_or_else(|| {
        let problem =
            format!("{step} is no earlier step: this is step {}, and the first is 0", earlier.len());
        FieldError::new("step", problem)
    })
}

fn parse_after(wire: &[v1::After], earlier: &[Arc<StepSpec>]) -> Result<BTreeMap<u32, Demand>, FieldError> {
    bounded("after", wire)?;
    let mut parsed = BTreeMap::new();
    for (number, after) in wire.iter().enumerate() {
        let within = |error: FieldError| error.within(&format!("after[{number}]"));
        find(after.step, earlier).map_err(within)?;
        let demand = match Condition::try_from(after.condition) {
            Ok(Condition::Unspecified | Condition::Succeeded) => Demand::Succeeded,
            Ok(Condition::Ended) => Demand::Ended,
            Err(_) => {
                let problem = format!("{} is none that this scheduler knows: upgrade it", after.condition);
                return Err(within(FieldError::new("condition", problem)));
            }
        };
        if parsed.insert(after.step, demand).is_some() {
            let problem = format!("{} is named twice: give one condition", after.step);
            return Err(within(FieldError::new("step", problem)));
        }
    }
    Ok(parsed)
}

fn parse_includes(wire: &[v1::OutputOf], earlier: &[Arc<StepSpec>]) -> Result<Vec<OutputOf>, FieldError> {
    bounded("includes", wire)?;
    let mut shards = 0u32;
    let mut parsed = Vec::with_capacity(wire.len());
    for (number, include) in wire.iter().enumerate() {
        let within = |error: FieldError| error.within(&format!("includes[{number}]"));
        let fan_out = &find(include.step, earlier).map_err(within)?.fan_out;
        let most = fan_out.most_shards();
        let into = IntoDir::new(&include.into).in_field("into").map_err(within)?;
        if most > 1 && !into.has_index() {
            let problem = format!(
                "`{into}` is the same for all shards of step {}: put {{index}} into it",
                include.step
            );
            return Err(within(FieldError::new("into", problem)));
        }
        // How many bots there are is known when the run is triggered, and looked at then.
        let is_unknown = matches!(fan_out, FanOut::EachBot(each) if each.bots.is_empty());
        shards = shards.saturating_add(if is_unknown { 0 } else { most });
        parsed.push(OutputOf { step: include.step, into });
    }
    let most = limits::MAX_INCLUDED_SHARDS;
    if shards > most {
        let problem = format!(
            "are of up to {shards} shards, and {most} is the most: give steps that share out tests `max_workers`"
        );
        return Err(FieldError::new("includes", problem));
    }
    Ok(parsed)
}

/// As the wire has it.
pub(super) fn after_to_wire(after: &After) -> v1::After {
    let condition = match after.demand {
        Demand::Succeeded => Condition::Succeeded,
        Demand::Ended => Condition::Ended,
    };
    v1::After { step: after.step, condition: condition.into() }
}

/// As the wire has it.
pub(super) fn output_of_to_wire(output: &OutputOf) -> v1::OutputOf {
    v1::OutputOf { step: output.step, into: output.into.to_string() }
}

/// As a bot is told.
pub(super) fn included_to_wire(included: &Included) -> v1::IncludedOutputs {
    v1::IncludedOutputs { outputs: included.outputs.map(Into::into), into: included.into.clone() }
}
