//! Time has passed: leases and pending shards expire, silent bots are forgotten.

use super::{
    apply::Queue,
    event::Decided,
    shard::{Ending, Loss, Token},
};
use proto::{ShardId, Timestamp};
use std::time::Duration;

/// A bot that has been silent for this long is no longer listed.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Queue {
    pub(super) fn tick(&mut self, now: Timestamp, decided: &mut Decided) {
        let lost: Vec<Token> = self.presence.expired(now).collect();
        for token in lost {
            let bot = self.state.leases.get(&token).and_then(|id| self.shard(*id)?.live());
            let reason = bot.map_or_else(String::new, |attempt| {
                format!("bot {} was silent for {:?}", attempt.bot, self.tuning.lease_ttl)
            });
            self.lose(token, reason, Loss::Counted, now, decided);
        }
        self.doubt_silent(now, decided);
        self.feed_all(now, decided);
        self.presence.compared = 0;
        let may_expire = now >= self.presence.no_expiration_before;
        let expired: Vec<ShardId> = self.state.pending.expired(now).filter(|_| may_expire).collect();
        for shard in expired {
            self.give_up(shard, Ending::Expired, now, decided);
        }
        self.look_for_capacity(now, decided);
        self.delete_old(now, decided);
        self.presence.forget_silent(now, LONGEST_SILENCE);
    }

    /// When a tick is due.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let expiration = self.state.pending.next_expiration();
        let expiration = expiration.map(|expires| expires.max(self.presence.no_expiration_before));
        self.presence.next_expiry().into_iter().chain(expiration).min()
    }
}
