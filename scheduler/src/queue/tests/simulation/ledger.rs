//! What the journal says, read by somebody who trusts nobody.

use super::super::super::*;
use proto::{BotId, RunId, SessionId, ShardId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Leases that are live, and shards that have ended.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    live: BTreeMap<ShardId, (Token, BotId, SessionId)>,
    ended: BTreeSet<ShardId>,
    last_token: Token,
    runs: BTreeMap<RunId, Arc<RunSpec>>,
    /// Attempts that were lost.
    pub(super) lost: usize,
}

/// What a bot says of what it ran, so that one can tell whose word was taken.
pub(super) fn signature(bot: &BotId, session: &SessionId, lease: &LeaseRef) -> String {
    format!("{bot} {session} {} {} {}", lease.shard, lease.attempt, lease.token.0)
}

impl Ledger {
    /// Takes a durable record in, and fails when it must not be there.
    pub(super) fn take(&mut self, record: &Record) {
        match &record.transition {
            Transition::RunCreated { run, spec, .. } => {
                assert_eq!(self.runs.insert(*run, Arc::clone(spec)), None, "{run} is made once");
            }
            Transition::Leased { shard, token, bot, session, .. } => {
                assert!(*token > self.last_token, "tokens grow");
                self.last_token = *token;
                assert!(!self.ended.contains(shard), "{shard} is leased when it has ended");
                let earlier = self.live.insert(*shard, (*token, bot.clone(), session.clone()));
                assert_eq!(earlier, None, "two live leases of {shard}");
                self.check_earlier(*shard);
            }
            Transition::AttemptLost { shard, token, .. } => {
                let live = self.live.remove(shard).unwrap();
                assert_eq!(live.0, *token, "{shard}: what is lost was live");
                self.lost += 1;
            }
            Transition::AttemptFinished { shard, token, result, .. } => {
                let (live, bot, session) = self.live.remove(shard).unwrap();
                assert_eq!(live, *token, "{shard}: a result under another token");
                let said: Vec<&str> = result.message.split(' ').collect();
                let holder = [bot.as_str(), session.as_str(), &shard.to_string()].map(str::to_owned);
                assert_eq!(said[..3], holder, "the result is its holder's");
                assert_eq!(said[4], token.0.to_string(), "and of this lease");
                self.end(*shard);
            }
            Transition::ShardEnded { shard, .. } | Transition::ShardDeduped { shard, .. } => {
                assert!(!self.live.contains_key(shard), "{shard} ends while somebody runs it");
                self.end(*shard);
            }
            Transition::RunDeleted { run, .. } => {
                let of_run = |index| ShardId { run: *run, step: index, index: 0 };
                let ended = self.ended.range(of_run(0)..of_run(u32::MAX)).count() as u64;
                assert_eq!(
                    self.runs.get(run).map(|spec| spec.shards()),
                    Some(ended),
                    "{run} is deleted whole"
                );
            }
            Transition::SliceGivenUp { .. }
            | Transition::KillRequested { .. }
            | Transition::CancelRequested { .. }
            | Transition::BotOrdered { .. } => {}
            Transition::TestsListed { .. }
            | Transition::WorkersAdded { .. }
            | Transition::TestsGranted { .. }
            | Transition::TestsReported { .. }
            | Transition::TestQuarantined { .. } => panic!("none of its steps shares out tests"),
        }
    }

    fn end(&mut self, shard: ShardId) {
        assert!(self.ended.insert(shard), "{shard} ends twice");
    }

    /// What is leased has waited for all that it had to wait for.
    fn check_earlier(&self, id: ShardId) {
        let spec = &self.runs[&id.run];
        for after in &spec.steps[id.step as usize].after {
            let shards = spec.steps[after.step as usize].fan_out.shards();
            let mut ended = (0..shards).map(|index| ShardId { step: after.step, index, ..id });
            assert!(ended.all(|earlier| self.ended.contains(&earlier)), "{id} is leased too soon");
        }
    }

    /// Whether a lease is live.
    pub(super) fn is_live(&self, lease: &LeaseRef) -> bool {
        self.live.get(&lease.shard).is_some_and(|(token, ..)| *token == lease.token)
    }

    /// Whether there is this run.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// Shards that have ended.
    pub(super) fn ended(&self) -> usize {
        self.ended.len()
    }

    /// Whether every shard of every run has ended and nobody holds anything.
    pub(super) fn is_complete(&self) -> bool {
        self.live.is_empty()
            && self.runs.values().map(|spec| spec.shards()).sum::<u64>() == self.ended.len() as u64
    }
}
