//! What the program does beyond the library: flags, signals, the line that says that it is ready.

use bot::{Bot, BotError, Config, Flags, Stop};
use clap::Parser;
use runtime::{Exit, SystemClock, SystemEntropy, config::ConfigError};
use std::{
    io::{self, Write as _},
    path::PathBuf,
};
use tokio::signal::unix::{SignalKind, signal};

/// A bot: polls the scheduler for work and runs it.
///
/// The first TERM or INT lets the attempts that run come to their end, within --drain-timeout; the second one stops
/// them, and the scheduler gives them to other bots.
#[derive(Debug, Parser)]
#[command(name = "bot", version = runtime::VERSION, after_help = runtime::exit::HELP)]
pub(crate) struct Arguments {
    /// Configuration file (TOML); flags win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a commented sample configuration and exit
    #[arg(long)]
    pub(crate) print_config: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Runs a bot until it is told to stop.
#[tokio::main]
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut config: Config = runtime::config::load(arguments.config.as_deref(), &arguments.flags)?;
    // The file that this process was started from, also when it was replaced meanwhile.
    config.supervisor = Some("/proc/self/exe".into());
    let stop = Stop::default();
    let bot = Bot::open(config, SystemClock::shared(), SystemEntropy::shared()).await?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = stop.clone();
    let signals = async move {
        for shutdown in [&asked.drain, &asked.now] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            shutdown.request();
        }
        std::future::pending().await
    };
    say(&format!("bot {} ready", bot.id()));
    tokio::select! {
        worked = bot.run_until(stop) => Ok(worked?),
        () = signals => Ok(()),
    }
}

/// One line on stdout.
pub(crate) fn say(line: &str) -> Exit {
    // Whoever has closed our stdout does not want to read it.
    let _ = writeln!(io::stdout(), "{line}");
    Exit::Success
}

/// The exit code that goes with an error.
pub(crate) fn exit(error: &anyhow::Error) -> Exit {
    if error.is::<ConfigError>() {
        return Exit::Usage;
    }
    error.downcast_ref::<BotError>().map_or(Exit::Internal, BotError::exit)
}
