//! A bot's call.

use super::Service;
use crate::wire::report;
use proto::v1;
use tonic::Status;

pub(super) async fn synchronize(
    service: &Service,
    request: v1::SynchronizeRequest,
) -> Result<v1::SynchronizeResponse, Status> {
    let report = report::parse_report(request)?;
    let orders = service.shell.synchronize(report).await?;
    Ok(report::answer_to_wire(&orders.desired, orders.call_again, orders.terminate))
}
