//! `isolate run`.

use super::{Context, inputs::DescriptionArgs, old::outdir_of_run, report};
use crate::{
    Error, Prepared, RunOptions,
    cli::{CacheArgs, CasArgs, cache_dir},
    prepare,
    process::write_file,
    progress::Bar,
    store_locally,
};
use cas::{disk::DiskCache, named::NamedCaches};
use clap::Args;
use proto::{Digest, NamedCache};
use runtime::Exit;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  isolate run blake3:af13...49/812
  isolate run blake3:af13...49/812 --output-dir results -- --gtest_filter=Parser.*
  isolate run -i unit_tests.isolate --config-variable OS=linux   # packaged here, with no server

The command finds the directory for its outputs as ${ISOLATED_OUTDIR} in its arguments and environment.

Exits with the command's own code, or 128 + N when signal N ended it. When it could not be run,
stderr says `error: ...` and the code is one of those that `isolate --help` lists.";

/// Run a packaged test here, in a fresh copy that goes away afterwards
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// What `isolate archive` printed, as FUNCTION:HEX/SIZE
    #[arg(value_name = "DIGEST", required_unless_present_any = ["isolate", "isolated"], conflicts_with_all = ["isolate", "isolated"])]
    digest: Option<Digest>,
    #[command(flatten)]
    description: DescriptionArgs,
    /// Arguments that follow those of the packaged command
    #[arg(last = true, value_name = "EXTRA_ARGS")]
    extra_args: Vec<String>,
    /// Keep what the command writes to ${ISOLATED_OUTDIR} in this new or empty directory
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// In the original, the directory to lay the tree out in
    #[arg(short, long, value_name = "DIR", hide = true, value_parser = outdir_of_run)]
    outdir: Option<String>,
    /// Write how the command ended and the seconds that it took to a file, as JSON
    #[arg(long, value_name = "FILE")]
    dump_json: Option<PathBuf>,
    /// Where the fresh copy is made [default: the system's directory for temporary files]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Put a directory that is kept between runs at this path of the copy; may be repeated
    #[arg(long = "named-cache", value_name = "NAME=PATH")]
    named_caches: Vec<NamedCache>,
    /// Where these are kept [default: $XDG_CACHE_HOME/isoswarm/named]; the copy is made beside them
    #[arg(long, value_name = "DIR")]
    named_cache_root: Option<PathBuf>,
    #[command(flatten)]
    cas: CasArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// What `--dump-json` writes. Keys are added, never renamed or removed.
#[derive(Serialize)]
struct RunReport {
    /// The command's own, or 128 and the number of the signal that ended it.
    exit_code: u8,
    seconds: f64,
}

/// Runs and hands on how it ended.
pub(crate) async fn run(args: RunArgs, context: &Context) -> Result<Exit, Error> {
    let named_caches = args.caches()?;
    let cache = args.cache.open()?;
    let bar = Arc::new(Bar::new(context.verbosity, Arc::clone(&context.clock)));
    let options = RunOptions {
        extra_args: args.extra_args,
        outdir: args.output_dir,
        work_dir: args.work_dir,
        named_caches,
    };
    let outcome = match args.digest {
        Some(digest) => {
            let store = args.cas.connect(context)?;
            let prepared = prepare(&*store, &cache, digest, &options, &*bar, &context.shutdown).await;
            prepared.map_err(|error| error.about(&args.cas.cas))
        }
        None => packaged(&args.description, &cache, &options, &bar, context).await,
    };
    // From here on the terminal is the command's.
    bar.finish();
    let began = context.clock.elapsed();
    let exit = outcome?.run(&*context.clock).await?;
    if let (Some(file), Exit::Command(exit_code)) = (&args.dump_json, exit) {
        let seconds = context.clock.elapsed().saturating_sub(began).as_secs_f64();
        write_file(file, &report::json(&RunReport { exit_code, seconds }))?;
    }
    Ok(exit)
}

/// What the description says, by way of the local cache.
async fn packaged(
    description: &DescriptionArgs,
    cache: &DiskCache,
    options: &RunOptions,
    bar: &Arc<Bar>,
    context: &Context,
) -> Result<Prepared, Error> {
    let inputs = description.resolve(Path::new(""))?;
    let output = inputs.output();
    let monitor = Arc::<Bar>::clone(bar);
    let local = store_locally(inputs.item, &inputs.options, cache, monitor, &context.shutdown).await?;
    if let Some(output) = output {
        output.write(&local.packaged.manifest)?;
    }
    bar.finish();
    context.say_left_out(&local.packaged.skipped);
    let digest = local.packaged.digest;
    prepare(&local.store, cache, digest, options, &**bar, &context.shutdown).await
}

impl RunArgs {
    /// The named caches that are asked for.
    fn caches(&self) -> Result<Option<(NamedCaches, Vec<NamedCache>)>, Error> {
        NamedCache::check(&self.named_caches).map_err(|source| Error::NamedCache { source })?;
        if self.named_caches.is_empty() {
            return Ok(None);
        }
        let root = cache_dir(self.named_cache_root.as_deref(), "named", "--named-cache-root")?;
        let options = self.cache.named_options();
        Ok(Some((NamedCaches::open(&root, options)?, self.named_caches.clone())))
    }
}
