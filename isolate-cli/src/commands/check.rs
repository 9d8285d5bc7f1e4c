//! `isolate check`.

use super::{Context, archive::left_out, inputs::InputArgs, print, report, report::CheckReport};
use crate::{
    Error, Packaged, human, package, process::interruptible, progress::Bar, trace, work_item::directory,
};
use clap::Args;
use runtime::Exit;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  isolate check -i unit_tests.isolate -s out/unit_tests.isolated
  isolate check -i unit_tests.isolate --trace

Prints `DIGEST  NAME` as `isolate archive` would.
With --trace, lines begin with `+` for what is used and not packaged, and with `-` for what is
packaged and not used; exits with 1 when there are any. `isolate --help` lists the other exit codes.";

/// The exit code for descriptions that name too little or too much.
const DIFFERENT: Exit = Exit::Command(1);

/// Check and hash what would be packaged, without a server
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    inputs: InputArgs,
    /// Run the command where its inputs are, and tell which files are missing or not needed
    #[arg(long)]
    trace: bool,
    /// Directory below which used files have to be packaged [default: the root of the packaged tree]
    #[arg(long, value_name = "DIR", requires = "trace")]
    trace_root: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Packages, writes what was asked for, and tells the digest.
pub(crate) async fn check(args: CheckArgs, context: &Context) -> Result<Exit, Error> {
    let inputs = args.inputs.resolve(Path::new(""))?;
    let output = inputs.output();
    let item = inputs.item.clone();
    let bar = Arc::new(Bar::new(context.verbosity, Arc::clone(&context.clock)));
    let work = package(inputs.item, &inputs.options, None, Arc::<Bar>::clone(&bar));
    let outcome = interruptible(&context.shutdown, work).await;
    bar.finish();
    let packaged = outcome?;
    if let Some(output) = output {
        output.write(&packaged.manifest)?;
    }
    context.say_left_out(&packaged.skipped);
    context.say(&format!(
        "checked {} ({}){}",
        human::counted(packaged.files(), "file"),
        human::bytes(packaged.bytes()),
        left_out(packaged.skipped.len())
    ));
    if args.trace {
        let cwd = item.relative_cwd.as_ref().map_or(item.root.clone(), |cwd| item.root.join(cwd.as_path()));
        let root = directory(args.trace_root.as_deref().unwrap_or(&item.root))?;
        return compare(&packaged, &item.root, &cwd, &root, args.json, context).await;
    }
    match args.json {
        true => print(&report::json(&CheckReport::new(&packaged)))?,
        false => print(format!("{}  {}\n", packaged.digest, inputs.name).as_bytes())?,
    }
    Ok(Exit::Success)
}

/// What `--trace --json` prints. Keys are added, never renamed or removed.
#[derive(Serialize)]
struct TraceReport {
    /// Used and not packaged, from the root of the packaged tree.
    missing: Vec<String>,
    /// Packaged and not used.
    unneeded: Vec<String>,
    /// How the command ended.
    exit_code: u8,
}

async fn compare(
    packaged: &Packaged,
    tree: &Path,
    cwd: &Path,
    root: &Path,
    json: bool,
    context: &Context,
) -> Result<Exit, Error> {
    let command = &packaged.isolated.command;
    if command.is_empty() {
        return Err(Error::Trace { reason: "there is no command: add one to the description".into() });
    }
    let traced = trace(command, cwd, root, None, &context.shutdown).await?;
    let used: BTreeSet<PathBuf> = traced.used().iter().map(|path| root.join(path)).collect();
    let given: BTreeSet<PathBuf> =
        packaged.isolated.files.keys().map(|path| tree.join(path.as_path())).collect();
    let told = |path: &PathBuf| crate::isolate_file::relative_path(tree, path);
    let report = TraceReport {
        missing: used.difference(&given).map(told).collect(),
        unneeded: given.difference(&used).map(told).collect(),
        exit_code: traced.exit,
    };
    if json {
        print(&report::json(&report))?;
    } else {
        let mut text = String::new();
        for (mark, paths) in [('+', &report.missing), ('-', &report.unneeded)] {
            for path in paths {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{mark} {path}");
            }
        }
        print(text.as_bytes())?;
    }
    if traced.exit != 0 {
        context
            .say(&format!("the command failed with {}: it may need more than it came to use", traced.exit));
    }
    let same = report.missing.is_empty() && report.unneeded.is_empty();
    Ok(if same { Exit::Success } else { DIFFERENT })
}
