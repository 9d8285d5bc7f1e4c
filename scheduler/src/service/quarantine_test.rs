//! Tests whose failures are known.

use super::Service;
use crate::wire::{field::FieldError, suite};
use proto::v1;
use tonic::Status;

pub(super) async fn quarantine_test(
    service: &Service,
    request: v1::QuarantineTestRequest,
) -> Result<v1::QuarantineTestResponse, Status> {
    let quarantine = request.quarantine.ok_or_else(|| FieldError::new("quarantine", "is missing"))?;
    let quarantined = suite::parse_quarantine(&quarantine).map_err(|error| error.within("quarantine"))?;
    service.shell.quarantine(quarantined).await?;
    Ok(v1::QuarantineTestResponse {})
}

pub(super) async fn list_quarantines(
    service: &Service,
    request: v1::ListQuarantinesRequest,
) -> Result<v1::ListQuarantinesResponse, Status> {
    let list = move |queue: &crate::queue::Queue, now| {
        let current = queue.quarantines(&request.suite).filter(|quarantined| now < quarantined.expires);
        current.map(suite::quarantine_to_wire).collect()
    };
    Ok(v1::ListQuarantinesResponse { quarantines: service.shell.read(list).await? })
}
