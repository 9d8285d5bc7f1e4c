//! Gives a bot an order.

use super::Service;
use crate::wire::{
    bot,
    field::{FieldError, InField, text},
};
use proto::{BotId, v1};
use tonic::Status;

const LONGEST_MESSAGE: usize = 1024;

pub(super) async fn order_bot(
    service: &Service,
    request: &v1::OrderBotRequest,
) -> Result<v1::OrderBotResponse, Status> {
    let id: BotId = request.bot_id.parse().in_field("bot_id")?;
    let unknown = || FieldError::new("order", format!("{} is no order", request.order));
    let wanted = bot::parse_order(request.order).ok_or_else(unknown)?;
    let message = text("message", &request.message, LONGEST_MESSAGE)?;
    let running = service.shell.order(id, wanted, message).await?;
    Ok(v1::OrderBotResponse { running: running.iter().map(ToString::to_string).collect() })
}
