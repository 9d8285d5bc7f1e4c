//! The shards of a run as they come to have something to say, through cut connections and restarts of the scheduler.

use super::{Acquaintance, Patience};
use crate::{
    model::{Run, Shard},
    remote::{CallError, Scheduler, Update},
};
use futures::StreamExt as _;
use proto::{RunId, ShardId};
use std::{collections::HashSet, pin::pin};
use tokio::sync::mpsc;

/// A shard of which there is something to read.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// As it was then.
    pub shard: Shard,
    /// What people call it within its run.
    pub label: String,
}

/// Tells each shard of `run` once, as soon as it has come to its attempt `attempt`, until the run has ended or nobody
/// listens any more.
pub async fn arrivals(
    scheduler: &Scheduler,
    run: RunId,
    attempt: u32,
    tell: mpsc::UnboundedSender<Arrival>,
) -> Result<(), CallError> {
    let mut seen = HashSet::new();
    let mut patience = Patience::with(Acquaintance::Unknown);
    loop {
        let session = session(scheduler, run, attempt, &mut seen, &mut patience, &tell);
        let error = tokio::select! {
            ended = session => match ended {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            () = tell.closed() => return Ok(()),
        };
        patience.lost(scheduler, error).await?;
    }
}

async fn session(
    scheduler: &Scheduler,
    run: RunId,
    attempt: u32,
    seen: &mut HashSet<ShardId>,
    patience: &mut Patience,
    tell: &mpsc::UnboundedSender<Arrival>,
) -> Result<(), CallError> {
    let mut updates = pin!(scheduler.watch(run).await?);
    let mut known: Option<Run> = None;
    while let Some(update) = updates.next().await {
        let update = update?;
        *patience = Patience::with(Acquaintance::Known);
        let changed: Vec<Shard> = match (update, &mut known) {
            (Update::Whole(run), known) => known.insert(*run).shards.clone(),
            (Update::Changes(changes), Some(run)) => {
                let changed = changes.shards.clone();
                run.apply(changes);
                changed
            }
            (Update::Changes(_), None) => continue,
        };
        let Some(run) = &known else { continue };
        for shard in &changed {
            let has_come = shard.reused.is_some() || shard.attempts.len() >= attempt as usize;
            if has_come && seen.insert(shard.id) {
                let arrival = Arrival { label: run.prefix(shard), shard: shard.clone() };
                // An error means that nobody listens, which ends the whole.
                let _ = tell.send(arrival);
            }
        }
        if run.is_whole() && run.state.is_final() {
            return Ok(());
        }
    }
    Err(scheduler.unavailable("it ended the watch early"))
}
