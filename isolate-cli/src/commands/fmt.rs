//! `isolate fmt`.

use super::{Context, print, report};
use crate::{
    Error,
    isolate_file::{IsolateFileError, formatted},
    process::write_file,
    work_item::read,
};
use clap::Args;
use runtime::Exit;
use serde::Serialize;
use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  isolate fmt $(git ls-files '*.isolate')
  isolate fmt --check tests/*.isolate
  isolate fmt - < a.isolate

Comments, the order of lists and the meaning stay.
With --check, exits with 1 when a file would change. `isolate --help` lists the other exit codes.";

/// The exit code of `--check` for files that are not formatted.
const UNFORMATTED: Exit = Exit::Command(1);

/// Write .isolate files in their canonical form
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FmtArgs {
    /// The files; `-` formats stdin to stdout
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Change nothing, print the files that would change
    #[arg(long)]
    check: bool,
    /// Print the files that changed, or would, as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints. Keys are added, never renamed or removed.
#[derive(Serialize)]
struct FmtReport {
    changed: Vec<String>,
}

/// Formats all; none when one of them is wrong.
pub(crate) fn fmt(args: &FmtArgs, context: &Context) -> Result<Exit, Error> {
    if args.json && !args.check && args.files.iter().any(|path| path == Path::new("-")) {
        let reason = "its text goes to stdout, where --json prints: leave --json away, or add --check";
        return Err(Error::Argument { path: "-".into(), reason });
    }
    let mut changed = Vec::new();
    for path in &args.files {
        let before = text(path)?;
        let after = formatted(&before).map_err(|error| IsolateFileError::at(path, error.at, error.value))?;
        if path == Path::new("-") && !args.check {
            print(after.as_bytes())?;
        } else if before != after {
            changed.push((path, after));
        }
    }
    for (path, after) in &changed {
        if !args.check {
            write_file(path, after.as_bytes())?;
            context.say(&format!("formatted {}", path.display()));
        } else if !args.json {
            print(format!("{}\n", path.display()).as_bytes())?;
        }
    }
    if args.json {
        let changed = changed.iter().map(|(path, _)| path.display().to_string()).collect();
        print(&report::json(&FmtReport { changed }))?;
    }
    Ok(if args.check && !changed.is_empty() { UNFORMATTED } else { Exit::Success })
}

fn text(path: &Path) -> Result<String, Error> {
    if path == Path::new("-") {
        let mut text = String::new();
        let read =
            std::io::stdin().lock().take(crate::isolate_file::MAX_BYTES as u64 + 1).read_to_string(&mut text);
        return read.map(|_| text).map_err(|error| Error::io("stdin", error));
    }
    read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::Argument { path: path.to_owned(), reason: "no such file or directory" }
        }
        _ => Error::io(path, error),
    })
}
