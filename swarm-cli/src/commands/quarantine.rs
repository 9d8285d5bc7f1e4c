//! `swarm quarantine`: tests whose failures are known, and make no run fail for a while.

use super::Context;
use crate::{
    cli::{Moment, SchedulerArgs},
    display::{Column, Table, utc},
    failure::{NotFound, Usage},
    json::{QuarantineJson, SCHEMA_VERSION},
    model::Quarantine,
};
use clap::{Args, Subcommand};
use runtime::Exit;

const EXAMPLES: &str = "\
Examples:
  swarm quarantine add Net.Reconnects --suite unit --owner ann --reason 'races with DNS, bug 17' --expires 14d
  swarm quarantine list --suite unit
  swarm quarantine remove Net.Reconnects --suite unit";

/// Say that failures of a test are known, for a while
///
/// It is run, and makes no run fail until the quarantine expires.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct QuarantineArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say so, or change what was said
    Add(AddArgs),
    /// Let its failures count again
    Remove(RemoveArgs),
    /// List the tests of which it was said
    List(ListArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The test, by its full name
    #[arg(value_name = "TEST")]
    test: String,
    /// The suite that it belongs to
    #[arg(long, value_name = "NAME")]
    suite: String,
    /// Who looks after it
    #[arg(long, value_name = "NAME")]
    owner: String,
    /// Why it fails, or where that is written
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// When its failures count again (`14d` from now, `2026-01-31`, `2026-01-31T08:30:00Z`)
    #[arg(long, value_name = "WHEN")]
    expires: Moment,
    /// Print what was said as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// The test, by its full name
    #[arg(value_name = "TEST")]
    test: String,
    /// The suite that it belongs to
    #[arg(long, value_name = "NAME")]
    suite: String,
    /// Print what has ended as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Of this suite only
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    suite: String,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// What `--json` prints of one.
#[derive(Debug, serde::Serialize)]
struct QuarantinedJson<'a> {
    schema_version: u32,
    quarantine: QuarantineJson<'a>,
}

/// What `--json` prints of a list.
#[derive(Debug, serde::Serialize)]
struct QuarantinesJson<'a> {
    schema_version: u32,
    quarantines: Vec<QuarantineJson<'a>>,
}

pub(crate) async fn quarantine(context: &Context, args: QuarantineArgs) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::Add(args) => add(context, args).await,
        Verb::Remove(args) => remove(context, args).await,
        Verb::List(args) => list(context, args).await,
    }
}

async fn add(context: &Context, args: AddArgs) -> anyhow::Result<Exit> {
    let now = context.clock.now();
    let expires = args.expires.ahead(now);
    for (what, text) in [("--suite", &args.suite), ("--owner", &args.owner), ("--reason", &args.reason)] {
        if text.trim().is_empty() {
            return Err(Usage(format!("{what} says nothing")).into());
        }
    }
    if expires <= now {
        let expired = utc(expires);
        return Err(Usage(format!("--expires {expired} has passed: name a time ahead, such as 14d")).into());
    }
    let AddArgs { test, suite, owner, reason, .. } = args;
    let quarantine = Quarantine { suite, test, owner, reason, expires };
    args.scheduler.connect(context)?.quarantine(&quarantine).await?;
    let Quarantine { suite, test, .. } = &quarantine;
    let said = format!("{test} of {suite} is quarantined until {}\n", utc(expires));
    tell(context, &quarantine, said, args.json)
}

/// What was done, in words or as a document.
fn tell(context: &Context, quarantine: &Quarantine, said: String, json: bool) -> anyhow::Result<Exit> {
    let answer = QuarantinedJson { schema_version: SCHEMA_VERSION, quarantine: quarantine.into() };
    context.console.print(if json { serde_json::to_string_pretty(&answer)? + "\n" } else { said });
    Ok(Exit::Success)
}

async fn remove(context: &Context, args: RemoveArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let known = scheduler.quarantines(&args.suite).await?;
    let (suite, test) = (args.suite, args.test);
    let Some(quarantine) = known.into_iter().find(|one| one.suite == suite && one.test == test) else {
        let see = "see `swarm quarantine list`";
        return Err(NotFound(format!("{test} of suite {suite} is not quarantined: {see}")).into());
    };
    let ended = Quarantine { expires: context.clock.now(), ..quarantine };
    scheduler.quarantine(&ended).await?;
    tell(context, &ended, format!("failures of {test} of {suite} count again\n"), args.json)
}

async fn list(context: &Context, args: ListArgs) -> anyhow::Result<Exit> {
    let quarantines = args.scheduler.connect(context)?.quarantines(&args.suite).await?;
    let console = &context.console;
    if args.json {
        let quarantines = quarantines.iter().map(QuarantineJson::from).collect();
        let answer = QuarantinesJson { schema_version: SCHEMA_VERSION, quarantines };
        console.print(serde_json::to_string_pretty(&answer)? + "\n");
        return Ok(Exit::Success);
    }
    if quarantines.is_empty() {
        console.note("no test is quarantined");
        return Ok(Exit::Success);
    }
    let mut table = Table::new([
        Column::text("suite"),
        Column::text("test").whole(),
        Column::text("owner"),
        Column::text("expires"),
        Column::text("reason"),
    ]);
    for one in &quarantines {
        let expires = utc(one.expires);
        let cells = [&one.suite, &one.test, &one.owner, &expires, &one.reason];
        table.row(cells.map(|text| text.as_str().into()).into());
    }
    console.print(table.render(console.page()));
    Ok(Exit::Success)
}
