//! `isolate watch`.

use super::{Context, print, report};
use crate::{
    Error, Watcher, human,
    process::joined,
    watch::{Ending, Place, Serving, Status, Watched},
    work_item::directory,
};
use clap::Args;
use runtime::Exit;
use serde::Serialize;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::task::{JoinSet, spawn_blocking};

const HELP: &str = "\
While it runs, `isolate archive` and `isolate batcharchive` of a watched directory, or of one
below it, look only at what changed since the last time. The outcome is the same. Every 10
minutes, and whenever anything is not certain, they look at every file as they do without it.
It ends by Ctrl-C, SIGTERM or --stop, when the directory is gone, or when nobody asked it
anything for --idle-timeout.

What the kernel does not tell is not seen until then: writes through a shared mapping after the
file was closed, by another name of the file (a hard link), or by another machine on a network
file system, and mounts that come later. `isolate archive --no-watch` sees them. Of a directory
that is at two places (a bind mount) nothing is certain, and one that who watches may not read
counts as changed: these are looked at each time. Who is among other mounts (a container) is told
nothing. Each directory takes one of fs.inotify.max_user_watches.

Examples:
  isolate watch out/Release &
  isolate watch --status out/Release
  isolate watch --stop out/Release

Prints `watching DIR` on stdout when it is ready. `isolate --help` lists the exit codes.";

/// Most changed paths that are remembered of a directory; where more change, everything may have.
const MOST: usize = 100_000;

/// Watch directories, so that archiving them again need not look at every file
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct WatchCommandArgs {
    /// Directories to watch, with all that is in them
    #[arg(value_name = "ROOT", default_value = ".")]
    roots: Vec<PathBuf>,
    /// End after so long without a question
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = humantime::parse_duration)]
    idle_timeout: Duration,
    /// Tell how those who watch these directories are
    #[arg(long, conflicts_with = "stop")]
    status: bool,
    /// End those who watch these directories
    #[arg(long)]
    stop: bool,
    /// Print what --status and --stop tell as JSON
    #[arg(long)]
    json: bool,
}

/// Watches until it is stopped, or tells of those who do.
pub(crate) async fn watch(args: WatchCommandArgs, context: &Context) -> Result<Exit, Error> {
    let roots = args.roots.iter().map(|root| directory(root)).collect::<Result<Vec<_>, _>>()?;
    match args.status || args.stop {
        true => ask(roots, &args).await,
        false => serve(roots, args.idle_timeout, context).await,
    }
}

/// One who watches, as JSON.
#[derive(Serialize)]
struct WatchReport {
    root: PathBuf,
    /// Whether somebody watches it; after --stop, whether somebody did.
    watched: bool,
    process: Option<u32>,
    directories: Option<usize>,
    changed: Option<usize>,
}

impl WatchReport {
    fn new(root: PathBuf, status: Option<Status>) -> Self {
        let status = status.as_ref();
        Self {
            root,
            watched: status.is_some(),
            process: status.map(|status| status.process),
            directories: status.map(|status| status.directories),
            changed: status.map(|status| status.changed),
        }
    }

    fn line(&self) -> String {
        let root = self.root.display();
        match (self.process, self.directories, self.changed) {
            (Some(process), Some(directories), Some(changed)) => format!(
                "{root}: watched by process {process}, {}, {} changed\n",
                directories_of(directories),
                human::counted(changed as u64, "path"),
            ),
            _ => format!("{root}: not watched\n"),
        }
    }
}

/// `1 directory`, `2 directories`.
fn directories_of(count: usize) -> String {
    format!("{} {}", human::count(count as u64), if count == 1 { "directory" } else { "directories" })
}

async fn ask(roots: Vec<PathBuf>, args: &WatchCommandArgs) -> Result<Exit, Error> {
    let (watcher, stop) = (Watcher::of_user()?, args.stop);
    let mut reports = Vec::with_capacity(roots.len());
    for root in roots {
        let status = if stop { watcher.stop(&root).await } else { watcher.status(&root).await };
        reports.push(WatchReport::new(root, status));
    }
    let lines: String = reports.iter().map(WatchReport::line).collect();
    match args.json {
        true => print(&report::json(&reports))?,
        false => print(lines.as_bytes())?,
    }
    Ok(if reports.iter().all(|report| report.watched) { Exit::Success } else { Exit::NotFound })
}

async fn serve(roots: Vec<PathBuf>, idle: Duration, context: &Context) -> Result<Exit, Error> {
    let place = Place::of_user()?;
    let mut serving = Vec::with_capacity(roots.len());
    for root in roots {
        serving.push(begin(&place, root, context.entropy.name()).await?);
    }
    let mut all = JoinSet::new();
    for serving in serving {
        let Status { root, directories, .. } = serving.status();
        print(format!("watching {} ({})\n", root.display(), directories_of(directories)).as_bytes())?;
        let (clock, shutdown) = (Arc::clone(&context.clock), context.shutdown.clone());
        all.spawn(async move { (root, serving.run(idle, clock, shutdown).await) });
    }
    let mut failed = None;
    while let Some(ended) = all.join_next().await {
        let (root, outcome) = joined(ended)?;
        match outcome {
            Ok(Ending::Signal) => {}
            Ok(Ending::Stopped) => context.say(&format!("{} is not watched any more", root.display())),
            Ok(Ending::Idle) => {
                context.say(&format!("{} is not watched any more: nobody asked", root.display()));
            }
            // The others are still of use.
            Err(source) => failed = Some(Error::Watch { root, source }),
        }
    }
    failed.map_or(Ok(Exit::Success), Err)
}

async fn begin(place: &Place, root: PathBuf, name: String) -> Result<Serving, Error> {
    let place = place.clone();
    let beginning = spawn_blocking(move || {
        let watched = Watched::begin(&root, name, MOST)
            .map_err(|source| Error::Watch { root: root.clone(), source })?;
        let serving = Serving::begin(&place, watched).map_err(|error| Error::io(place.dir(), error))?;
        serving.ok_or(Error::Argument { path: root, reason: "it is watched already" })
    });
    joined(beginning.await)?
}
