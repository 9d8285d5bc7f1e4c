//! `swarm cancel`: ends what has not ended.

use super::Context;
use crate::{
    cli::SchedulerArgs,
    display::count,
    json::SCHEMA_VERSION,
    remote::{CancelScope, CanceledRuns, RunFilter, Scheduler, Trial},
};
use clap::Args;
use proto::RunId;
use runtime::Exit;

/// Cancel a run, or all runs with a tag: what is pending, and with --kill what is running
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["run", "tags"]))]
#[command(after_help = "Example: swarm cancel --tag branch:main --tag suite:unit --kill --dry-run")]
pub(crate) struct CancelArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run: Option<RunId>,
    /// Every run with this tag that has not ended (repeat: all of them)
    #[arg(long = "tag", value_name = "KEY:VALUE")]
    tags: Vec<String>,
    /// Of these only runs of this user
    #[arg(long, requires = "tags", default_value = "", hide_default_value = true)]
    user: String,
    /// Only tell what would be canceled
    #[arg(long, requires = "tags")]
    dry_run: bool,
    /// Stop running shards too, with TERM, then KILL
    #[arg(long)]
    kill: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct CanceledJson {
    schema_version: u32,
    /// Whether nothing was done.
    dry_run: bool,
    runs: Vec<String>,
    /// Pending shards that ended.
    canceled: u32,
    /// Running shards that are being stopped.
    killing: u32,
}

pub(crate) async fn cancel(context: &Context, args: CancelArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let done = cancel_asked(&scheduler, &args).await?;
    let console = &context.console;
    if args.json {
        let answer = CanceledJson {
            schema_version: SCHEMA_VERSION,
            dry_run: args.dry_run,
            runs: done.runs.iter().map(ToString::to_string).collect(),
            canceled: done.canceled,
            killing: done.killing,
        };
        console.print(serde_json::to_string_pretty(&answer)? + "\n");
    } else {
        console.print(sentence(&args, &done) + "\n");
    }
    Ok(Exit::Success)
}

async fn cancel_asked(scheduler: &Scheduler, args: &CancelArgs) -> anyhow::Result<CanceledRuns> {
    let scope = if args.kill { CancelScope::PendingAndRunning } else { CancelScope::Pending };
    let Some(run) = args.run else {
        let filter = RunFilter { tags: args.tags.clone(), user: args.user.clone(), ..RunFilter::default() };
        let trial = if args.dry_run { Trial::Yes } else { Trial::No };
        return Ok(scheduler.cancel_runs(&filter, scope, trial).await?);
    };
    let done = scheduler.cancel(run, scope).await?;
    Ok(CanceledRuns { runs: vec![run], canceled: done.canceled, killing: done.killing })
}

/// What was done, in words.
fn sentence(args: &CancelArgs, done: &CanceledRuns) -> String {
    let of_runs = match (args.run, done.runs.len()) {
        (Some(_), _) => String::new(),
        (None, 0) => return "no run with these tags is pending or running".into(),
        (None, runs) => format!(" of {}", count(runs as u64, "run")),
    };
    let (would, cancel, stop) =
        if args.dry_run { ("would ", "cancel", "stop") } else { ("", "canceled", "stopping") };
    match (done.canceled, done.killing) {
        (0, 0) if args.kill => format!("nothing to cancel{of_runs}: no shard is pending or running"),
        (0, 0) => {
            format!("nothing to cancel{of_runs}: no shard is pending (--kill stops those that are running)")
        }
        (canceled, 0) => format!("{would}{cancel} {}{of_runs}", count(canceled, "pending shard")),
        (0, killing) => format!("{would}{stop} {}{of_runs}", count(killing, "running shard")),
        (canceled, killing) => format!(
            "{would}{cancel} {}, {stop} {}{of_runs}",
            count(canceled, "pending shard"),
            count(killing, "running shard")
        ),
    }
}
