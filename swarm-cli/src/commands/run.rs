//! `swarm run`: trigger and collect, with Ctrl-C in between.

use super::{
    Context,
    collect::{CollectHow, connect, out_of_time, tell_or_leave},
    trigger::{EXAMPLES, SpecArgs},
};
use crate::{
    cli::SchedulerArgs,
    display::count,
    follow::{Acquaintance::Known, Followed, follow},
    interrupts::Interrupts,
    live::{self, Live},
    model::Driver,
    remote::{CancelScope, Novelty, Scheduler},
};
use anyhow::Context as _;
use clap::Args;
use proto::RunId;
use runtime::Exit;
use std::time::Duration;

/// After Ctrl-C the run gets this long to end.
const AFTER_INTERRUPT: Duration = Duration::from_secs(20);

/// Trigger a run, follow it to its end and tell what its shards reported
///
/// Ctrl-C cancels the run and waits for it to stop; a second one leaves at once.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", runtime::exit::HELP))]
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
    let spec = args.spec.spec()?;
    let drivers: Vec<Driver> = spec.steps.iter().filter_map(|step| Some(step.tests()?.driver)).collect();
    args.how.must_suit(&drivers)?;
    let store = connect(context, &args.how, &args.scheduler)?;
    let scheduler = args.scheduler.connect(context)?;
    let mut interrupts = Interrupts::install().context("cannot listen to signals")?;
    let triggered = tokio::select! {
        triggered = args.spec.trigger(context, &scheduler, &spec) => triggered?,
        () = interrupts.next() => {
            let left = "interrupted before the scheduler answered: it may have made the run, see `swarm runs`";
            context.console.note(left);
            return Ok(Exit::Interrupted);
        }
    };
    let id = triggered.run;
    let again = if triggered.novelty == Novelty::Existing { ", made by this request id before" } else { "" };
    let cut = match (&spec.steps[..], &drivers[..]) {
        ([_], [driver]) => format!("tests are shared out by {}", driver.name()),
        ([_], _) => count(triggered.shards, "shard"),
        (steps, _) => {
            format!("{} in {}", count(triggered.shards, "shard"), count(steps.len() as u64, "step"))
        }
    };
    context.console.note(format!("run {id}: {cut}{again}"));
    let mut live = live::on(&context.console);
    let followed = tokio::select! {
        followed = follow(&scheduler, id, Known, args.how.timeout, &mut *live) => Some(followed),
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
        Followed::Ended(run) => {
            tell_or_leave(context, &scheduler, &*store, &run, &args.how, &mut interrupts).await
        }
        Followed::TimedOut(seen) => Err(out_of_time(id, seen.as_ref()).into()),
    }
}

/// Cancels the run and waits a little for it to end. Says what happened.
async fn stop(scheduler: &Scheduler, id: RunId, live: &mut dyn Live, interrupts: &mut Interrupts) -> String {
    live.note("interrupted: canceling the run (once more to leave at once)");
    let see = format!("see `swarm show {id}`, `swarm cancel --kill {id}`");
    let ending = async {
        if let Err(error) = scheduler.cancel(id, CancelScope::PendingAndRunning).await {
            return format!("left run {id}: it could not be canceled and goes on ({error}); {see}");
        }
        match follow(scheduler, id, Known, Some(AFTER_INTERRUPT), live).await {
            Ok(Followed::Ended(run)) => format!("run {id} is {}", run.state.name()),
            Ok(Followed::TimedOut(_)) => format!("left run {id}: it is canceled and still stopping; {see}"),
            Err(error) => format!("left run {id}: it was canceled, how it ends is unknown ({error}); {see}"),
        }
    };
    tokio::select! {
        said = ending => said,
        () = interrupts.next() => format!("left run {id}: it may go on; {see}"),
    }
}
