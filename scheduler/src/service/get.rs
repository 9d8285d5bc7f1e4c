//! One run with all of its shards.

use super::{Service, status};
use crate::{
    queue::Refusal,
    wire::{field::InField, run},
};
use proto::{RunId, v1};
use tonic::Status;

pub(super) async fn get(service: &Service, request: &v1::GetRequest) -> Result<v1::GetResponse, Status> {
    let id: RunId = request.run_id.parse().in_field("run_id")?;
    let found = service.shell.read(move |queue, _| queue.run(id).map(|found| run::run(queue, found))).await?;
    let run = found.ok_or_else(|| status::of_refusal(&Refusal::UnknownRun { run: id }))?;
    Ok(v1::GetResponse { run: Some(run) })
}
