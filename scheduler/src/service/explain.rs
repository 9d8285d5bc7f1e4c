//! Why shards are pending.

use super::{Service, status};
use crate::{
    queue::{Obstacle, Queue, Refusal, StepExplanation, Subject, WaitingStep},
    wire::field::InField,
};
use proto::{BotId, v1};
use tonic::Status;

pub(super) async fn explain(
    service: &Service,
    request: &v1::ExplainRequest,
) -> Result<v1::ExplainResponse, Status> {
    let id = request.id.as_str();
    let subject = if id.contains('/') {
        Subject::Shard(id.parse().in_field("id")?)
    } else {
        Subject::Run(id.parse().in_field("id")?)
    };
    let look = move |queue: &Queue, now| {
        let steps = queue.explain(subject, now)?;
        Ok((steps, queue.explain_waiting(subject), queue.explain_crashes(subject, now)))
    };
    let explained = service.shell.read(look).await?;
    let (steps, waiting, notes) = explained.map_err(|refusal: Refusal| status::of_refusal(&refusal))?;
    Ok(v1::ExplainResponse {
        steps: steps.iter().map(to_wire).collect(),
        waiting: waiting.iter().map(waiting_to_wire).collect(),
        notes: notes.into_iter().map(|(step, text)| v1::StepNote { step, text }).collect(),
    })
}

fn waiting_to_wire(waiting: &WaitingStep) -> v1::WaitingStep {
    v1::WaitingStep {
        step: waiting.step,
        shards: waiting.shards.clone(),
        for_steps: waiting.for_steps.iter().map(|(step, _)| *step).collect(),
        summary: waiting.to_string(),
    }
}

fn to_wire(step: &StepExplanation) -> v1::StepExplanation {
    v1::StepExplanation {
        step: step.step,
        pending_shards: step.pending.clone(),
        ahead: u32::try_from(step.place.ahead).unwrap_or(u32::MAX),
        busy_bots: ids(&step.bots.busy),
        free_bots: ids(&step.bots.free),
        obstacles: step.bots.obstacles.iter().map(obstacle).collect(),
        expires: Some(step.expires.into()),
        summary: step.to_string(),
        place: step.place.to_string(),
        slice: step.slice.into(),
        slices: step.slices.into(),
        no_resource: step.no_resource.map(Into::into),
    }
}

/// As the wire has it.
pub(super) fn obstacle(obstacle: &Obstacle) -> v1::Obstacle {
    v1::Obstacle { criterion: obstacle.criterion.clone(), bots: ids(&obstacle.bots) }
}

/// As the wire has them.
pub(super) fn ids(bots: &[BotId]) -> Vec<String> {
    bots.iter().map(ToString::to_string).collect()
}
