//! Bots as clients see them.

use super::field::{FieldError, InField};
use crate::queue::{Bot, BotOrder, BotState, Queue, Standing, Wanted};
use proto::{BotId, SessionId, Timestamp, journal::v1 as journal, v1};

/// One bot.
pub(crate) fn bot(queue: &Queue, id: &BotId, bot: &Bot, now: Timestamp) -> v1::Bot {
    v1::Bot {
        id: id.to_string(),
        dimensions: (&*bot.dimensions).into(),
        version: bot.version.clone(),
        slots: bot.slots,
        running: queue.running_on(id).map(|shard| shard.to_string()).collect(),
        first_seen: Some(bot.first_seen.into()),
        last_seen: Some(bot.last_seen.into()),
        dead: queue.is_dead(bot, now),
        draining: bot.draining,
        order: order_to_wire(queue.order_of(id).map_or(&BotOrder::Work, |standing| &standing.order)).into(),
        order_message: queue.order_of(id).map(|standing| standing.message.clone()).unwrap_or_default(),
        quarantined: bot.condition.quarantined.clone(),
        maintenance: bot.condition.maintenance.clone(),
        notice: bot.condition.notice.clone(),
        state: bot.condition.state.clone(),
    }
}

/// The state with this number, if there is one.
pub(crate) fn parse_bot_state(state: i32) -> Option<BotState> {
    match v1::BotState::try_from(state).ok()? {
        v1::BotState::Unspecified => None,
        v1::BotState::Alive => Some(BotState::Alive),
        v1::BotState::Idle => Some(BotState::Idle),
        v1::BotState::Busy => Some(BotState::Busy),
        v1::BotState::Draining => Some(BotState::Draining),
        v1::BotState::Quarantined => Some(BotState::Quarantined),
        v1::BotState::Maintenance => Some(BotState::Maintenance),
        v1::BotState::Dead => Some(BotState::Dead),
    }
}

fn order_to_wire(order: &BotOrder) -> v1::BotOrder {
    match order {
        BotOrder::Work => v1::BotOrder::Work,
        BotOrder::Drain => v1::BotOrder::Drain,
        BotOrder::Quarantine => v1::BotOrder::Quarantine,
        BotOrder::Terminate(_) => v1::BotOrder::Terminate,
    }
}

/// The order with this number, if there is one.
pub(crate) fn parse_order(order: i32) -> Option<Wanted> {
    match v1::BotOrder::try_from(order).ok()? {
        v1::BotOrder::Unspecified => None,
        v1::BotOrder::Work => Some(Wanted::Work),
        v1::BotOrder::Drain => Some(Wanted::Drain),
        v1::BotOrder::Quarantine => Some(Wanted::Quarantine),
        v1::BotOrder::Terminate => Some(Wanted::Terminate),
    }
}

/// As the journal keeps it.
pub(super) fn ordered_to_wire(bot: &BotId, standing: &Standing) -> journal::BotOrdered {
    let session = match &standing.order {
        BotOrder::Terminate(session) => session.to_string(),
        BotOrder::Work | BotOrder::Drain | BotOrder::Quarantine => String::new(),
    };
    journal::BotOrdered {
        bot_id: bot.to_string(),
        order: order_to_wire(&standing.order).into(),
        message: standing.message.clone(),
        session_id: session,
        lenient: standing.lenient,
    }
}

/// Out of the journal.
pub(super) fn parse_ordered(wire: &journal::BotOrdered) -> Result<Standing, FieldError> {
    let unknown = || FieldError::new("order", format!("{} is no order", wire.order));
    let order = match parse_order(wire.order).ok_or_else(unknown)? {
        Wanted::Work => BotOrder::Work,
        Wanted::Drain => BotOrder::Drain,
        Wanted::Quarantine => BotOrder::Quarantine,
        Wanted::Terminate => {
            BotOrder::Terminate(wire.session_id.parse::<SessionId>().in_field("session_id")?)
        }
    };
    Ok(Standing { order, message: wire.message.clone(), lenient: wire.lenient })
}
