//! Cancels a run.

use super::Service;
use crate::{queue::CancelMode, wire::field::InField};
use proto::{RunId, v1};
use tonic::Status;

pub(super) async fn cancel(
    service: &Service,
    request: &v1::CancelRequest,
) -> Result<v1::CancelResponse, Status> {
    let run: RunId = request.run_id.parse().in_field("run_id")?;
    let mode = if request.kill_running { CancelMode::KillRunning } else { CancelMode::PendingOnly };
    let canceled = service.shell.cancel(run, mode).await?;
    Ok(v1::CancelResponse { canceled: canceled.canceled, killing: canceled.killing })
}
