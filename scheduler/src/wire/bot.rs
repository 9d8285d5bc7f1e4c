//! Bots as clients see them.

use crate::queue::{Bot, BotState, Queue};
use proto::{BotId, Timestamp, v1};

/// One bot.
pub(crate) fn bot(queue: &Queue, id: &BotId, bot: &Bot, now: Timestamp) -> v1::Bot {
    v1::Bot {
        id: id.to_string(),
        dimensions: (&bot.dimensions).into(),
        version: bot.version.clone(),
        slots: bot.slots,
        running: queue.running_on(id).map(|shard| shard.to_string()).collect(),
        first_seen: Some(bot.first_seen.into()),
        last_seen: Some(bot.last_seen.into()),
        dead: queue.is_dead(bot, now),
        draining: bot.draining,
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
        v1::BotState::Dead => Some(BotState::Dead),
    }
}
