//! Runs, newest first.

use super::Service;
use crate::{
    queue::{Queue, Run, RunState},
    wire::{
        field::{FieldError, InField},
        run,
    },
};
use prost::Message as _;
use proto::{RunId, v1};
use tonic::Status;

const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

/// A page ends here: clients accept 4 MiB by default, and one run alone may take more.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Runs that one call looks at: a filter that nothing passes must not hold up the queue. A page may be short for it.
const MOST_LOOKED_AT: usize = 10_000;

struct Filter {
    states: Vec<RunState>,
    user: String,
    tags: Vec<String>,
}

impl Filter {
    fn passes(&self, run: &Run) -> bool {
        (self.states.is_empty() || self.states.contains(&run.state()))
            && (self.user.is_empty() || self.user == run.spec.user)
            && self.tags.iter().all(|tag| run.spec.tags.contains(tag))
    }
}

pub(super) async fn list(service: &Service, request: v1::ListRequest) -> Result<v1::ListResponse, Status> {
    let before: Option<RunId> = match request.page_token.as_str() {
        "" => None,
        token => Some(token.parse().in_field("page_token")?),
    };
    let state = |state: &i32| {
        let unknown = || FieldError::new("states", format!("{state} is no state of a run"));
        run::parse_run_state(*state).ok_or_else(unknown)
    };
    let filter = Filter {
        states: request.states.iter().map(state).collect::<Result<_, _>>()?,
        user: request.user,
        tags: request.tags,
    };
    let size = match request.page_size as usize {
        0 => DEFAULT_PAGE,
        size => size.min(LARGEST_PAGE),
    };
    Ok(service.shell.read(move |queue, _| page(queue, before, &filter, size)).await?)
}

fn page(queue: &Queue, before: Option<RunId>, filter: &Filter, size: usize) -> v1::ListResponse {
    let mut response = v1::ListResponse::default();
    let mut bytes = 0;
    for (looked_at, candidate) in queue.runs_before(before).enumerate() {
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
