//! Runs, newest first.

use super::Service;
use crate::{
    queue::{MOST_LOOKED_AT, Queue, RunFilter},
    wire::{
        field::{FieldError, InField},
        run, spec,
    },
};
use prost::Message as _;
use proto::{RunId, Timestamp, v1};
use tonic::Status;

const DEFAULT_PAGE: usize = 50;
pub(super) const LARGEST_PAGE: usize = 1000;

/// A page ends here: clients accept 4 MiB by default, and one run alone may take more.
pub(super) const PAGE_BYTES: usize = 2 * 1024 * 1024;

pub(super) async fn list(service: &Service, request: v1::ListRequest) -> Result<v1::ListResponse, Status> {
    let before: Option<RunId> = match request.page_token.as_str() {
        "" => None,
        token => Some(token.parse().in_field("page_token")?),
    };
    let state = |state: &i32| {
        let unknown = || FieldError::new("states", format!("{state} is no state of a run"));
        run::parse_run_state(*state).ok_or_else(unknown)
    };
    let filter = RunFilter {
        states: request.states.iter().map(state).collect::<Result<_, _>>()?,
        user: request.user,
        tags: request.tags,
        name: request.name,
        created_after: request.created_after.as_ref().map(Timestamp::from),
        created_before: request.created_before.as_ref().map(Timestamp::from),
        parent: spec::parse_parent(&request.parent)?,
    };
    let size = match request.page_size as usize {
        0 => DEFAULT_PAGE,
        size => size.min(LARGEST_PAGE),
    };
    Ok(service.shell.read(move |queue, _| page(queue, before, &filter, size)).await?)
}

fn page(queue: &Queue, before: Option<RunId>, filter: &RunFilter, size: usize) -> v1::ListResponse {
    let mut response = v1::ListResponse::default();
    let mut bytes = 0;
    for (looked_at, candidate) in queue.candidates(filter, before).enumerate() {
        if looked_at == MOST_LOOKED_AT {
            return response;
        }
        if filter.passes(candidate) {
            let summary = run::run_summary(candidate);
            bytes += summary.encoded_len();
            if response.runs.len() == size || (bytes > PAGE_BYTES && !response.runs.is_empty()) {
                return response;
            }
            response.runs.push(summary);
        }
        response.next_page_token = candidate.id.to_string();
    }
    response.next_page_token.clear();
    response
}
