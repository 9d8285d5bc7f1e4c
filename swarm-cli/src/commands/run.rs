//! `swarm run`: trigger and collect, with Ctrl-C in between.

use super::{
    Context,
    collect::{CollectHow, connect, out_of_time, tell},
    trigger::SpecArgs,
};
use crate::{
    cli::SchedulerArgs,
    display::count,
    follow::{Followed, follow},
    interrupts::Interrupts,
    live::{self, Live},
    remote::{CancelScope, Scheduler},
};
use anyhow::Context as _;
use clap::Args;
use proto::RunId;
use runtime::Exit;
use std::time::Duration;

/// After Ctrl-C the run gets this long to end.
const AFTER_INTERRUPT: Duration = Duration::from_secs(20);

/// Trigger a run, follow it to its end and tell what its shards reported
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    how: CollectHow,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

pub(crate) async fn run(context: &Context, args: RunArgs) -> anyhow::Result<Exit> {
    args.how.prepare(context);
    let store = connect(context, &args.how, &args.scheduler)?;
    let scheduler = args.scheduler.connect(context)?;
    let mut interrupts = Interrupts::install().context("cannot listen to signals")?;
    let triggered = args.spec.trigger(context, &scheduler).await?;
    let id = triggered.run;
    context.console.note(format!("run {id}: {}", count(triggered.shards, "shard")));
    let mut live = live::on(&context.console);
    let followed = tokio::select! {
        followed = follow(&scheduler, id, args.how.timeout, &mut *live) => Some(followed),
        () = interrupts.next() => None,
    };
    let Some(followed) = followed else {
        let stopped = stop(&scheduler, id, &mut *live, &mut interrupts).await;
        live.finish();
        context.console.note(stopped);
        return Ok(Exit::Interrupted);
    };
    live.finish();
    match followed? {
        Followed::Ended(run) => tell(context, &scheduler, &*store, &run, &args.how).await,
        Followed::TimedOut(seen) => Err(out_of_time(id, seen.as_ref()).into()),
    }
}

/// Cancels the run and waits a little for it to end. Says what happened.
async fn stop(scheduler: &Scheduler, id: RunId, live: &mut dyn Live, interrupts: &mut Interrupts) -> String {
    live.note("interrupted: canceling the run (once more to leave at once)");
    let ending = async {
        scheduler.cancel(id, CancelScope::PendingAndRunning).await?;
        follow(scheduler, id, Some(AFTER_INTERRUPT), live).await
    };
    let left = tokio::select! {
        ended = ending => match ended {
            Ok(Followed::Ended(run)) => return format!("run {id} is {}", run.state.name()),
            Ok(Followed::TimedOut(_)) => "it was canceled and is still stopping".to_owned(),
            Err(error) => format!("it could not be canceled and goes on: {error}"),
        },
        () = interrupts.next() => "it may go on".to_owned(),
    };
    format!("left run {id}: {left}; see `swarm show {id}`, `swarm cancel --kill {id}`")
}
