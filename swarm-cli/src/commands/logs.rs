//! `swarm logs`: what shards print.

use super::Context;
use crate::{
    cli::{RunOrShard, SchedulerArgs},
    console::Console,
    failure::NotFound,
    follow::{Arrival, arrivals},
    json::SCHEMA_VERSION,
    model::{Run, Shard},
    output::read_attempts,
    remote::{CallError, OutputChunk, OutputEnd, OutputStart, Scheduler},
};
use clap::Args;
use futures::StreamExt as _;
use proto::{RunId, ShardId};
use runtime::Exit;
use std::{ops::ControlFlow, pin::pin};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// At most so many shards of a run are followed at once.
const MAX_FOLLOWED: usize = 64;

/// Longest line that is held back until it is whole.
const MAX_LINE: usize = 16 * 1024;

/// Print what a shard printed, or all shards of a run
#[derive(Debug, Args)]
#[command(after_help = "Example: swarm logs -f 1hf7yat000005/0/3")]
pub(crate) struct LogsArgs {
    /// A run, or a shard (RUN/STEP/INDEX)
    #[arg(value_name = "RUN|SHARD")]
    id: RunOrShard,
    /// Go on until it ends; the shards of a run side by side, each line with its shard's name
    #[arg(short, long)]
    follow: bool,
    /// This attempt instead of the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Print a JSON document for each line; bytes that are no UTF-8 are replaced
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// What `--json` prints for each line.
#[derive(Debug, serde::Serialize)]
struct LineJson<'a> {
    schema_version: u32,
    shard: String,
    attempt: u32,
    /// Without its end; one that is longer than 16 KiB comes in pieces.
    line: std::borrow::Cow<'a, str>,
}

pub(crate) async fn logs(context: &Context, args: LogsArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let until = if args.follow { OutputEnd::Attempt } else { OutputEnd::Present };
    let from = OutputStart { attempt: args.attempt, offset: 0, until };
    let console = &*context.console;
    if args.json {
        as_json(&scheduler, args.id, from, console).await?;
        return Ok(Exit::Success);
    }
    match args.id {
        RunOrShard::Shard(shard) => {
            if until == OutputEnd::Attempt {
                let known = scheduler.get(shard.run).await?.shard(shard).is_some();
                known.then_some(()).ok_or_else(|| NotFound(format!("there is no shard {shard}")))?;
            }
            whole(&scheduler, shard, from, console).await?;
        }
        RunOrShard::Run(run) if until == OutputEnd::Present => {
            one_by_one(&scheduler, &scheduler.get(run).await?, from, console).await?;
        }
        RunOrShard::Run(run) => {
            // Others may come that have longer names.
            let known = scheduler.get(run).await?;
            let label = |shard: &Shard| known.prefix(shard).chars().count();
            let width = known.shards.iter().map(label).max().unwrap_or(0);
            let each = |Arrival { shard, label }| {
                let prefix = console.paint().dim(&format!("{label:>width$} | "));
                let scheduler = &scheduler;
                async move {
                    let print = |_, line: &[u8]| print_line(console, &prefix, line);
                    line_by_line(scheduler, &shard, from, console, print).await
                }
            };
            side_by_side(&scheduler, run, from, console, each).await?;
        }
    }
    Ok(Exit::Success)
}

/// A document for each line, shard by shard, or as lines come when they are followed.
async fn as_json(
    scheduler: &Scheduler,
    id: RunOrShard,
    from: OutputStart,
    console: &Console,
) -> anyhow::Result<()> {
    let print = |shard: &Shard| {
        let id = shard.id;
        move |attempt, line: &[u8]| print_json(console, id, attempt, line)
    };
    if let (RunOrShard::Run(run), OutputEnd::Attempt) = (id, from.until) {
        let each = |Arrival { shard, .. }| async move {
            line_by_line(scheduler, &shard, from, console, print(&shard)).await
        };
        return side_by_side(scheduler, run, from, console, each).await;
    }
    let run = scheduler.get(id.run()).await?;
    let wanted = |shard: &&Shard| match id {
        RunOrShard::Shard(wanted) => shard.id == wanted,
        // Those that wait have nothing to say yet.
        RunOrShard::Run(_) => !shard.attempts.is_empty() || shard.reused.is_some(),
    };
    let shards: Vec<&Shard> = run.shards.iter().filter(wanted).collect();
    if shards.is_empty() {
        return Err(NotFound(format!("nothing of {id} has been run yet")).into());
    }
    for shard in shards {
        line_by_line(scheduler, shard, from, console, print(shard)).await?;
    }
    Ok(())
}

fn print_json(console: &Console, shard: ShardId, attempt: u32, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    let document = LineJson { schema_version: SCHEMA_VERSION, shard: shard.to_string(), attempt, line };
    // Text and numbers: nothing in it can fail.
    if let Ok(text) = serde_json::to_string(&document) {
        console.print(text + "\n");
    }
}

