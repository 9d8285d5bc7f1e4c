//! `swarm up`: CAS, scheduler and bots on this machine, until Ctrl-C or the end of a command.

use super::Context;
use crate::{
    display::count,
    failure::{self, TimedOut},
    interrupts::Interrupts,
    json::SCHEMA_VERSION,
    model::BotHealth,
    remote::{BotFilter, Scheduler},
    up::{Foreground, Layout, Plan, Programs, Storage, Swarm},
};
use anyhow::Context as _;
use bytesize::ByteSize;
use clap::Args;
use runtime::Exit;
use std::{
    ffi::OsString,
    io::Write as _,
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

/// Bots that are ready are known to the scheduler within this time.
const REGISTRATION: Duration = Duration::from_secs(30);

/// How long the command gets between TERM and KILL.
const COMMAND_GRACE: Duration = Duration::from_secs(10);

/// Bring up a CAS, a scheduler and bots on this machine, until Ctrl-C
///
/// When one of them ends by itself, all are stopped. None outlives this program, however it ends.
#[derive(Debug, Args)]
#[command(after_help = format!("Example: swarm up --bots 4 --ephemeral -- make test\n\n{}", runtime::exit::HELP))]
pub(crate) struct UpArgs {
    /// How many bots
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    bots: u32,
    /// How many shards each bot runs at once [default: the bot's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    slots: Option<u32>,
    /// Describe every bot further (repeatable)
    #[arg(short, long = "dimension", value_name = "KEY=VALUE")]
    dimensions: Vec<String>,
    /// Where data, caches and logs live [default: isoswarm below $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    data: Option<PathBuf>,
    /// Keep everything in a temporary directory, which is removed at the end
    #[arg(long)]
    ephemeral: bool,
    /// Where the CAS listens [default: 127.0.0.1:8980, or a free port when that is taken]
    #[arg(long, value_name = "ADDRESS")]
    cas_listen: Option<SocketAddr>,
    /// Where the scheduler listens [default: 127.0.0.1:8990, or a free port when that is taken]
    #[arg(long, value_name = "ADDRESS")]
    scheduler_listen: Option<SocketAddr>,
    /// The CAS's byte budget, for instance 20GiB [default: the CAS's own]
    #[arg(long, value_name = "SIZE")]
    cas_size: Option<ByteSize>,
    /// Write the variables that name the servers here, once everything is ready
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Print where everything is as JSON, once it is ready
    #[arg(long, conflicts_with = "command")]
    json: bool,
    /// Run this command with those variables, then stop everything and exit with its code
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl UpArgs {
    fn plan(&self) -> Plan {
        Plan {
            bots: self.bots,
            slots: self.slots,
            dimensions: self.dimensions.clone(),
            cas_listen: self.cas_listen,
            scheduler_listen: self.scheduler_listen,
            cas_size: self.cas_size,
        }
    }

    fn storage(&self) -> Storage {
        if self.ephemeral { Storage::Ephemeral } else { Storage::Kept(self.data.clone()) }
    }
}

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct UpJson<'a> {
    schema_version: u32,
    /// URLs.
    cas: &'a str,
    scheduler: &'a str,
    bots: Vec<&'a str>,
    /// Where data and logs are.
    data: &'a Path,
}

/// What is running, so that all of it can be stopped from one place.
struct Up {
    swarm: Swarm,
    command: Option<Foreground>,
    env_file: Option<EnvFile>,
}

pub(crate) async fn up(context: &Context, args: UpArgs) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::install().context("cannot listen to signals")?;
    let programs = Programs::find()?;
    let layout = Layout::take(&args.storage())?;
    let mut up = Up { swarm: Swarm::new(layout), command: None, env_file: None };
    let outcome = tokio::select! {
        outcome = up.serve(context, &args, &programs) => outcome,
        () = interrupts.next() => Ok(if args.command.is_empty() { Exit::Success } else { Exit::Interrupted }),
    };
    let exit = outcome.unwrap_or_else(|error| {
        // Now, as stopping what is left may take a while.
        context.console.complain(&error);
        failure::exit_code(&error)
    });
    if !matches!(exit, Exit::Command(_)) {
        context.console.note("stopping (Ctrl-C to kill)");
    }
    drop(up.env_file.take());
    if let Some(command) = &mut up.command {
        command.stop(COMMAND_GRACE).await;
    }
    let stopped = tokio::select! {
        () = up.swarm.stop() => true,
        () = interrupts.next() => false,
    };
    if !stopped {
        up.swarm.kill().await;
    }
    Ok(exit)
}

