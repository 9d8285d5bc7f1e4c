//! `swarm cancel`: ends what has not ended.

use super::Context;
use crate::{cli::SchedulerArgs, display::count, remote::CancelScope};
use clap::Args;
use proto::RunId;
use runtime::Exit;

/// Cancel a run: what is pending, and with --kill what is running
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run: RunId,
    /// Stop running shards too, with TERM, then KILL
    #[arg(long)]
    kill: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

pub(crate) async fn cancel(context: &Context, args: CancelArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let scope = if args.kill { CancelScope::PendingAndRunning } else { CancelScope::Pending };
    let done = scheduler.cancel(args.run, scope).await?;
    let text = match (done.canceled, done.killing) {
        (0, 0) if args.kill => "nothing to cancel: no shard is pending or running".to_owned(),
        (0, 0) => "nothing to cancel: no shard is pending (--kill stops those that are running)".to_owned(),
        (canceled, 0) => format!("canceled {}", count(canceled, "pending shard")),
        (0, killing) => format!("stopping {}", count(killing, "running shard")),
        (canceled, killing) => {
            format!(
                "canceled {}, stopping {}",
                count(canceled, "pending shard"),
                count(killing, "running shard")
            )
        }
    };
    context.console.print(text + "\n");
    Ok(Exit::Success)
}
