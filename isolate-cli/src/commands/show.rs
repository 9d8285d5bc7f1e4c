//! `isolate show`.

use super::{
    Context, print, report,
    source::{ManifestName, SourceArgs},
};
use crate::{Error, human};
use cas::isolated::{Entry, Isolated, ReadOnly};
use clap::Args;
use proto::RelPath;
use runtime::Exit;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _};

const EXAMPLES: &str = "\
Examples:
  isolate show blake3:af13...49/812
  isolate show out/unit_tests.isolated --json

`isolate --help` lists the exit codes.";

/// Show what a packaged test consists of, as a tree with sizes
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShowArgs {
    /// What `isolate archive` printed, as FUNCTION:HEX/SIZE, or an .isolated file
    #[arg(value_name = "DIGEST")]
    manifest: ManifestName,
    /// Print the manifest as it is stored
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArgs,
}

/// Prints the manifest.
pub(crate) async fn show(args: ShowArgs, context: &Context) -> Result<Exit, Error> {
    if args.raw {
        print(&args.source.bytes(&args.manifest, context).await?)?;
        return Ok(Exit::Success);
    }
    let isolated = args.source.load(&args.manifest, context).await?;
    match args.json {
        true => print(&report::json(&Listing::new(&isolated)))?,
        false => print(listing(&isolated).as_bytes())?,
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
    let _ = writeln!(text, "command:    {}", shell_words(&isolated.command));
    let _ = writeln!(text, "starts in:  {cwd}");
    let _ = writeln!(text, "may write:  {writable}");
    let _ = writeln!(text, "function:   {}", isolated.function);
    let _ = writeln!(text, "{files} ({}):", human::bytes(isolated.total_bytes()));
    let sizes = sizes(isolated);
    let mut above: Vec<&str> = Vec::new();
    for (path, entry) in &isolated.files {
        let components: Vec<&str> = path.components().collect();
        let (name, directories) = components.split_last().expect("a path has a component");
        let same = above.iter().zip(directories).take_while(|(one, other)| one == other).count();
        above.truncate(same);
        for directory in &directories[same..] {
            let indent = "  ".repeat(above.len());
            above.push(directory);
            let size = sizes.get(&*above.join("/")).copied().unwrap_or_default();
            let _ = writeln!(text, "{:>10}  ----  {indent}{directory}/", human::bytes(size));
        }
        let indent = "  ".repeat(above.len());
        let _ = match entry {
            Entry::File { digest, mode } => {
                let mode = mode.map_or("----".to_owned(), |mode| format!("{mode:04o}"));
                writeln!(text, "{:>10}  {mode}  {indent}{name}", human::bytes(digest.size()))
            }
            Entry::Tar { digest, .. } => {
                writeln!(text, "{:>10}  tar   {indent}{name}", human::bytes(digest.size()))
            }
            Entry::Symlink { target } => writeln!(text, "{:>10}  link  {indent}{name} -> {target}", ""),
        };
    }
    text
}

/// What lies in each directory, and below it.
fn sizes(isolated: &Isolated) -> BTreeMap<&str, u64> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for (path, entry) in &isolated.files {
        let size = entry.digest().map_or(0, |digest| digest.size());
        for (at, _) in path.as_str().match_indices('/') {
            let sum = sizes.entry(&path.as_str()[..at]).or_default();
            *sum = sum.saturating_add(size);
        }
    }
    sizes
}

/// What `--json` prints. Keys are added, never renamed or removed.
#[derive(Serialize)]
struct Listing<'a> {
    function: &'static str,
    command: &'a [String],
    relative_cwd: &'a str,
    read_only: u8,
    bytes: u64,
    files: Vec<Item<'a>>,
}

/// A file, an archive or a symlink.
#[derive(Serialize)]
pub(super) struct Item<'a> {
    path: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
}

impl<'a> Item<'a> {
    pub(super) fn new(path: &'a RelPath, entry: &'a Entry) -> Self {
        let (kind, mode, target) = match entry {
            Entry::File { mode, .. } => ("file", *mode, None),
            Entry::Tar { mode, .. } => ("tar", *mode, None),
            Entry::Symlink { target } => ("link", None, Some(&**target)),
        };
        let digest = entry.digest();
        let bytes = digest.map(|digest| digest.size());
        Self {
            path: path.as_str(),
            kind,
            digest: digest.map(|digest| digest.to_string()),
            bytes,
            mode,
            target,
        }
    }
}

impl<'a> Listing<'a> {
    fn new(isolated: &'a Isolated) -> Self {
        Self {
            function: isolated.function.name(),
            command: &isolated.command,
            relative_cwd: isolated.relative_cwd.as_ref().map_or(".", |cwd| cwd.as_str()),
            read_only: isolated.read_only.number(),
            bytes: isolated.total_bytes(),
            files: isolated.files.iter().map(|(path, entry)| Item::new(path, entry)).collect(),
        }
    }
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
