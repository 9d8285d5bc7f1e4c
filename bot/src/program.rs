//! What the program does beyond the library: flags, signals, the line that says that it is ready.

use bot::{
    Bot, BotError, Config, Finish, Flags, PerformError, Performance, Performed, Stop, TRIAL, TRIAL_PATIENCE,
    become_program,
};
use clap::Parser;
use runtime::{Exit, Shutdown, SystemClock, SystemEntropy, config::ConfigError};
use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    path::PathBuf,
    sync::Arc,
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
    config.trial = std::env::var_os(TRIAL).is_some();
    let stop = Stop::default();
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
        std::future::pending::<()>().await;
    };
    let clock = SystemClock::shared();
    tokio::select! {
        ended = bots(&config, &stop) => ended,
        () = signals => Ok(()),
        // The bot that tries this program may have been killed.
        () = clock.sleep(TRIAL_PATIENCE), if config.trial => {
            anyhow::bail!("the scheduler was not reached within {TRIAL_PATIENCE:?}")
        }
    }
}

/// One bot after the other, until one is told to stop: another one follows when a new program was of no use.
async fn bots(config: &Config, stop: &Stop) -> anyhow::Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let clock = SystemClock::shared();
    loop {
        let bot = Bot::open(config.clone(), Arc::clone(&clock), SystemEntropy::shared()).await?;
        say(&format!("bot {} ready", bot.id()));
        let Finish::Update(update) = bot.run_until(stop.clone()).await? else { return Ok(()) };
        tracing::info!(program = %update.digest, "trying another program");
        let tried = tokio::select! {
            tried = update.try_out(&arguments, None) => tried,
            // The trial is ended with it.
            () = stop.drain.requested() => return Ok(()),
        };
        let Err(reason) = tried.and_then(|()| {
            tracing::info!(program = %update.digest, "it works: going on as this program");
            become_program(&update, &arguments).map_err(|error| format!("cannot become it: {error}"))
        });
        tracing::error!(program = %update.digest, reason, "going on as before");
        if let Err(error) = update.note_failure(&reason, clock.now()) {
            tracing::warn!(%error, "cannot remember that: it may be tried again soon");
        }
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

/// `bot perform`: carries out the assignment that stdin says, without a scheduler. For `swarm reproduce`.
#[derive(Debug, Parser)]
#[command(name = "bot perform")]
struct PerformArguments {
    #[arg(long)]
    cas: String,
    #[arg(long)]
    ca_cert: Option<PathBuf>,
    #[arg(long)]
    cache: PathBuf,
    #[arg(long)]
    work: PathBuf,
    #[arg(long)]
    keep: bool,
    #[arg(long)]
    outputs: Option<PathBuf>,
    #[arg(long)]
    test: Option<String>,
}

/// Does what [`PerformArguments`] say and exits as the command does.
pub(crate) fn perform() -> Exit {
    runtime::telemetry::init("warn");
    let arguments = PerformArguments::parse_from(std::env::args_os().skip(1));
    match performed(arguments) {
        Ok(Performed { exit, message }) => {
            if !message.is_empty() {
                let _ = writeln!(io::stderr(), "{message}");
            }
            exit
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            match error.downcast_ref::<PerformError>() {
                Some(PerformError::Connect(_) | PerformError::Directory(_)) => Exit::Usage,
                _ => Exit::Internal,
            }
        }
    }
}

#[tokio::main]
async fn performed(arguments: PerformArguments) -> anyhow::Result<Performed> {
    let PerformArguments { cas, ca_cert, cache, work, keep, outputs, test } = arguments;
    let supervisor = Some("/proc/self/exe".into());
    let performance = Performance { cas, ca_cert, cache, work, keep, outputs, supervisor, test };
    let mut assignment = Vec::new();
    io::stdin().take(proto::limits::MAX_MESSAGE_BYTES as u64).read_to_end(&mut assignment)?;
    let shutdown = Shutdown::on_signals()?;
    let sink = |output: &[u8]| {
        let mut stdout = io::stdout().lock();
        stdout.write_all(output).and_then(|()| stdout.flush())
    };
    let means = (SystemClock::shared(), SystemEntropy::shared());
    Ok(performance.perform(&assignment, means, shutdown, sink).await?)
}
