//! The command line.

use crate::{
    commands::{
        bot, bots, cancel, child, collect, delete, explain, history, list_tests, logs, quarantine, reproduce,
        rerun, run, runs, show, trigger, up,
    },
    failure::Usage,
    remote::Scheduler,
};
use clap::{Args, Parser, Subcommand};
use proto::Timestamp;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Trigger test runs on a swarm of bots, follow them and collect what they report.
#[derive(Debug, Parser)]
#[command(name = "swarm", version = runtime::VERSION, after_help = runtime::exit::HELP, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Trigger(trigger::TriggerArgs),
    Collect(collect::CollectArgs),
    Run(run::RunArgs),
    Cancel(cancel::CancelArgs),
    Delete(delete::DeleteArgs),
    Runs(runs::RunsArgs),
    Show(show::ShowArgs),
    Tests(list_tests::TestsArgs),
    Rerun(rerun::RerunArgs),
    History(history::HistoryArgs),
    Quarantine(quarantine::QuarantineArgs),
    Bots(bots::BotsArgs),
    Bot(bot::BotArgs),
    Explain(explain::ExplainArgs),
    Logs(logs::LogsArgs),
    Reproduce(reproduce::ReproduceArgs),
    Up(up::UpArgs),
    #[command(hide = true)]
    Child(child::ChildArgs),
}

/// Where the scheduler is.
#[derive(Clone, Debug, Args)]
pub(crate) struct SchedulerArgs {
    /// The scheduler; where others stand by for it, all of them: URL,URL
    #[arg(
        long,
        value_name = "URL",
        env = "ISOSWARM_SCHEDULER",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8990"
    )]
    pub(crate) scheduler: String,
    /// PEM file of the certificates to trust, for servers that speak TLS
    #[arg(long, value_name = "FILE", env = "ISOSWARM_CA_CERT", hide_env_values = true)]
    pub(crate) ca_cert: Option<PathBuf>,
}

impl SchedulerArgs {
    pub(crate) fn connect(&self, context: &crate::commands::Context) -> anyhow::Result<Scheduler> {
        let (clock, entropy) = (Arc::clone(&context.clock), Arc::clone(&context.entropy));
        Ok(Scheduler::new(&self.scheduler, self.ca_cert.as_deref(), clock, entropy)?)
    }
}

/// Where the CAS is.
#[derive(Clone, Debug, Args)]
pub(crate) struct CasArgs {
    /// The CAS that has the outputs
    #[arg(
        long,
        value_name = "URL",
        env = "ISOSWARM_CAS",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8980"
    )]
    pub(crate) cas: String,
}

/// A duration such as `90s`, `15m` or `2h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, Usage> {
    let refuse = |reason: &str| Usage(format!("{reason}: write for instance 90s, 15m or `2h 30m`"));
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err(refuse("it must be longer than nothing")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(refuse(&error.to_string())),
    }
}

/// A point in time as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    /// So long ago, or ahead.
    Away(Duration),
}

impl Moment {
    pub(crate) fn on(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Away(duration) => now - duration,
        }
    }

    /// Where it must lie ahead.
    pub(crate) fn ahead(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Away(duration) => now + duration,
        }
    }
}

impl std::str::FromStr for Moment {
    type Err = Usage;

    fn from_str(text: &str) -> Result<Self, Usage> {
        if let Ok(away) = humantime::parse_duration(text) {
            return Ok(Self::Away(away));
        }
        let midnight = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
        let time = text.parse().ok().or_else(|| midnight().map(|zoned| zoned.timestamp()));
        let micros = time.and_then(|time: jiff::Timestamp| u64::try_from(time.as_microsecond()).ok());
        micros.map(|micros| Self::At(Timestamp::from_micros(micros))).ok_or_else(|| {
            Usage(
                "no time: write for instance 2h (so far from now), 2026-01-31 or 2026-01-31T08:30:00Z".into(),
            )
        })
    }
}

/// A run or one of its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunOrShard {
    Run(proto::RunId),
    Shard(proto::ShardId),
}

impl RunOrShard {
    pub(crate) fn run(self) -> proto::RunId {
        match self {
            Self::Run(run) => run,
            Self::Shard(shard) => shard.run,
        }
    }
}

impl std::fmt::Display for RunOrShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run(run) => run.fmt(f),
            Self::Shard(shard) => shard.fmt(f),
        }
    }
}

impl std::str::FromStr for RunOrShard {
    type Err = proto::IdError;

    fn from_str(text: &str) -> Result<Self, proto::IdError> {
        if text.contains('/') { text.parse().map(Self::Shard) } else { text.parse().map(Self::Run) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_help_json_and_an_example() {
        use clap::CommandFactory as _;
        let cli = Cli::command();
        for verb in cli.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = verb.get_name();
            assert!(verb.get_about().is_some(), "{name} says what it does");
            let told = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(told.contains(&format!("swarm {name} ")), "{name} has an example: {told}");
            // Those that are several verbs have it in each.
            let leaves: Vec<_> = match verb.has_subcommands() {
                true => verb.get_subcommands().filter(|leaf| leaf.get_name() != "help").collect(),
                false => vec![verb],
            };
            for leaf in leaves {
                let has = |id: &str| leaf.get_arguments().any(|arg| arg.get_long() == Some(id));
                assert!(has("json"), "{name} {} has --json", leaf.get_name());
                let undocumented = leaf.get_arguments().find(|arg| arg.get_help().is_none());
                assert!(undocumented.is_none(), "{name}: {undocumented:?}");
            }
        }
    }

    #[test]
    fn a_moment_is_an_age_a_day_or_a_time() {
        let now = Timestamp::from_micros(1_769_848_200_000_000);
        let on = |text: &str| crate::display::utc(text.parse::<Moment>().unwrap().on(now));
        assert_eq!(on("90m"), "2026-01-31T07:00:00Z");
        assert_eq!(on("2026-01-30"), "2026-01-30T00:00:00Z");
        assert_eq!(on("2026-01-30T10:00:00+02:00"), "2026-01-30T08:00:00Z");
        assert!("yesterday".parse::<Moment>().unwrap_err().to_string().contains("2026-01-31"));
    }
}
