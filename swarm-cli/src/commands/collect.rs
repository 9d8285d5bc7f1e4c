//! `swarm collect`: follows a run to its end and tells what it is worth.

use super::Context;
use crate::{
    cli::{CasArgs, SchedulerArgs, duration},
    coverage,
    display::{self, TestCounts},
    failure::{TimedOut, Usage},
    follow::{Acquaintance::Unknown, Followed, follow},
    interrupts::Interrupts,
    ledger::{self, Ledger},
    live,
    model::{Driver, Run, Shard, ShardState, TestResult},
    output::{self, Completeness},
    outputs,
    publish::write,
    remote::Scheduler,
    report::{self, ChromiumJson, Report, ReportJson, Totals},
    verdict::{self, Findings, Outcome, Verdict},
};
use anyhow::Context as _;
use cas::BlobStore;
use clap::Args;
use proto::{Digest, RunId, ShardId};
use runtime::Exit;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// At most so many failing shards have their output printed; the others are counted.
const MAX_OUTPUTS: usize = 20;

/// Why there is nothing for `--chromium-json`.
pub(crate) const NO_GTEST: &str =
    "--chromium-json is for suites that are shared out with --driver gtest, and no step of the run is";

/// Follow a run to its end and tell what its shards reported
///
/// Ctrl-C leaves; the run goes on.
#[derive(Debug, Args)]
#[command(after_help = format!("Example: swarm collect 1hf7yat000005 --junit report.xml\n\n{}", runtime::exit::HELP))]
pub(crate) struct CollectArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run: RunId,
    #[command(flatten)]
    how: CollectHow,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// How to collect.
#[derive(Debug, Args)]
pub(crate) struct CollectHow {
    /// Stop waiting after this time, with exit code 4; the run goes on
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Write the merged JUnit report here
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write run, shards and tests as JSON here (`-`: to stdout, and all else to stderr)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the results of GoogleTest suites here as Chromium's test launcher does; for `--driver gtest`
    #[arg(long, value_name = "FILE")]
    chromium_json: Option<PathBuf>,
    /// Download what the shards left into DIR/STEP-INDEX (DIR/STEP-BOT of --each-bot), and logs of tests that were shared out
    /// into DIR/STEP-test-logs. What a later step was given, and has made something of, is left out
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Gather the coverage that shards left among their outputs here: *.info files of lcov are added up, *.profraw files are
    /// merged by the `llvm-profdata` on the PATH
    #[arg(long, value_name = "FILE")]
    merge_coverage: Option<PathBuf>,
    /// Print so many last lines of each failing shard or test
    #[arg(long, value_name = "N", default_value_t = 200)]
    tail: usize,
    #[command(flatten)]
    cas: CasArgs,
}

impl CollectHow {
    /// To be called before anything is printed.
    pub(crate) fn prepare(&self, context: &Context) {
        if self.json.as_deref() == Some(Path::new("-")) {
            context.console.reserve_stdout();
        }
    }

    /// Refuses what a run that is cut like this cannot give.
    pub(crate) fn must_suit(&self, drivers: &[Driver]) -> Result<(), Usage> {
        let suits = self.chromium_json.is_none() || drivers.contains(&Driver::Gtest);
        if suits { Ok(()) } else { Err(Usage(NO_GTEST.into())) }
    }
}

pub(crate) async fn collect(context: &Context, args: CollectArgs) -> anyhow::Result<Exit> {
    args.how.prepare(context);
    let store = connect(context, &args.how, &args.scheduler)?;
    let scheduler = args.scheduler.connect(context)?;
    let mut interrupts = Interrupts::install().context("cannot listen to signals")?;
    let mut live = live::on(&context.console);
    let followed = tokio::select! {
        followed = follow(&scheduler, args.run, Unknown, args.how.timeout, &mut *live) => Some(followed),
        () = interrupts.next() => None,
    };
    live.finish();
    match followed.transpose()? {
        Some(Followed::Ended(run)) => {
            tell_or_leave(context, &scheduler, &*store, &run, &args.how, &mut interrupts).await
        }
        Some(Followed::TimedOut(seen)) => Err(out_of_time(args.run, seen.as_ref()).into()),
        None => {
            let id = args.run;
            let see = format!("see `swarm collect {id}`, `swarm cancel --kill {id}`");
            context.console.note(format!("interrupted: run {id} goes on without us; {see}"));
            Ok(Exit::Interrupted)
        }
    }
}