impl Up {
    /// Starts everything; then runs the command, or goes on until a process ends that should not.
    async fn serve(&mut self, context: &Context, args: &UpArgs, programs: &Programs) -> anyhow::Result<Exit> {
        let urls = self.swarm.start(&args.plan(), programs).await?;
        let scheduler =
            Scheduler::new(&urls.scheduler, None, Arc::clone(&context.clock), Arc::clone(&context.entropy))?;
        let bots: Vec<String> = self.swarm.bots().map(str::to_owned).collect();
        tokio::select! {
            known = registered(&scheduler, &bots) => known?,
            broken = self.swarm.broken() => return Err(broken?.into()),
        }
        let variables = [("ISOSWARM_CAS", urls.cas), ("ISOSWARM_SCHEDULER", urls.scheduler)];
        if let Some(path) = &args.env_file {
            self.env_file = Some(EnvFile::write(path, &variables)?);
        }
        if args.command.is_empty() {
            context.console.print(if args.json { self.json(&variables)? } else { self.welcome(&variables) });
            return Err(self.swarm.broken().await?.into());
        }
        let command = self.command.insert(Foreground::start(&args.command, &variables)?);
        tokio::select! {
            status = command.wait() => Ok(hand_on(status.context("cannot wait for the command")?)),
            broken = self.swarm.broken() => Err(broken?.into()),
        }
    }

    fn json(&self, [cas, scheduler]: &[(&str, String); 2]) -> serde_json::Result<String> {
        let document = UpJson {
            schema_version: SCHEMA_VERSION,
            cas: &cas.1,
            scheduler: &scheduler.1,
            bots: self.swarm.bots().collect(),
            data: self.swarm.layout().root(),
        };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    fn welcome(&self, variables: &[(&str, String)]) -> String {
        let bots: Vec<&str> = self.swarm.bots().collect();
        let data = self.swarm.layout().root().display();
        let mut text = format!("up with {}; data and logs in {data}\n", count(bots.len() as u64, "bot"));
        for (name, value) in variables {
            text.push_str(&format!("export {name}={value}\n"));
        }
        text + "Ctrl-C stops it\n"
    }
}

/// Waits until the scheduler knows all of these bots.
async fn registered(scheduler: &Scheduler, bots: &[String]) -> anyhow::Result<()> {
    let all = async {
        for tries in 0.. {
            let known = scheduler.bots(&BotFilter::default(), 0, "").await?.0;
            let alive = |id: &String| known.iter().any(|bot| bot.id == *id && bot.health != BotHealth::Dead);
            if bots.iter().all(alive) {
                break;
            }
            scheduler.back_off(tries).await;
        }
        Ok(())
    };
    tokio::time::timeout(REGISTRATION, all).await.unwrap_or_else(|_| {
        let seconds = REGISTRATION.as_secs();
        Err(TimedOut(format!("the scheduler does not know all bots after {seconds} s")).into())
    })
}

/// The exit code of the command, as a shell would tell it.
fn hand_on(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    Exit::Command(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// A file of variables that is there for as long as they are true.
struct EnvFile {
    path: PathBuf,
}

impl EnvFile {
    /// Scripts wait for the file to appear: it appears whole.
    fn write(path: &Path, variables: &[(&str, String)]) -> anyhow::Result<Self> {
        let failed = || format!("cannot write {}", path.display());
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir).with_context(failed)?;
        for (name, value) in variables {
            writeln!(file, "export {name}={value}").with_context(failed)?;
        }
        file.persist(path).with_context(failed)?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.path);
    }
}
