//! `isolate show`.

use super::{Context, print};
use crate::{Error, cli::CasArgs, human, process::interruptible};
use cas::{
    BlobStoreExt as _,
    isolated::{Entry, Isolated, ReadOnly},
};
use clap::Args;
use proto::{Digest, limits};
use runtime::Exit;
use std::fmt::Write as _;

/// List what a packaged test consists of
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// What `isolate archive` printed, as FUNCTION:HEX/SIZE
    #[arg(value_name = "DIGEST")]
    digest: Digest,
    /// Print the manifest as it is stored
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    cas: CasArgs,
}

/// Prints the manifest.
pub(crate) async fn show(args: ShowArgs, context: &Context) -> Result<Exit, Error> {
    let digest = args.digest;
    let refuse = |source| Error::Manifest { digest, source };
    if digest.size() > limits::MAX_MANIFEST_BYTES {
        let limit = limits::MAX_MANIFEST_BYTES;
        return Err(refuse(cas::isolated::IsolatedError::TooLarge { size: digest.size(), limit }));
    }
    let store = args.cas.connect(context)?;
    let bytes = interruptible(&context.shutdown, store.get(digest)).await;
    let bytes = bytes.map_err(|error| error.about(&args.cas.cas))?;
    let isolated = Isolated::parse(&bytes).map_err(refuse)?;
    if args.raw {
        print(&bytes)?;
    } else {
        print(listing(&isolated).as_bytes())?;
    }
    Ok(Exit::Success)
}

fn listing(isolated: &Isolated) -> String {
    let mut text = String::new();
    let cwd = isolated.relative_cwd.as_ref().map_or(".", |cwd| cwd.as_str());
    let writable = match isolated.read_only {
        ReadOnly::Writable => "everything",
        ReadOnly::Files => "directories, no input files",
        ReadOnly::FilesAndDirs => "nothing",
    };
    let files = human::counted(isolated.files.len() as u64, "file");
    // Writing to a string does not fail.
    let _ = writeln!(text, "command:  {}", shell_words(&isolated.command));
    let _ = writeln!(text, "starts in: {cwd}");
    let _ = writeln!(text, "may write: {writable}");
    let _ = writeln!(text, "function: {}", isolated.function);
    let _ = writeln!(text, "{files} ({}):", human::bytes(isolated.total_bytes()));
    for (path, entry) in &isolated.files {
        let _ = match entry {
            Entry::File { digest, mode } => {
                let mode = mode.map_or("----".to_owned(), |mode| format!("{mode:04o}"));
                writeln!(text, "  {mode} {:>10}  {path}", human::bytes(digest.size()))
            }
            Entry::Tar { digest, .. } => writeln!(text, "  tar  {:>10}  {path}", human::bytes(digest.size())),
            Entry::Symlink { target } => writeln!(text, "  link {:>10}  {path} -> {target}", ""),
        };
    }
    text
}

/// As one would type them.
fn shell_words(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let quoted = words.iter().map(|word| match word.chars().all(plain) && !word.is_empty() {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}
