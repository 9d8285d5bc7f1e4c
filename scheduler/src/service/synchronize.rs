//! A bot's call.

use super::Service;
use crate::wire::report::{self, Greeting};
use proto::v1;
use tonic::Status;

pub(super) async fn synchronize(
    service: &Service,
    request: v1::SynchronizeRequest,
) -> Result<v1::SynchronizeResponse, Status> {
    let program = service.programs.of(&request.platform);
    let report = report::parse_report(request)?;
    let orders = service.shell.synchronize(report).await?;
    let greeting = Greeting { now: service.clock.now(), program };
    Ok(report::answer_to_wire(&orders.desired, orders.call_again, orders.terminate, greeting))
}
