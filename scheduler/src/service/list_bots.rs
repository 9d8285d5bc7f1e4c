//! The bots that have called since the scheduler started.

use super::Service;
use crate::wire::{bot, field::InField};
use proto::{Requirements, v1};
use tonic::Status;

pub(super) async fn list_bots(
    service: &Service,
    request: &v1::ListBotsRequest,
) -> Result<v1::ListBotsResponse, Status> {
    let wanted = Requirements::try_from(&request.requirements[..]).in_field("requirements")?;
    let look = move |queue: &crate::queue::Queue, now| {
        let fitting = queue.bots().filter(|(_, bot)| wanted.fit(&bot.dimensions));
        fitting.map(|(id, known)| bot::bot(queue, id, known, now)).collect()
    };
    Ok(v1::ListBotsResponse { bots: service.shell.read(look).await? })
}
