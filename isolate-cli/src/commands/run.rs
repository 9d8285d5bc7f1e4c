//! `isolate run`.

use super::Context;
use crate::{
    Error, RunOptions,
    cli::{CacheArgs, CasArgs},
    prepare,
    progress::Bar,
};
use clap::Args;
use proto::Digest;
use runtime::Exit;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  isolate run blake3:af13...49/812
  isolate run blake3:af13...49/812 --outdir results -- --gtest_filter=Parser.*

The command finds the directory for its outputs as ${ISOLATED_OUTDIR} in its arguments and environment.

Exits with the command's own code, or 128 + N when signal N ended it. When it could not be run,
stderr says `error: ...` and the code is one of those that `isolate --help` lists.";

/// Run a packaged test here, in a fresh copy that goes away afterwards
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// What `isolate archive` printed, as FUNCTION:HEX/SIZE
    #[arg(value_name = "DIGEST")]
    digest: Digest,
    /// Arguments that follow those of the packaged command
    #[arg(last = true, value_name = "EXTRA_ARGS")]
    extra_args: Vec<String>,
    /// Keep what the command writes to ${ISOLATED_OUTDIR} in this new or empty directory
    #[arg(long, value_name = "DIR")]
    outdir: Option<PathBuf>,
    /// Where the fresh copy is made [default: the system's directory for temporary files]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    #[command(flatten)]
    cas: CasArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Runs and hands on how it ended.
pub(crate) async fn run(args: RunArgs, context: &Context) -> Result<Exit, Error> {
    let store = args.cas.connect(context)?;
    let cache = args.cache.open()?;
    let options = RunOptions { extra_args: args.extra_args, outdir: args.outdir, work_dir: args.work_dir };
    let bar = Bar::new(context.verbosity);
    let outcome = prepare(&*store, &cache, args.digest, &options, &bar, &context.shutdown).await;
    // From here on the terminal is the command's.
    bar.finish();
    let prepared = outcome.map_err(|error| error.about(&args.cas.cas))?;
    prepared.run(&*context.clock).await
}
