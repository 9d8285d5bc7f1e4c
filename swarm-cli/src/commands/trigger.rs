//! `swarm trigger`: makes a run and tells its name.

mod fan_out_args;
mod merge;
mod run_file;
mod tests_args;

use super::Context;
use crate::{
    cli::{SchedulerArgs, duration},
    display::count,
    failure::Usage,
    json::EvaluationJson,
    model::{Evaluation, RunSpec, Slice, StepSpec},
    remote::{Novelty, Triggered},
};
use clap::Args;
use fan_out_args::FanOutArgs;
use proto::{
    Digest, EnvironmentPrefix, NamedCache, RelPath, RequestId, Requirement, Requirements, Secret, ShardId,
};
use runtime::Exit;
use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// What people most often want.
pub(crate) const EXAMPLES: &str = "\
Examples (of `trigger` and `run`; docs/testing.md goes from nothing to a sharded run):
  swarm run $DIGEST --driver gtest --name unit --max-bots 64
  swarm run $DIGEST --driver libtest --suite core --retries 2 --junit junit.xml
  swarm run $DIGEST --driver pytest --target-time 5m --json results.json
  swarm run $DIGEST --driver ctest --fail-fast --test-timeout 2m
  swarm run $DIGEST --driver bazel --partitions 40
  swarm run $DIGEST --driver gtest --only Parser.ReadsNothing --only Parser.ReadsAll
  swarm trigger $DIGEST --driver gtest  # prints the run's id and waits for nothing
  swarm run $DIGEST --shards 6        # a suite that cuts itself by GTEST_SHARD_INDEX and the like
  swarm run $DIGEST --shards 6 --merge 'cat parts/*/log > $ISOLATED_OUTDIR/log' --output-dir out
  swarm run --file nightly.toml       # a run of several steps: docs/testing.md has one
  git ls-files '*.c' | swarm run $DIGEST --items - --per-shard 50   # runs the command with 50 files each
  swarm run $DIGEST --items files --shards 8 -- --strict {items} --quiet
  swarm run $DIGEST -d pool=ci --each-bot --seen-within 7d --expiration 3d   # on every bot, also when it is back";

/// Of runs that do not say.
const PRIORITY: u8 = 100;

/// Trigger a run and print its id
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TriggerArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// Trigger nothing: say what would be, and which bots are there for it
    #[arg(long)]
    dry_run: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// What a file says of each step.
