//! Users: they trigger runs again and again until they are told so, and sometimes think better of it.

use super::super::super::{testing::*, *};
use proto::{RequestId, RunId};
use runtime::{Entropy as _, SeededEntropy};
use std::sync::Arc;

/// What a user wants.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) request: RequestId,
    pub(super) spec: Arc<RunSpec>,
    /// Once it is known.
    pub(super) run: Option<RunId>,
    pub(super) cancels: Option<CancelMode>,
}

impl Wish {
    /// The next wish of somebody.
    pub(super) fn make(number: usize, most_shards: u32, entropy: &SeededEntropy) -> Self {
        let draw = |below: u64| entropy.next() % below;
        let steps = (0..=draw(2)).map(|number| {
            let shards = 1 + u32::try_from(draw(u64::from(most_shards))).unwrap();
            let asked: &[&str] =
                [&[][..], &["os=Linux"], &["os=Linux|Mac"]][usize::try_from(draw(3)).unwrap()];
            let wanted = draw(4);
            let after = (0..u32::try_from(number).unwrap()).filter(|_| wanted > 1).map(|step| After {
                step,
                demand: if wanted == 2 { Demand::Ended } else { Demand::Succeeded },
            });
            StepSpec { idempotent: wanted == 0, after: after.collect(), ..step(shards, asked) }
        });
        let steps: Vec<StepSpec> = steps.collect();
        let user = format!("user {}", draw(20));
        let spec = RunSpec { user, ..spec(u8::try_from(draw(3)).unwrap(), steps) };
        let cancels = match draw(12) {
            0 => Some(CancelMode::KillRunning),
            1 => Some(CancelMode::PendingOnly),
            _ => None,
        };
        Self { request: format!("r{number}").parse().unwrap(), spec: Arc::new(spec), run: None, cancels }
    }
}
