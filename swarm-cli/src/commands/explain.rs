//! `swarm explain`: why pending shards have no bot, and what others wait for.

use super::Context;
use crate::{
    cli::{RunOrShard, SchedulerArgs},
    display::{Paint, count, utc},
    json::ExplanationJson,
    model::Explanation,
};
use clap::Args;
use runtime::Exit;

/// Say why pending shards have no bot
#[derive(Debug, Args)]
#[command(after_help = "Example: swarm explain 1hf7yat000005")]
pub(crate) struct ExplainArgs {
    /// A run, or a shard (RUN/STEP/INDEX)
    #[arg(value_name = "RUN|SHARD")]
    id: RunOrShard,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

pub(crate) async fn explain(context: &Context, args: ExplainArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let steps = scheduler.explain(&args.id.to_string()).await?;
    let console = &context.console;
    if args.json {
        let steps: Vec<_> = steps.iter().map(ExplanationJson::from).collect();
        console.print(serde_json::to_string_pretty(&steps)? + "\n");
        return Ok(Exit::Success);
    }
    let mut open = steps.iter().filter(|step| open_shards(step)).peekable();
    if open.peek().is_none() {
        console.print("no shard is pending\n");
    }
    for note in steps.iter().filter(|step| !open_shards(step)) {
        console.print(format!("step {}: {}\n", note.step, note.summary));
    }
    for step in open {
        console.print(if step.waiting_shards.is_empty() {
            render(step, console.paint())
        } else {
            render_waiting(step, console.paint())
        });
    }
    Ok(Exit::Success)
}

/// Whether it is about shards that are not run yet. Otherwise it is a note on the step.
fn open_shards(step: &Explanation) -> bool {
    !step.pending_shards.is_empty() || !step.waiting_shards.is_empty()
}

fn render_waiting(step: &Explanation, paint: Paint) -> String {
    let (shards, which) = (step.waiting_shards.len() as u64, list(&step.waiting_shards));
    let shards = count(shards, "waiting shard");
    format!("{}\n  step {}: {shards} ({which})\n", paint.bold(&step.summary), step.step)
}

fn render(step: &Explanation, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.bold(&step.summary));
    let shards = count(step.pending_shards.len() as u64, "pending shard");
    let mut line = |line: String| text.push_str(&format!("  {line}\n"));
    line(format!("step {}: {shards} ({})", step.step, list(&step.pending_shards)));
    if step.ahead > 0 {
        line(format!("{} of this and other runs go first", count(step.ahead, "shard")));
    }
    if !step.place.is_empty() {
        line(step.place.clone());
    }
    for (what, bots) in [("fit and are busy", &step.busy_bots), ("fit and have a free slot", &step.free_bots)]
    {
        if !bots.is_empty() {
            line(format!("{} {what}: {}", count(bots.len() as u64, "bot"), list(bots)));
        }
    }
    for (criterion, bots) in &step.obstacles {
        line(format!(
            "{} kept away by {}: {}",
            count(bots.len() as u64, "bot"),
            paint.yellow(criterion),
            list(bots)
        ));
    }
    let last = step.slice + 1 >= step.slices;
    if step.slices > 1 {
        line(format!("slice {} of {}", step.slice + 1, step.slices));
    }
    let then = if last { "ends" } else { "asks for its next slice" };
    if let Some(at) = step.no_resource {
        line(format!("{then} at {} when no bot that fits has called", utc(at)));
    }
    if let Some(expires) = step.expires {
        let (what, when) = if last { ("expires", "") } else { (then, " at the latest") };
        line(format!("{what} at {}{when}", utc(expires)));
    }
    text
}

/// The first few, and how many more.
fn list(items: &[impl ToString]) -> String {
    const SHOWN: usize = 12;
    let mut texts: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    if items.len() > SHOWN {
        texts.push(format!("and {} more", items.len() - SHOWN));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_reads_from_the_summary_down() {
        let step = Explanation {
            step: 0,
            pending_shards: (0..15).collect(),
            waiting_shards: vec![],
            waiting_for: vec![],
            ahead: 1,
            busy_bots: vec!["a".into()],
            free_bots: vec![],
            obstacles: vec![("os=windows".into(), vec!["b".into(), "c".into()])],
            expires: None,
            summary: "waits for bot a to have a free slot".into(),
            place: "priority 100, taking turns with 1 other user".into(),
            slice: 1,
            slices: 3,
            no_resource: Some(proto::Timestamp::from_micros(1_700_000_000_000_000)),
        };
        insta::assert_snapshot!(render(&step, Paint::Plain), @r"
        waits for bot a to have a free slot
          step 0: 15 pending shards (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, and 3 more)
          1 shard of this and other runs go first
          priority 100, taking turns with 1 other user
          1 bot fit and are busy: a
          2 bots kept away by os=windows: b, c
          slice 2 of 3
          asks for its next slice at 2023-11-14T22:13:20Z when no bot that fits has called
        ");
    }
    #[test]
    fn what_waits_for_earlier_steps_is_told_of_in_two_lines() {
        let summary = "2 shards wait for step `build` (1 of 1 shards have not ended)".to_owned();
        let waiting_shards = vec![0, 1];
        let step = Explanation { step: 1, waiting_shards, summary, ..Explanation::default() };
        insta::assert_snapshot!(render_waiting(&step, Paint::Plain), @r"
        2 shards wait for step `build` (1 of 1 shards have not ended)
          step 1: 2 waiting shards (0, 1)
        ");
    }
}
