//! `isolate download`.

use super::{Context, print, report};
use crate::{
    Downloaded, Error,
    cli::{CacheArgs, CasArgs},
    download as library, human,
    progress::Bar,
};
use clap::Args;
use proto::Digest;
use runtime::Exit;
use std::{path::PathBuf, sync::Arc, time::Duration};

const EXAMPLES: &str = "\
Examples:
  isolate download blake3:af13...49/812 -o unit_tests

`isolate --help` lists the exit codes.";

/// Bring a packaged test, or the outputs of one, into a directory
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DownloadArgs {
    /// What `isolate archive` printed, as FUNCTION:HEX/SIZE
    #[arg(value_name = "DIGEST")]
    digest: Digest,
    /// Where to put it: a new or an empty directory
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Print counts and bytes as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cas: CasArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Downloads and tells how much on stderr.
pub(crate) async fn download(args: DownloadArgs, context: &Context) -> Result<Exit, Error> {
    let began = context.clock.elapsed();
    let store = args.cas.connect(context)?;
    let cache = args.cache.open()?;
    let bar = Bar::new(context.verbosity, Arc::clone(&context.clock));
    let outcome = library(&*store, &cache, args.digest, &args.output, &bar, &context.shutdown).await;
    bar.finish();
    let downloaded = outcome.map_err(|error| error.about(&args.cas.cas))?;
    let took = context.clock.elapsed().saturating_sub(began);
    context.say(&summary(downloaded, took));
    if args.json {
        print(&report::json(&report::DownloadReport::new(downloaded, took)))?;
    }
    Ok(Exit::Success)
}

fn summary(downloaded: Downloaded, took: Duration) -> String {
    format!(
        "downloaded {} ({}): fetched {} ({}), {} in the local cache, {}",
        human::counted(downloaded.files, "file"),
        human::bytes(downloaded.bytes),
        human::counted(downloaded.fetched_blobs, "blob"),
        human::bytes(downloaded.fetched_bytes),
        human::count(downloaded.cached_blobs),
        human::seconds(took),
    )
}
