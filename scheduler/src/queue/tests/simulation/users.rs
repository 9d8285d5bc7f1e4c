//! Users: they trigger runs again and again until they are told so, and sometimes think better of it.

use super::{
    super::super::{testing::*, *},
    fleet::RACK,
};
use proto::{Cut, RequestId, RunId};
use runtime::{Entropy as _, SeededEntropy};
use std::{num::NonZeroU32, sync::Arc, time::Duration};

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
    pub(super) fn make(number: usize, most_shards: u32, bots: usize, entropy: &SeededEntropy) -> Self {
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
            let mut asked = asked.to_vec();
            let rack = format!("rack={}", draw(bots.div_ceil(RACK) as u64));
            let fan_out = match draw(8) {
                0 => {
                    asked.push(&rack);
                    FanOut::EachBot(EachBot {
                        seen_within: Some(Duration::from_secs(60 * (1 + draw(60)))),
                        bots: [].into(),
                    })
                }
                1 => FanOut::Items(items(shards, 1 + draw(3))),
                _ => step(shards, &asked).fan_out,
            };
            let idempotent = wanted == 0 && !matches!(fan_out, FanOut::EachBot(_));
            StepSpec { idempotent, after: after.collect(), fan_out, ..step(shards, &asked) }
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

/// So many, some for each shard.
fn items(count: u32, per_shard: u64) -> Items {
    let per_shard = NonZeroU32::new(u32::try_from(per_shard).unwrap()).unwrap();
    Items::new((0..count).map(|item| item.to_string().into()).collect(), Cut::PerShard(per_shard)).unwrap()
}
