//! What is known of a test from all runs.

use super::Service;
use crate::{
    queue::Queue,
    wire::{
        field::{FieldError, text, to_wire},
        suite,
    },
};
use proto::{limits, v1};
use tonic::Status;

pub(super) async fn get_test_history(
    service: &Service,
    request: v1::GetTestHistoryRequest,
) -> Result<v1::GetTestHistoryResponse, Status> {
    let test = text("test", &request.test, limits::MAX_TEST_NAME)?;
    if test.is_empty() {
        return Err(FieldError::new("test", "is missing: give the framework's full name").into());
    }
    let suite = request.suite;
    Ok(service.shell.read(move |queue, _| histories(queue, &suite, &test)).await?)
}

fn histories(queue: &Queue, suite: &str, test: &str) -> v1::GetTestHistoryResponse {
    let pasts = queue.test_pasts(suite, test);
    let histories = pasts.into_iter().map(|known| v1::TestHistory {
        suite: known.key.suite.to_string(),
        test: test.to_owned(),
        platform: known.key.platform.to_string(),
        estimate: known.past.estimate().map(to_wire),
        past: known.executions.iter().map(suite::execution_to_past).collect(),
        passes: known.verdicts(|verdict| !verdict.is_red()),
        failures: known.verdicts(|verdict| verdict.is_red()),
        flakes: known.flakes(),
    });
    v1::GetTestHistoryResponse { histories: histories.collect() }
}
