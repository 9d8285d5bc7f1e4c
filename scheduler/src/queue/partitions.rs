//! Into how many parts a command is cut that divides its tests itself, where nobody has said it: decided once, when the run
//! is triggered, and kept with the run, so that each bot is told the same.

use super::{
    apply::Queue,
    policy::{FanOut, TestsPolicy},
    spec::{RunSpec, StepSpec},
    suites::suite_key,
};
use crate::sharding::partitions;
use proto::Timestamp;
use std::sync::Arc;

/// Places on bots, when it is not known yet who is there.
const GUESS: u32 = 21;

impl RunSpec {
    /// With so many parts for the steps that have to be given some.
    pub(super) fn with_parts(self: &Arc<Self>, parts: impl Fn(&StepSpec, &TestsPolicy) -> u32) -> Arc<Self> {
        let mut spec = Arc::clone(self);
        for (number, step) in self.steps.iter().enumerate() {
            let FanOut::Tests(policy) = &step.fan_out else { continue };
            if policy.driver.lists() || policy.partitions > 0 {
                continue;
            }
            let decided = TestsPolicy { decided: parts(step, policy), ..TestsPolicy::clone(policy) };
            let fan_out = FanOut::Tests(Arc::new(decided));
            let steps = &mut Arc::make_mut(&mut spec).steps;
            steps[number] = Arc::new(StepSpec { fan_out, ..StepSpec::clone(step) });
        }
        spec
    }
}

impl Queue {
    /// The run with what is decided for its steps by the bots that there are now, and by what is known of their parts.
    pub(super) fn with_decided_parts(&self, spec: &Arc<RunSpec>, now: Timestamp) -> Arc<RunSpec> {
        spec.with_parts(|step, policy| {
            let slots = self.slots_for(step);
            let is_known = slots > 0 && now >= self.presence.no_roll_call_before;
            let slots = if is_known { slots } else { slots.max(GUESS) };
            let workers = policy.max_workers.map_or(slots, |most| slots.min(most.get()));
            let known = suite_key(step).map(|key| self.state.books.history.parts(&key)).unwrap_or_default();
            partitions(workers, &known, policy.target_time, self.overhead(policy.driver, step))
        })
    }
}
