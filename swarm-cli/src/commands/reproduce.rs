//! `swarm reproduce`: does here what a bot did.

use super::{Context, trigger::read_secret};
use crate::{
    cli::{CasArgs, SchedulerArgs},
    failure::Usage,
    json::AssignmentJson,
    remote::Assignment,
    up::{program, terminate},
};
use anyhow::Context as _;
use clap::Args;
use proto::ShardId;
use runtime::Exit;
use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::AsyncWriteExt as _,
    process::Command,
    signal::unix::{SignalKind, signal},
};

const EXAMPLES: &str = "\
Examples:
  swarm reproduce 1hf7yat000005/0/3
  swarm reproduce 1hf7yat000005/0/3 --test Parser.ReadsNothing
  swarm reproduce 1hf7yat000005/0/3 --output-dir results -- --gtest_filter=Parser.*
  swarm reproduce 1hf7yat000005/0/3 --json         # what a bot is told, without running it
  swarm reproduce 1hf7yat000005/0/3 --work /tmp/look   # what was laid out stays in /tmp/look/work/1/in

Exits with the command's own code, or 128 + N when signal N ended it; with --test 0 when that has
passed or was skipped, 1 when it has not, 3 when its runner does not know it. When it could not be run, stderr
says why and the code is one of those that `swarm --help` lists.";

/// Run a shard here as a bot did: the same input, command, environment and timeouts
///
/// Nothing is uploaded. Blobs of the input stay in the cache that `isolate` uses, too. Directories that bots keep between
/// runs begin empty.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReproduceArgs {
    /// The shard (RUN/STEP/INDEX)
    #[arg(value_name = "SHARD")]
    shard: ShardId,
    /// Run this test alone, by its full name, of a step that shares out its tests: as bots do, with the fixtures of ctest
    /// that it needs, the variables of Bazel's protocol, and so on
    #[arg(long, value_name = "TEST")]
    test: Option<String>,
    /// Lay the input out in this new or empty directory, and leave it there [default: one that goes away]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Put what the command leaves into this new directory
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// The cache of blobs [default: $XDG_CACHE_HOME/isoswarm/blobs]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// The secret of the run, in this file, `-` for stdin: the scheduler tells it to nobody
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Run nothing: print what a bot is told of the shard as JSON
    #[arg(long)]
    json: bool,
    /// Words to append to the command
    #[arg(last = true, value_name = "WORDS")]
    words: Vec<String>,
    #[command(flatten)]
    cas: CasArgs,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

pub(crate) async fn reproduce(context: &Context, args: ReproduceArgs) -> anyhow::Result<Exit> {
    let secret = args.secret_file.as_deref().map(read_secret).transpose()?;
    let scheduler = args.scheduler.connect(context)?;
    let told = scheduler.assignment(args.shard).await?;
    check_test(context, &told, args.test.as_deref())?;
    if args.json {
        let shown = told.shown(&args.words)?;
        let document = AssignmentJson::new(args.shard, &shown, told.has_secret);
        context.console.print(serde_json::to_string_pretty(&document)? + "\n");
        return Ok(Exit::Success);
    }
    let bot = program("bot")?;
    let assignment = told.encode(&args.words, secret.as_ref());
    if told.has_secret && secret.is_none() {
        context
            .console
            .note("the run has a secret, which its command will miss here: give it with --secret-file");
    }
    for dir in args.work.iter().chain(&args.output_dir) {
        must_be_empty(dir)?;
    }
    let temporary = match args.work {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("isoswarm-reproduce-").tempdir()?),
    };
    let work = args.work.as_deref().or(temporary.as_ref().map(|dir| dir.path()));
    let mut command = Command::new(&bot);
    command.arg("perform").arg("--cas").arg(&args.cas.cas).arg("--cache").arg(cache_dir(args.cache_dir)?);
    for (flag, path) in [
        ("--work", work),
        ("--outputs", args.output_dir.as_deref()),
        ("--ca-cert", args.scheduler.ca_cert.as_deref()),
    ] {
        if let Some(path) = path {
            command.arg(flag).arg(path);
        }
    }
    if args.work.is_some() {
        command.arg("--keep");
    }
    if let Some(test) = &args.test {
        // As one word: a name may begin with a hyphen.
        command.arg(format!("--test={test}"));
    }
    // Ctrl-C reaches the bot, too, and TERM is passed on to it: it ends the command, and we end when it has.
    let (_int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut child =
        command.stdin(Stdio::piped()).kill_on_drop(true).spawn().context("cannot start the bot")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A bot that does not read it says why itself.
        let _ = stdin.write_all(&assignment).await;
    }
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit(status?)),
            _ = term.recv() => terminate(&child),
        }
    }
}

/// One test can be run of a step that shares out its tests; without one, says what is run instead.
fn check_test(context: &Context, told: &Assignment, test: Option<&str>) -> Result<(), Usage> {
    match (told.driver, test) {
        (None, Some(test)) => Err(Usage(format!(
            "--test {test} is for steps that share out their tests (--driver): write the command's own words after --"
        ))),
        (Some(driver), None) => {
            let what = "the shard took tests as the scheduler gave them; here the whole command is run";
            context.console.note(format!("{what} ({}): name one test with --test", driver.name()));
            Ok(())
        }
        (Some(_), Some(_)) | (None, None) => Ok(()),
    }
}

fn exit(status: ExitStatus) -> Exit {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(Exit::Internal, Exit::Command)
}

fn must_be_empty(dir: &Path) -> Result<(), Usage> {
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(false) => Err(Usage(format!("{} is not empty: name another directory", dir.display()))),
        Err(error) => Err(Usage(format!("cannot use {}: {error}", dir.display()))),
    }
}

fn cache_dir(given: Option<PathBuf>) -> Result<PathBuf, Usage> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = || absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let dir = given.or_else(|| Some(base()?.join("isoswarm").join("blobs")));
    dir.ok_or_else(|| Usage("there is no HOME: name a directory with --cache-dir".into()))
}