/// The CAS, which is first spoken to when the run has ended.
pub(crate) fn connect(
    context: &Context,
    how: &CollectHow,
    scheduler: &SchedulerArgs,
) -> anyhow::Result<Arc<dyn BlobStore>> {
    let (clock, entropy) = (Arc::clone(&context.clock), Arc::clone(&context.entropy));
    Ok(cas::connect(cas::Address::open(&how.cas.cas, scheduler.ca_cert.as_deref()), clock, entropy)?)
}

/// What to say when the run goes on and we do not.
pub(crate) fn out_of_time(run: RunId, seen: Option<&Run>) -> TimedOut {
    let stands = seen.map(|run| format!(" ({})", display::counts(run.counts))).unwrap_or_default();
    TimedOut(format!(
        "the run has not ended in time{stands}: it goes on, see `swarm collect {run}`, `swarm cancel --kill {run}`"
    ))
}

/// Tells what a run that has ended is worth, unless Ctrl-C comes first.
pub(crate) async fn tell_or_leave(
    context: &Context,
    scheduler: &Scheduler,
    store: &dyn BlobStore,
    run: &Run,
    how: &CollectHow,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    tokio::select! {
        told = tell(context, scheduler, store, run, how) => told,
        () = interrupts.next() => {
            let (id, state) = (run.id, run.state.name());
            let left = format!("interrupted before all of run {id} ({state}) was collected");
            context.console.note(format!("{left}: see `swarm collect {id}`"));
            Ok(Exit::Interrupted)
        }
    }
}

/// Tells what a run that has ended is worth, and writes what was asked for.
async fn tell(
    context: &Context,
    scheduler: &Scheduler,
    store: &dyn BlobStore,
    run: &Run,
    how: &CollectHow,
) -> anyhow::Result<Exit> {
    let console = &context.console;
    print_failing(context, scheduler, run, how.tail).await;
    let ledgers = ledger::ledgers(scheduler, run).await.context("cannot tell what became of the tests")?;
    print_failing_tests(context, &ledgers, how.tail);
    let report = report::merge(run, outputs::reports(store, run).await, &ledgers);
    let asked = how.junit.is_some() || how.json.is_some();
    let findings = match asked {
        true => report.findings.clone(),
        // Nobody asked for reports: a CAS that is away makes a run no worse.
        false => Findings { unreadable: 0, unreported: 0, ..report.findings.clone() },
    };
    let verdict = verdict::judge(run, &findings);
    let paint = console.paint();
    console.print(format!("\n{}", display::shard_table(run, &test_counts(&report), console.page())));
    console.print(display::failed_tests(run, &report, verdict.outcome, paint));
    let silent = asked && !report.has_tests();
    let silent =
        silent.then_some("no shard left a JUnit or gtest XML: in the report each counts as one test");
    for note in report.notes.iter().map(String::as_str).chain(silent) {
        console.note(format!("{}: {note}", console.note_paint().yellow("note")));
    }
    let outputs = match how.json {
        Some(_) => outputs::whole(store, run).await.unwrap_or_else(|error| {
            console.note(format!("what shards left has no digest as one tree: {error:#}"));
            None
        }),
        None => None,
    };
    let written = write_files(context, run, &report, &ledgers, (&verdict, outputs), how);
    let gathered = match &how.merge_coverage {
        Some(target) => {
            coverage::gather(store, run, target, Path::new(coverage::PROFDATA)).await.map(|what| {
                console.print(format!("{what}: {}\n", target.display()));
            })
        }
        None => Ok(()),
    };
    let downloaded = match &how.output_dir {
        Some(target) => outputs::download(store, run, target).await.map(|n| {
            console.print(format!("outputs of {}: {}\n", display::count(n, "shard"), target.display()));
        }),
        None => Ok(()),
    };
    console.print(display::verdict_line(run, &verdict, report.tests, paint));
    match (verdict.outcome, written.and(gathered).and(downloaded)) {
        (_, Ok(())) => Ok(verdict.exit()),
        (Outcome::Passed, Err(error)) => Err(error),
        // What the suite is worth is the better part of the news.
        (_, Err(error)) => {
            console.complain(&error);
            Ok(verdict.exit())
        }
    }
}

