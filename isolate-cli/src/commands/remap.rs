//! `isolate remap`.

use super::{Context, archive::left_out, inputs::InputArgs, print, report};
use crate::{Error, cli::CacheArgs, human, progress::Bar, remap as library};
use clap::Args;
use runtime::Exit;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

const EXAMPLES: &str = "\
Examples:
  isolate remap -i unit_tests.isolate -o /tmp/unit_tests && cd /tmp/unit_tests && ./unit_tests

Prints the directory on stdout. `isolate --help` lists the exit codes.";

/// Lay a test out in a directory on this machine, exactly as packaged, without a server
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RemapArgs {
    #[command(flatten)]
    inputs: InputArgs,
    /// Where to put it: a new or an empty directory [default: a new one among the temporary files]
    #[arg(short, long, alias = "outdir", value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print directory, digest, counts and bytes as JSON instead of the directory
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// What `--json` prints. Keys are added, never renamed or removed.
#[derive(Serialize)]
struct RemapReport {
    directory: String,
    packaged: report::CheckReport,
}

/// Lays out and tells where.
pub(crate) async fn remap(args: RemapArgs, context: &Context) -> Result<Exit, Error> {
    let inputs = args.inputs.resolve(Path::new(""))?;
    let output = inputs.output();
    let cache = args.cache.open()?;
    // Goes away again unless all goes well.
    let temporary = match args.output {
        Some(_) => None,
        None => {
            let made = tempfile::Builder::new().prefix("isolate-").tempdir();
            Some(made.map_err(|error| Error::io(std::env::temp_dir(), error))?)
        }
    };
    let named = args.output.as_deref();
    let target = named.or(temporary.as_ref().map(TempDir::path)).unwrap_or(Path::new(".")).to_owned();
    let bar = Arc::new(Bar::new(context.verbosity, Arc::clone(&context.clock)));
    let monitor = Arc::<Bar>::clone(&bar);
    let work = library(inputs.item, &inputs.options, &cache, &target, monitor, &context.shutdown);
    let outcome = work.await;
    bar.finish();
    let (packaged, laid_out) = outcome?;
    if let Some(output) = output {
        output.write(&packaged.manifest)?;
    }
    temporary.map(TempDir::keep);
    context.say_left_out(&packaged.skipped);
    context.say(&format!(
        "laid out {} ({}){}",
        human::counted(laid_out.files, "file"),
        human::bytes(laid_out.bytes),
        left_out(packaged.skipped.len())
    ));
    let directory = target.display().to_string();
    match args.json {
        true => {
            print(&report::json(&RemapReport { directory, packaged: report::CheckReport::new(&packaged) }))?;
        }
        false => print(format!("{directory}\n").as_bytes())?,
    }
    Ok(Exit::Success)
}