const OF_STEPS: [&str; 23] = [
    "input",
    "merge",
    "dimensions",
    "fallbacks",
    "wait_for_capacity",
    "environment",
    "environment_prefixes",
    "outputs",
    "named_caches",
    "hard_timeout",
    "io_timeout",
    "grace",
    "expiration",
    "max_attempts",
    "idempotent",
    "shards",
    "items",
    "per_shard",
    "each_bot",
    "seen_within",
    "driver",
    "command",
    "words",
];

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct SpecArgs {
    /// The isolated input, as `isolate archive` prints it
    #[arg(value_name = "DIGEST", required_unless_present = "file")]
    input: Option<Digest>,
    /// Read a run of several steps from this file, in TOML, or in JSON when it ends in .json. Its keys are the flags here
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_STEPS)]
    file: Option<PathBuf>,
    /// When all shards have ended, however they did, run this once over what they have left, which it finds in
    /// parts/INDEX: the command of an isolated input, or a line for /bin/sh. What it leaves in ${ISOLATED_OUTDIR} is the
    /// result of the run
    #[arg(long, value_name = "DIGEST|SCRIPT")]
    merge: Option<String>,
    /// A name for people; it also names the tests' suite in reports [default: `run`]
    #[arg(long)]
    name: Option<String>,
    /// Ask this of a bot (repeat: all must hold; `|` between values: any of them will do)
    #[arg(short, long = "dimension", value_name = "KEY=VALUE[|VALUE]")]
    dimensions: Vec<Requirement>,
    /// Ask for this instead when no bot takes the shard in time, or no bot fits: all dimensions that are to hold, and how
    /// long to wait for a bot (repeatable, tried in order)
    #[arg(long = "fallback", value_name = "KEY=VALUE[,KEY=VALUE][@DURATION]", value_parser = fallback)]
    fallbacks: Vec<Slice>,
    /// Wait for a bot until a shard expires, though none fits: it may yet be started
    #[arg(long)]
    wait_for_capacity: bool,
    /// 0 to 255, lower is sooner [default: 100]
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// Mark the run, to find it again (repeatable)
    #[arg(long = "tag", value_name = "KEY:VALUE", value_parser = tag)]
    tags: Vec<String>,
    /// Who asks for it
    #[arg(long, env = "USER", hide_env_values = true, default_value = "")]
    user: String,
    /// Set a variable of the command's environment; without a value, unset it (repeatable)
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    environment: Vec<(String, String)>,
    /// Put a directory of the input before all that a variable such as PATH has (repeatable, the first comes first)
    #[arg(long = "env-prefix", value_name = "NAME=PATH")]
    environment_prefixes: Vec<EnvironmentPrefix>,
    /// Keep this file or directory of the work directory, beside all that is in ${ISOLATED_OUTDIR} (repeatable)
    #[arg(long = "output", value_name = "PATH")]
    outputs: Vec<RelPath>,
    /// Put a directory that the bot keeps between runs at this path; bots tell those that they have as the dimension
    /// `caches` (repeatable)
    #[arg(long = "named-cache", value_name = "NAME=PATH")]
    named_caches: Vec<NamedCache>,
    /// Stop a shard that runs for longer [default: the scheduler's, 1h]; with --driver: a test that does, however long all
    /// of them take
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    hard_timeout: Option<Duration>,
    /// Stop a shard that prints nothing for longer
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    io_timeout: Option<Duration>,
    /// Time between TERM and KILL when a shard is stopped
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    grace: Option<Duration>,
    /// Give up on a shard that no bot takes for longer, or ask for its first fallback
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expiration: Option<Duration>,
    /// Try a shard this often when bots are lost
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    max_attempts: Option<u32>,
    /// The same properties give the same result: shards that have succeeded before, with outputs that the CAS still
    /// has, end at once with that result
    #[arg(long)]
    idempotent: bool,
    /// Give the commands the bytes of this file, `-` for stdin: in a file that their SWARM_SECRET_FILE names, while they
    /// run. Nobody can ask for them again
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The shard whose command triggers this run: the run is cancelled when that ends or is stopped. Inside of a task:
    /// `--parent $SWARM_SHARD_ID`
    #[arg(long, value_name = "SHARD")]
    parent: Option<ShardId>,
    /// Makes a repeated trigger answer with the run that it made first [default: a random one]
    #[arg(long, value_name = "ID")]
    request_id: Option<RequestId>,
    #[command(flatten)]
    fan_out: FanOutArgs,
    /// The words after `--` replace the manifest's command instead of being appended to it
    #[arg(long, requires = "words")]
    command: bool,
    /// Words to append to the command
    #[arg(last = true, value_name = "WORDS")]
    words: Vec<String>,
}

fn tag(text: &str) -> Result<String, Usage> {
    match text.split_once(':') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok(text.to_owned()),
        _ => Err(Usage("write KEY:VALUE".into())),
    }
}

fn fallback(text: &str) -> Result<Slice, Usage> {
    let refuse = |error: proto::DimensionError| Usage(error.to_string());
    // A value may contain an @, too.
    let (asked, expiration) = match text.rsplit_once('@').map(|(asked, time)| (asked, duration(time))) {
        Some((asked, Ok(expiration))) => (asked, Some(expiration)),
        Some((_, Err(_))) | None => (text, None),
    };
    let mut requirements = Requirements::default();
    for requirement in asked.split(',').filter(|one| !one.is_empty()) {
        requirements.insert(requirement.parse().map_err(refuse)?).map_err(refuse)?;
    }
    Ok(Slice { requirements, expiration, wait_for_capacity: false })
}

fn variable(text: &str) -> Result<(String, String), Usage> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Usage("write NAME=VALUE, or NAME= to unset it".into())),
    }
}