/// Tests of each shard that reported any.
fn test_counts(report: &Report) -> BTreeMap<ShardId, TestCounts> {
    let counts = report.suites.iter().filter_map(|suite| {
        let totals = Totals::of(&suite.cases);
        Some((suite.shard?, TestCounts { ran: totals.ran(), failed: totals.bad() }))
    });
    counts.filter(|(_, counts)| *counts != TestCounts::default()).collect()
}

fn write_files(
    context: &Context,
    run: &Run,
    report: &Report,
    ledgers: &[Ledger],
    (verdict, outputs): (&Verdict, Option<Digest>),
    how: &CollectHow,
) -> anyhow::Result<()> {
    let console = &context.console;
    if let Some(path) = &how.junit {
        write(path, &report::junit(run, report))?;
        console.print(format!("JUnit report: {}\n", path.display()));
    }
    if let Some(path) = &how.json {
        let document =
            serde_json::to_string_pretty(&ReportJson::new(run, report, verdict).with_outputs(outputs))?
                + "\n";
        if path == Path::new("-") {
            console.document(document);
        } else {
            write(path, &document)?;
            console.print(format!("JSON report: {}\n", path.display()));
        }
    }
    if let Some(path) = &how.chromium_json {
        if !ledgers.iter().any(|ledger| ledger.policy.driver == Driver::Gtest) {
            return Err(Usage(NO_GTEST.into()).into());
        }
        write(path, &(serde_json::to_string_pretty(&ChromiumJson::new(ledgers))? + "\n"))?;
        console.print(format!("Chromium report: {}\n", path.display()));
    }
    Ok(())
}

/// The end of what each shard printed that did not pass.
async fn print_failing(context: &Context, scheduler: &Scheduler, run: &Run, lines: usize) {
    // Those that were skipped nobody has run.
    let is_failing = |shard: &&Shard| !shard.is_good() && shard.state != ShardState::Skipped;
    let failing: Vec<&Shard> = run.shards.iter().filter(is_failing).collect();
    let console = &context.console;
    for shard in failing.iter().take(MAX_OUTPUTS) {
        let title = format!("==> shard {}: {}", run.title(shard), display::state_text(shard));
        let reason = if shard.reason().is_empty() { String::new() } else { format!(": {}", shard.reason()) };
        console.print(format!("\n{}{reason}\n", console.paint().bold(&title)));
        match output::tail(scheduler, shard, lines).await {
            Ok(tail) => {
                if tail.completeness == Completeness::Cut {
                    let note = format!("[the last lines; all of it: swarm logs {}]", shard.id);
                    console.print(format!("{}\n", console.paint().dim(&note)));
                }
                console.print(tail.text);
                // A colour that was left on is theirs, not ours.
                console.print(console.paint().reset());
            }
            Err(error) => console.note(format!("its output cannot be read: {error}")),
        }
    }
    if failing.len() > MAX_OUTPUTS {
        let more = display::count((failing.len() - MAX_OUTPUTS) as u64, "shard");
        console.print(format!("\n{more} more did not pass: see `swarm logs SHARD`\n"));
    }
}

/// The end of what each failed test printed.
fn print_failing_tests(context: &Context, ledgers: &[Ledger], lines: usize) {
    let console = &context.console;
    let failing = || {
        let results = ledgers.iter().flat_map(|ledger| &ledger.results);
        results.filter(|result| result.outcome.is_failure())
    };
    for result in failing().take(MAX_OUTPUTS) {
        console.print(failing_test(result, lines, console.paint()));
    }
    if let Some(more) = failing().count().checked_sub(MAX_OUTPUTS + 1) {
        let more = display::count(more as u64 + 1, "test");
        console.print(format!("\n{more} more did not pass: see `swarm tests RUN --state failed`\n"));
    }
}

fn failing_test(result: &TestResult, lines: usize, paint: display::Paint) -> String {
    let Some(one) = result.deciding() else { return String::new() };
    let title = format!("==> {}: {} on {}", result.name, result.outcome.name(), one.bot);
    let mut text = format!("\n{} after {}\n", paint.bold(&title), display::duration(one.took));
    if !one.message.is_empty() {
        text.push_str(&format!("{}\n", one.message.trim_end()));
    }
    let tail = output::last_lines(&one.output, Completeness::Whole, lines);
    text + &tail.text + paint.reset()
}
