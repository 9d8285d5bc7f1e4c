//! `swarm delete`: takes runs out of history.

use super::Context;
use crate::{cli::SchedulerArgs, display::count, json::SCHEMA_VERSION};
use clap::Args;
use proto::RunId;
use runtime::Exit;

/// Delete runs that have ended, with what their shards printed
///
/// Outputs in the CAS are not touched. There is no way back.
#[derive(Debug, Args)]
#[command(after_help = "Example: swarm delete 1hf7yat000005 1hf7yat000006")]
pub(crate) struct DeleteArgs {
    /// The runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<RunId>,
    /// Print what was deleted as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct DeletedJson {
    schema_version: u32,
    deleted: Vec<String>,
}

/// Stops at the first that cannot be deleted; those before it are.
pub(crate) async fn delete(context: &Context, args: DeleteArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let mut deleted = Vec::new();
    let mut failed = None;
    for run in args.runs {
        match scheduler.delete(run).await {
            Ok(()) => deleted.push(run.to_string()),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if args.json {
        let answer = DeletedJson { schema_version: SCHEMA_VERSION, deleted };
        context.console.print(serde_json::to_string_pretty(&answer)? + "\n");
    } else if !deleted.is_empty() {
        context.console.print(format!("deleted {}\n", count(deleted.len() as u64, "run")));
    }
    failed.map_or(Ok(Exit::Success), |error| Err(error.into()))
}
