//! Takes a run out of history.

use super::Service;
use crate::wire::field::InField;
use proto::v1;
use tonic::Status;

pub(super) async fn delete_run(
    service: &Service,
    request: &v1::DeleteRunRequest,
) -> Result<v1::DeleteRunResponse, Status> {
    service.shell.delete(request.run_id.parse().in_field("run_id")?).await?;
    Ok(v1::DeleteRunResponse {})
}
