//! What a bot is told to do for a shard, but for the secret of its run.

use super::{Service, status};
use crate::{
    queue::{Ending, Queue, Refusal, ShardState},
    wire::{field::InField, report},
};
use proto::{ShardId, v1};
use tonic::Status;

pub(super) async fn get_assignment(
    service: &Service,
    request: &v1::GetAssignmentRequest,
) -> Result<v1::GetAssignmentResponse, Status> {
    let shard: ShardId = request.shard_id.parse().in_field("shard_id")?;
    let look = move |queue: &Queue, _| {
        let run = queue.run(shard.run)?;
        let known = run.shard(shard)?;
        let step = run.spec.steps.get(shard.step as usize)?;
        let was_never_ready = match known.state {
            ShardState::Waiting | ShardState::Ended(Ending::Skipped) => true,
            // Perhaps it was; what it would have been given is the same for all of them.
            ShardState::Ended(Ending::Canceled) => !step.after.is_empty() && known.attempts.is_empty(),
            _ => false,
        };
        if was_never_ready {
            return Some(Err(Refusal::NotReady { shard }));
        }
        let assignment = Some(report::assignment(step, &run.included(shard.step), shard));
        Some(Ok(v1::GetAssignmentResponse { assignment, has_secret: run.spec.secret.is_some() }))
    };
    let found = service.shell.read(look).await?;
    found.unwrap_or(Err(Refusal::UnknownShard { shard })).map_err(|refusal| status::of_refusal(&refusal))
}
