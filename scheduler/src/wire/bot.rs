//! Bots as clients see them.

use crate::queue::{Bot, Queue};
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