/// The bytes as they are. Returns whether they end in the middle of a line.
async fn whole(
    scheduler: &Scheduler,
    shard: ShardId,
    from: OutputStart,
    console: &Console,
) -> anyhow::Result<bool> {
    let mut open_line = false;
    let print = |chunk: OutputChunk| {
        console.print_bytes(&chunk.data);
        open_line = chunk.data.last().map_or(open_line, |&last| last != b'\n');
        flow(console)
    };
    read_attempts(scheduler, shard, from, print, |lost| console.note(lost)).await?;
    Ok(open_line)
}

fn flow(console: &Console) -> ControlFlow<()> {
    if console.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Each shard under a title.
async fn one_by_one(
    scheduler: &Scheduler,
    run: &Run,
    from: OutputStart,
    console: &Console,
) -> anyhow::Result<()> {
    let has_attempt = |wanted: Option<u32>, attempts: usize| wanted.is_none_or(|n| n as usize <= attempts);
    let mut shown = 0;
    for shard in &run.shards {
        let attempts = shard.attempts.len() + usize::from(shard.reused.is_some());
        if attempts == 0 || !has_attempt(from.attempt, attempts) {
            continue;
        }
        shown += 1;
        console.print(format!("{}\n", console.paint().bold(&format!("==> {} <==", shard.id))));
        let read = whole(scheduler, shard.id, from, console).await;
        if gone(shard, read, console)?.unwrap_or(false) {
            console.print("\n");
        }
        if console.is_closed() {
            break;
        }
    }
    if shown == 0 {
        return Err(NotFound(format!("no shard of run {} has such an attempt yet", run.id)).into());
    }
    Ok(())
}

/// What a deduped shard printed may have gone with the run that it was deduped from: it is noted, and the others are
/// read.
fn gone<T>(shard: &Shard, read: anyhow::Result<T>, console: &Console) -> anyhow::Result<Option<T>> {
    match read {
        Err(error) if shard.reused.is_some() && is_not_found(&error) => {
            console.note(error.to_string());
            Ok(None)
        }
        read => read.map(Some),
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(CallError::NotFound { .. }))
}

/// All shards at once, those too that come while the run goes on, each by `read`.
async fn side_by_side<F: Future<Output = anyhow::Result<()>>>(
    scheduler: &Scheduler,
    run: RunId,
    from: OutputStart,
    console: &Console,
    read: impl Fn(Arrival) -> F,
) -> anyhow::Result<()> {
    let (tell, arrived) = mpsc::unbounded_channel();
    let arriving = arrivals(scheduler, run, from.attempt.unwrap_or(1), tell);
    let reading = async {
        let arrived = UnboundedReceiverStream::new(arrived).map(read);
        let mut each = pin!(arrived.buffer_unordered(MAX_FOLLOWED));
        while let Some(read) = each.next().await {
            read?;
            if console.is_closed() {
                break;
            }
        }
        // What is left is not read, which ends the arrivals.
        Ok(())
    };
    let (arriving, read) = futures::join!(arriving, reading);
    read.and(arriving.map_err(anyhow::Error::from))
}

/// What a shard prints, by lines and with the attempt that each is of.
async fn line_by_line(
    scheduler: &Scheduler,
    shard: &Shard,
    from: OutputStart,
    console: &Console,
    mut print: impl FnMut(u32, &[u8]),
) -> anyhow::Result<()> {
    let (mut lines, mut attempt) = (Lines::default(), 0);
    let take = |chunk: OutputChunk| {
        if attempt != chunk.attempt {
            lines.finish(|line| print(attempt, line));
            attempt = chunk.attempt;
        }
        lines.push(&chunk.data, |line| print(attempt, line));
        flow(console)
    };
    let read = read_attempts(scheduler, shard.id, from, take, |lost| console.note(lost)).await;
    gone(shard, read.map_err(anyhow::Error::from), console)?;
    lines.finish(|line| print(attempt, line));
    Ok(())
}

fn print_line(console: &Console, prefix: &str, line: &[u8]) {
    let mut text = Vec::with_capacity(prefix.len() + line.len() + 1);
    text.extend_from_slice(prefix.as_bytes());
    text.extend_from_slice(line);
    text.push(b'\n');
    console.print_bytes(&text);
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if self.begun.ends_with(b"\n") {
                self.begun.pop();
                take(&self.begun);
                self.begun.clear();
            } else if self.begun.len() >= MAX_LINE {
                take(&self.begun);
                self.begun.clear();
            }
        }
    }

    fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            take(&self.begun);
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_wherever_the_stream_is_cut() {
        for at in 0..9 {
            let (a, b) = b"one\n\ntwo!".split_at(at);
            let mut seen = Vec::new();
            let mut lines = Lines::default();
            lines.push(a, |line| seen.push(line.to_vec()));
            lines.push(b, |line| seen.push(line.to_vec()));
            lines.finish(|line| seen.push(line.to_vec()));
            assert_eq!(seen, [&b"one"[..], b"", b"two!"], "cut at {at}");
        }
    }
}