/// At most so many bytes of this file, or of stdin for `-`.
fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match path.to_str() {
        Some("-") => io::stdin().lock().take(most).read_to_end(&mut bytes)?,
        _ => std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// The bytes of this file, or of stdin for `-`.
pub(crate) fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    // One byte more says that it is too much.
    let read = read_at_most(path, proto::limits::MAX_SECRET_BYTES as u64 + 1);
    let bytes =
        read.map_err(|error| Usage(format!("cannot read the secret in {}: {error}", path.display())))?;
    Ok(Secret::new(&bytes).map_err(|error| Usage(error.to_string()))?)
}

impl SpecArgs {
    /// The run.
    pub(crate) fn spec(&self) -> Result<RunSpec, Usage> {
        if self.fan_out.read_stdin() && self.secret_file.as_deref() == Some(Path::new("-")) {
            return Err(Usage(
                "--items and --secret-file cannot both come from stdin: give one a file".into(),
            ));
        }
        let from_file = self.file.as_deref().map(run_file::read).transpose()?;
        let steps = match (&from_file, self.input) {
            (Some(file), _) => file.steps.clone(),
            (None, Some(input)) => {
                let step = self.step(input)?;
                let merge = self.merge.as_deref().map(|merge| merge::merging(merge, &step)).transpose()?;
                [step].into_iter().chain(merge).collect()
            }
            (None, None) => return Err(Usage("name an isolated input, or a --file".into())),
        };
        let of_file =
            |get: fn(&RunSpec) -> &String| from_file.as_ref().map(get).filter(|said| !said.is_empty());
        let user = of_file(|file| &file.user).unwrap_or(&self.user).clone();
        let name = self.name.as_ref().or(of_file(|file| &file.name));
        let name = name.cloned().unwrap_or_else(|| "run".into());
        let priority = self.priority.or(from_file.as_ref().map(|file| file.priority)).unwrap_or(PRIORITY);
        let tags = from_file.iter().flat_map(|file| &file.tags).chain(&self.tags).cloned().collect();
        Ok(RunSpec { name, user, tags, priority, steps, parent: self.parent })
    }

    /// The one that is said here.
    fn step(&self, input: Digest) -> Result<StepSpec, Usage> {
        let mut requirements = Requirements::default();
        for requirement in &self.dimensions {
            requirements.insert(requirement.clone()).map_err(|error| Usage(error.to_string()))?;
        }
        NamedCache::check(&self.named_caches).map_err(|error| Usage(error.to_string()))?;
        let name = self.name.clone().unwrap_or_else(|| "run".into());
        let (command, extra_args) =
            if self.command { (self.words.clone(), Vec::new()) } else { (Vec::new(), self.words.clone()) };
        let wait_for_capacity = self.wait_for_capacity;
        Ok(StepSpec {
            name,
            input: Some(input),
            command,
            extra_args,
            first: Slice { requirements, expiration: self.expiration, wait_for_capacity },
            fallbacks: self
                .fallbacks
                .iter()
                .map(|slice| Slice { wait_for_capacity, ..slice.clone() })
                .collect(),
            environment: self.environment.clone(),
            outputs: self.outputs.clone(),
            named_caches: self.named_caches.clone(),
            environment_prefixes: self.environment_prefixes.clone(),
            hard_timeout: self.hard_timeout,
            io_timeout: self.io_timeout,
            grace: self.grace,
            fan_out: self.fan_out.fan_out()?,
            max_attempts: self.max_attempts,
            idempotent: self.idempotent,
            after: vec![],
            includes: vec![],
        })
    }

    /// Makes the run of this [`Self::spec`]. A cut connection makes no second one.
    pub(crate) async fn trigger(
        &self,
        context: &Context,
        scheduler: &crate::remote::Scheduler,
        spec: &RunSpec,
    ) -> anyhow::Result<Triggered> {
        Ok(scheduler.trigger(&self.request(context)?, spec, self.secret()?.as_ref()).await?)
    }

