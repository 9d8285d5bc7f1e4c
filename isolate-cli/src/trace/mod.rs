//! What a command needs, found out by watching it: it runs under strace, and what it used below a root directory and was
//! there before becomes a description.

mod log;
mod used;

use crate::{
    Error, default_exclude,
    isolate_file::{Block, Document, Placed, Position, relative_path},
    process::interruptible,
};
use runtime::Shutdown;
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
};
use tokio::process::Command;
pub(crate) use used::{Folded, folded};
use used::{Inventory, Used};

/// What was seen of a command.
#[derive(Debug)]
pub struct Traced {
    /// The real path of the directory below which it was watched.
    pub root: PathBuf,
    /// How it ended, as a shell tells it.
    pub exit: u8,
    used: Used,
    before: Inventory,
}

/// Runs `command` in `cwd` and watches what it uses below `root`, both real paths. `without` is never an input: what is made
/// of this, perhaps.
pub async fn trace(
    command: &[String],
    cwd: &Path,
    root: &Path,
    without: Option<&Path>,
    shutdown: &Shutdown,
) -> Result<Traced, Error> {
    let before = Inventory::take(root, without)?;
    let scratch = tempfile::tempdir().map_err(|error| Error::io(std::env::temp_dir(), error))?;
    let log = scratch.path().join("log");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-s", "65536", "-e", "signal=none", "-e", log::CALLS, "-o"]);
    strace.arg(&log).arg("--").args(command).current_dir(cwd).kill_on_drop(true);
    let status = interruptible(shutdown, async { strace.status().await.map_err(cannot_start) }).await?;
    // strace itself said why on stderr.
    if fs::metadata(&log).map_or(0, |metadata| metadata.len()) == 0 {
        let program = command.first().map_or("", String::as_str);
        let reason = format!("strace could not start or follow `{program}` (exit code {})", code(status));
        return Err(Error::Trace { reason });
    }
    let read = fs::File::open(&log).and_then(|file| log::accesses(io::BufReader::new(file), cwd));
    let used = before.used(&read.map_err(|error| Error::io(&log, error))?);
    Ok(Traced { root: root.to_owned(), used, exit: code(status), before })
}

fn cannot_start(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::Trace {
            reason: "strace is not installed: `apt-get install strace`, or your system's way".into(),
        },
        _ => Error::io("strace", error),
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

impl Traced {
    /// Files and symlinks that it used, by path from the root.
    pub fn used(&self) -> &BTreeSet<PathBuf> {
        &self.used.files
    }

    /// A description, to be put into the directory `home`, of the command that was started there and what it used.
    /// Tells besides which used files no description can name.
    pub fn description(&self, command: &[String], home: &Path) -> Result<(Document, Vec<PathBuf>), Error> {
        let Folded { inputs, unnamed } = self.before.folded(&self.used, &default_exclude()?);
        let placed = |text: String| Placed::new(text, Position::START);
        let from_home = |input: String| {
            let slash = if input.ends_with('/') { "/" } else { "" };
            format!("{}{slash}", relative_path(home, &self.root.join(&input)))
        };
        let files: BTreeSet<String> = inputs.into_iter().map(from_home).collect();
        let command = command.iter().enumerate().map(|(at, word)| placed(self.portable(word, home, at == 0)));
        let variables = Block {
            command: command.collect(),
            files: files.into_iter().map(placed).collect(),
            read_only: None,
        };
        Ok((Document { variables, ..Document::default() }, unnamed.into_iter().collect()))
    }

    /// A word of the command line; one that is a path below the root becomes relative, as the copy lies elsewhere.
    fn portable(&self, word: &str, home: &Path, is_program: bool) -> String {
        if !Path::new(word).starts_with(&self.root) {
            return word.to_owned();
        }
        let relative = relative_path(home, Path::new(word));
        if is_program && !relative.contains('/') { format!("./{relative}") } else { relative }
    }
}
