//! `swarm rerun`: runs again, by themselves, the tests of a run that were not shown to be good.

use super::{
    Context,
    list_tests::must_have_tests,
    trigger::{TriggeredJson, read_secret},
};
use crate::{
    cli::SchedulerArgs,
    display::count,
    failure::Usage,
    json::SCHEMA_VERSION,
    ledger::{Ledger, ledgers},
    model::{FanOut, Run, RunSpec, StepSpec},
};
use clap::Args;
use proto::{RequestId, RunId};
use runtime::Exit;
use std::{collections::BTreeMap, path::PathBuf};

const EXAMPLES: &str = "\
Examples:
  swarm rerun 1hf7yat000005 --failed --dry-run       # which tests that would be
  swarm collect $(swarm rerun 1hf7yat000005 --failed)";

/// Run the failed tests of a run again, by themselves
///
/// The same steps, on the same input, with nothing but these tests. Prints the new run's id. Failed means: not shown to be good. Tests that crashed, timed out, that no runner knew, or of which nobody has told,
/// are among them. What failed in quarantine is not.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RerunArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run: RunId,
    /// The tests that were not shown to be good
    #[arg(long, required = true)]
    failed: bool,
    /// Trigger nothing: print the tests, one a line
    #[arg(long)]
    dry_run: bool,
    /// The secret of the run, in this file, `-` for stdin: the scheduler tells it to nobody
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Makes a repeated trigger answer with the run that it made first [default: a random one]
    #[arg(long, value_name = "ID")]
    request_id: Option<RequestId>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// What `--dry-run --json` prints.
#[derive(Debug, serde::Serialize)]
struct TestsToRunJson {
    schema_version: u32,
    tests: Vec<String>,
}

pub(crate) async fn rerun(context: &Context, args: RerunArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let console = &context.console;
    let run = scheduler.get(args.run).await?;
    must_have_tests(&run)?;
    if !run.state.is_final() {
        let id = run.id;
        return Err(Usage(format!("run {id} has not ended: wait for it with `swarm collect {id}`")).into());
    }
    let ledgers = ledgers(&scheduler, &run).await?;
    let spec = again(&run, &ledgers)?;
    let tests = || spec.steps.iter().filter_map(StepSpec::tests).flat_map(|policy| &policy.only);
    if args.dry_run && args.json {
        let answer = TestsToRunJson { schema_version: SCHEMA_VERSION, tests: tests().cloned().collect() };
        console.print(serde_json::to_string_pretty(&answer)? + "\n");
        return Ok(Exit::Success);
    }
    if spec.steps.is_empty() {
        console.note(format!("run {} has no failed test", run.id));
        return Ok(Exit::Success);
    }
    if args.dry_run {
        console.print(tests().map(|name| format!("{name}\n")).collect::<String>());
        return Ok(Exit::Success);
    }
    let secret = args.secret_file.as_deref().map(read_secret).transpose()?;
    if run.has_secret && secret.is_none() {
        let what = "the run has a secret, which the scheduler tells to nobody: give it with --secret-file";
        return Err(Usage(what.into()).into());
    }
    let request = match args.request_id {
        Some(request) => request,
        None => RequestId::new(&context.entropy.name())?,
    };
    let triggered = scheduler.trigger(&request, &spec, secret.as_ref()).await?;
    if args.json {
        console.print(serde_json::to_string(&TriggeredJson::from(&triggered))? + "\n");
    } else {
        console.note(format!("{} of run {} again", count(tests().count() as u64, "test"), run.id));
        console.print(format!("{}\n", triggered.run));
    }
    Ok(Exit::Success)
}

/// The steps, and whole those whose outputs they are given. What else they have waited for has nothing to do with their tests.
fn with_earlier(mut steps: BTreeMap<u32, StepSpec>, all: &[StepSpec]) -> Vec<StepSpec> {
    let mut given: Vec<u32> = steps.keys().copied().collect();
    while let Some(number) = given.pop() {
        let includes = steps.get(&number).map(|step| step.includes.clone()).unwrap_or_default();
        for earlier in includes.iter().map(|include| include.step) {
            if let Some(step) = all.get(earlier as usize).filter(|_| !steps.contains_key(&earlier)) {
                steps.insert(earlier, step.clone());
                given.push(earlier);
            }
        }
    }
    let numbers: BTreeMap<u32, u32> = steps.keys().copied().zip(0..).collect();
    let mut steps: Vec<StepSpec> = steps.into_values().collect();
    for step in &mut steps {
        step.after.retain(|after| numbers.contains_key(&after.step));
        step.after.iter_mut().for_each(|after| after.step = numbers[&after.step]);
        step.includes.iter_mut().for_each(|include| include.step = numbers[&include.step]);
    }
    steps
}

/// The steps that have such tests, with these alone. A run that ends with a shard has nothing to end with any more.
fn again(run: &Run, ledgers: &[Ledger]) -> Result<RunSpec, Usage> {
    let mut steps = BTreeMap::new();
    for ledger in ledgers {
        let Some(step) = run.spec.steps.get(ledger.step as usize) else { continue };
        if ledger.counts.is_none() {
            let name = run.name_of_step(ledger.step);
            return Err(Usage(format!(
                "the tests of {name} were never listed: trigger the whole step again"
            )));
        }
        let failed = |outcome: crate::model::TestOutcome| outcome.is_failure() || outcome.is_unresolved();
        let only: Vec<String> = ledger
            .results
            .iter()
            .filter(|result| failed(result.outcome))
            .map(|result| result.name.clone())
            .collect();
        if only.is_empty() {
            continue;
        }
        let fan_out = FanOut::Tests(crate::model::TestsPolicy { only, ..ledger.policy.clone() });
        steps.insert(ledger.step, StepSpec { fan_out, ..step.clone() });
    }
    let steps = with_earlier(steps, &run.spec.steps);
    let lacks_items =
        |step: &&StepSpec| matches!(&step.fan_out, FanOut::Items(items) if items.items.is_empty());
    if let Some(step) = steps.iter().find(lacks_items) {
        let what = "the scheduler does not tell the items of a step again: trigger the whole run again";
        return Err(Usage(format!("the tests are given the outputs of step `{}`: {what}", step.name)));
    }
    let mut tags = run.spec.tags.clone();
    tags.push(format!("rerun-of:{}", run.id));
    Ok(RunSpec { steps, tags, parent: None, ..run.spec.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{After, Demand, OutputOf, RunState},
        testing::{completed, run},
    };

    #[test]
    fn steps_come_with_those_whose_outputs_they_are_given() {
        let step = run(RunState::Failed, vec![completed(0, 1)]).spec.steps.remove(0);
        let named = |name: &str, after: &[u32], includes: &[u32]| StepSpec {
            name: name.into(),
            after: after.iter().map(|step| After { step: *step, demand: Demand::Succeeded }).collect(),
            includes: includes
                .iter()
                .map(|step| OutputOf { step: *step, into: "x".parse().unwrap() })
                .collect(),
            ..step.clone()
        };
        let all = [
            named("lint", &[], &[]),
            named("build", &[], &[]),
            named("tests", &[0, 1], &[1]),
            named("end", &[2], &[]),
        ];
        let steps = with_earlier(BTreeMap::from([(2, all[2].clone())]), &all);
        assert_eq!(steps, [named("build", &[], &[]), named("tests", &[0], &[0])]);
    }
}