    fn secret(&self) -> anyhow::Result<Option<Secret>> {
        self.secret_file.as_deref().map(read_secret).transpose()
    }

    fn request(&self, context: &Context) -> anyhow::Result<RequestId> {
        Ok(match &self.request_id {
            Some(request) => request.clone(),
            None => RequestId::new(&context.entropy.name())?,
        })
    }
}

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
pub(crate) struct TriggeredJson {
    run: String,
    shards: u32,
    created: bool,
    /// Shards that have ended with an earlier success.
    deduped: u32,
}

impl From<&Triggered> for TriggeredJson {
    fn from(triggered: &Triggered) -> Self {
        Self {
            run: triggered.run.to_string(),
            shards: triggered.shards,
            created: triggered.novelty == Novelty::Created,
            deduped: triggered.deduped,
        }
    }
}

pub(crate) async fn trigger(context: &Context, args: TriggerArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    if args.dry_run {
        let spec = &args.spec;
        let evaluation =
            scheduler.evaluate(&spec.request(context)?, &spec.spec()?, spec.secret()?.as_ref()).await?;
        context.console.print(if args.json {
            serde_json::to_string(&EvaluationJson::from(&evaluation))? + "\n"
        } else {
            render(&evaluation)
        });
        return Ok(Exit::Success);
    }
    let triggered = args.spec.trigger(context, &scheduler, &args.spec.spec()?).await?;
    let created = triggered.novelty == Novelty::Created;
    if args.json {
        context.console.print(serde_json::to_string(&TriggeredJson::from(&triggered))? + "\n");
    } else {
        if !created {
            context.console.note("this request id has made the run before");
        }
        if triggered.deduped > 0 {
            let of = format!("{} of {}", triggered.deduped, count(triggered.shards, "shard"));
            context.console.note(format!("{of} had succeeded before and need not be run"));
        }
        context.console.print(format!("{}\n", triggered.run));
    }
    Ok(Exit::Success)
}

fn render(evaluation: &Evaluation) -> String {
    if let Some(made) = evaluation.made {
        return format!("this request id has made run {made} before\n");
    }
    let mut text = format!("would make {}", count(evaluation.shards, "shard"));
    if evaluation.deduped > 0 {
        text += &format!(", {} of them with an earlier success", evaluation.deduped);
    }
    text.push('\n');
    let slices = evaluation.slices.iter().map(|slice| slice.slice).max().unwrap_or(0);
    let several = evaluation.slices.iter().any(|slice| slice.step > 0);
    for slice in &evaluation.slices {
        let (free, busy) = (slice.free_bots.len() as u64, slice.busy_bots.len() as u64);
        let bots = match (free, busy) {
            (0, 0) => "no bot fits".to_owned(),
            _ => format!("{} free, {busy} busy", count(free, "bot")),
        };
        let step = if several { format!("step {}: ", slice.step) } else { String::new() };
        let name = if slices > 0 { format!("slice {}: ", slice.slice + 1) } else { String::new() };
        text += &format!("  {step}{name}{bots}\n");
        for (criterion, bots) in &slice.obstacles {
            text += &format!("    {} kept away by {criterion}\n", count(bots.len() as u64, "bot"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SliceEvaluation;

    #[test]
    fn an_evaluation_says_who_is_there() {
        let slice = |slice, free: &[&str], obstacles| SliceEvaluation {
            step: 0,
            slice,
            busy_bots: vec![],
            free_bots: free.iter().map(ToString::to_string).collect(),
            obstacles,
        };
        let obstacles = vec![("os=Mac".to_owned(), vec!["b1".to_owned(), "b2".to_owned()])];
        let slices = vec![slice(0, &[], obstacles), slice(1, &["b1", "b2"], vec![])];
        let evaluation = Evaluation { made: None, shards: 4, deduped: 1, slices };
        insta::assert_snapshot!(render(&evaluation), @r"
        would make 4 shards, 1 of them with an earlier success
          slice 1: no bot fits
            2 bots kept away by os=Mac
          slice 2: 2 bots free, 0 busy
        ");
    }
}
