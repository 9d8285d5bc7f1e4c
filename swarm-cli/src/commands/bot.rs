//! `swarm bot`: what an operator wants of a bot.

use super::Context;
use crate::{cli::SchedulerArgs, display::count, json::SCHEMA_VERSION, model::BotOrder};
use clap::{Args, Subcommand};
use proto::BotId;
use runtime::Exit;

/// Drain, quarantine, resume or terminate a bot. What it has it finishes, in any case
#[derive(Debug, Args)]
#[command(after_help = "Example: swarm bot quarantine rack1-07 -m \"disk errors\"")]
pub(crate) struct BotArgs {
    #[command(subcommand)]
    order: OrderArgs,
}

#[derive(Debug, Subcommand)]
enum OrderArgs {
    /// Give it nothing new, until it is resumed
    Drain(Ordered),
    /// Give it nothing new, because something is wrong with it, until it is resumed
    Quarantine(Ordered),
    /// Give it work again: lifts drain and quarantine
    #[command(visible_alias = "undrain")]
    Resume(Ordered),
    /// Let its program end with exit code 0 when it has finished what it has
    Terminate(Ordered),
}

#[derive(Debug, Args)]
struct Ordered {
    /// The bot
    #[arg(value_name = "BOT")]
    bot: BotId,
    /// Why: shown by `swarm bots` and `swarm explain`
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    message: String,
    /// Print what the bot still has as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct OrderedJson {
    schema_version: u32,
    bot: String,
    /// Shards that it has and will finish.
    running: Vec<String>,
}

pub(crate) async fn bot(context: &Context, args: BotArgs) -> anyhow::Result<Exit> {
    let (order, what, args) = match args.order {
        OrderArgs::Drain(args) => (BotOrder::Drain, "gets nothing new", args),
        OrderArgs::Quarantine(args) => (BotOrder::Quarantine, "is quarantined", args),
        OrderArgs::Resume(args) => (BotOrder::Work, "gets work again", args),
        OrderArgs::Terminate(args) => (BotOrder::Terminate, "ends when it has nothing left to do", args),
    };
    let scheduler = args.scheduler.connect(context)?;
    let running = scheduler.order_bot(&args.bot, order, &args.message).await?;
    if args.json {
        let answer = OrderedJson {
            schema_version: SCHEMA_VERSION,
            bot: args.bot.to_string(),
            running: running.iter().map(ToString::to_string).collect(),
        };
        context.console.print(serde_json::to_string_pretty(&answer)? + "\n");
        return Ok(Exit::Success);
    }
    let has = match running.len() {
        0 => String::new(),
        many => format!("; it still has {}", count(many as u64, "shard")),
    };
    context.console.print(format!("{} {what}{has}\n", args.bot));
    Ok(Exit::Success)
}
