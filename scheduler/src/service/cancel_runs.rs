//! Cancels runs by their tags.

use super::Service;
use crate::{
    queue::{CancelMode, Queue, RunFilter},
    shell::{Canceled, CanceledRuns},
    wire::field::{FieldError, InField},
};
use proto::{RunId, v1};
use tonic::Status;

pub(super) async fn cancel_runs(
    service: &Service,
    request: v1::CancelRunsRequest,
) -> Result<v1::CancelRunsResponse, Status> {
    if request.tags.is_empty() {
        // A forgotten filter must not end everybody's work.
        return Err(FieldError::new("tags", "are missing: name at least one, as key:value").into());
    }
    let before: Option<RunId> = match request.page_token.as_str() {
        "" => None,
        token => Some(token.parse().in_field("page_token")?),
    };
    let mode = if request.kill_running { CancelMode::KillRunning } else { CancelMode::PendingOnly };
    let filter = RunFilter { tags: request.tags, user: request.user, ..RunFilter::default() };
    let canceled = if request.dry_run {
        service.shell.read(move |queue, _| look(queue, &filter, before, mode)).await?
    } else {
        service.shell.cancel_runs(filter, before, mode).await?
    };
    Ok(v1::CancelRunsResponse {
        run_ids: canceled.runs.iter().map(ToString::to_string).collect(),
        canceled: canceled.shards.canceled,
        killing: canceled.shards.killing,
        next_page_token: canceled.next.map(|run| run.to_string()).unwrap_or_default(),
    })
}

/// What a cancellation would do.
fn look(queue: &Queue, filter: &RunFilter, before: Option<RunId>, mode: CancelMode) -> CanceledRuns {
    let selection = queue.cancelable(filter, before);
    let mut shards = Canceled { canceled: 0, killing: 0 };
    for run in &selection.runs {
        let (pending, running) = queue.would_cancel(*run);
        shards.canceled += pending;
        shards.killing += if mode == CancelMode::KillRunning { running } else { 0 };
    }
    CanceledRuns { runs: selection.runs, shards, next: selection.next }
}
