//! `isolate archive`.

use super::{Context, inputs::InputArgs, print, report::ArchiveReport};
use crate::{
    Archived, Error, archive as library,
    cli::{CasArgs, WatchArgs},
    human,
    process::{interruptible, write_file},
    progress::Bar,
};
use clap::Args;
use runtime::Exit;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const USAGE: &str = "\
isolate archive [OPTIONS] <PATH>... [-- <COMMAND>...]
       isolate archive [OPTIONS] -i <FILE>
       isolate archive [OPTIONS] -s <FILE>";

const EXAMPLES: &str = "\
Examples:
  isolate archive -i unit_tests.isolate --config-variable OS=linux --path-variable OUT=../../out
  isolate archive --root out/Release unit_tests data/ -- ./unit_tests --gtest_color=no

Prints `DIGEST  NAME` on stdout. DIGEST is what `isolate run` and `swarm trigger` take.
`isolate --help` lists the exit codes.";

/// Package a test with everything that it needs, and upload what the CAS does not have yet
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(crate) struct ArchiveArgs {
    #[command(flatten)]
    inputs: InputArgs,
    /// Write digest, counts and bytes to a file, as JSON
    #[arg(long, value_name = "FILE")]
    dump_json: Option<PathBuf>,
    /// Print digest, counts and bytes as JSON instead of `DIGEST  NAME`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    cas: CasArgs,
}

/// Archives, tells the digest on stdout and the rest on stderr.
pub(crate) async fn archive(args: ArchiveArgs, context: &Context) -> Result<Exit, Error> {
    let began = context.clock.elapsed();
    let mut inputs = args.inputs.resolve(Path::new(""))?;
    inputs.options.watching = args.watch.watching(&args.cas, context);
    let output = inputs.output();
    let store = args.cas.connect(context)?;
    let bar = Arc::new(Bar::new(context.verbosity, Arc::clone(&context.clock)));
    let work = library(&*store, inputs.item, &inputs.options, Arc::<Bar>::clone(&bar));
    let outcome = interruptible(&context.shutdown, work).await;
    bar.finish();
    let archived = outcome.map_err(|error| error.about(&args.cas.cas))?;
    let took = context.clock.elapsed().saturating_sub(began);

    if let Some(output) = output {
        output.write(&archived.item.manifest)?;
    }
    let report = ArchiveReport::new(&archived, took);
    if let Some(file) = &args.dump_json {
        write_file(file, &report.to_json())?;
    }
    context.say_left_out(&archived.item.skipped);
    context.say(&summary(&archived, took));
    match args.json {
        true => print(&report.to_json())?,
        false => print(format!("{}  {}\n", archived.item.digest, inputs.name).as_bytes())?,
    }
    // The program ends here: giving back the names of a large tree one by one would take a tenth of the time.
    std::mem::forget(archived);
    Ok(Exit::Success)
}

fn summary(archived: &Archived, took: Duration) -> String {
    let uploaded = archived.uploaded;
    format!(
        "archived {} ({}): uploaded {} ({}), {} already there{}, {}",
        human::counted(archived.item.files, "file"),
        human::bytes(archived.item.bytes),
        human::counted(uploaded.uploaded_blobs, "blob"),
        human::bytes(uploaded.uploaded_bytes),
        human::count(uploaded.present_blobs),
        left_out(archived.item.skipped.len()),
        human::seconds(took),
    )
}

/// `, left out 2 broken inputs`, or nothing.
pub(crate) fn left_out(skipped: usize) -> String {
    match skipped {
        0 => String::new(),
        count => format!(", left out {}", human::counted(count as u64, "broken input")),
    }
}
