//! `isolate diff`.

use super::{
    Context, print, report,
    show::Item,
    source::{ManifestName, SourceArgs},
};
use crate::{Difference, Error, differences, human};
use cas::isolated::Entry;
use clap::Args;
use runtime::Exit;
use serde::Serialize;
use std::fmt::Write as _;

const EXAMPLES: &str = "\
Examples:
  isolate diff blake3:af13...49/812 blake3:0c7e...d1/815
  isolate diff old/unit_tests.isolated new/unit_tests.isolated --json

Lines begin with `+` for what only B has, `-` for what only A has, and `~` for what changed.
Exits with 0 when both mean the same, and with 1 when not. `isolate --help` lists the other exit codes.";

/// The exit code for manifests that differ, as of `diff`.
const DIFFERENT: Exit = Exit::Command(1);

/// Tell what makes two packaged tests different
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DiffArgs {
    /// What `isolate archive` printed, or an .isolated file
    #[arg(value_name = "A")]
    before: ManifestName,
    /// The other one
    #[arg(value_name = "B")]
    after: ManifestName,
    /// Print the differences as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArgs,
}

/// Prints what is different.
pub(crate) async fn diff(args: DiffArgs, context: &Context) -> Result<Exit, Error> {
    let before = args.source.load(&args.before, context).await?;
    let after = args.source.load(&args.after, context).await?;
    let found = differences(&before, &after);
    match args.json {
        true => print(&report::json(&DiffReport::new(&found)))?,
        false => print(text(&found).as_bytes())?,
    }
    Ok(if found.is_empty() { Exit::Success } else { DIFFERENT })
}

fn text(found: &[Difference<'_>]) -> String {
    let mut text = String::new();
    for difference in found {
        // Writing to a string does not fail.
        let _ = match difference {
            Difference::Setting { key, before, after } => writeln!(text, "~ {key}: {before} -> {after}"),
            Difference::Added(path, entry) => writeln!(text, "+ {path}  {}", told(entry)),
            Difference::Removed(path, entry) => writeln!(text, "- {path}  {}", told(entry)),
            Difference::Changed(path, before, after) => {
                writeln!(text, "~ {path}  {}", changed(before, after))
            }
        };
    }
    text
}

fn told(entry: &Entry) -> String {
    match entry {
        Entry::File { digest, .. } => human::bytes(digest.size()),
        Entry::Tar { digest, .. } => format!("tar of {}", human::bytes(digest.size())),
        Entry::Symlink { target } => format!("-> {target}"),
    }
}

fn changed(before: &Entry, after: &Entry) -> String {
    let (Entry::File { digest, mode }, Entry::File { digest: other, mode: other_mode }) = (before, after)
    else {
        return format!("{} became {}", told(before), told(after));
    };
    let octal = |mode: &Option<u32>| mode.map_or("none".to_owned(), |mode| format!("{mode:04o}"));
    let modes = format!("mode {} -> {}", octal(mode), octal(other_mode));
    match (digest == other, mode == other_mode) {
        (true, _) => modes,
        (false, true) => format!("{} -> {}", told(before), told(after)),
        (false, false) => format!("{} -> {}, {modes}", told(before), told(after)),
    }
}

/// What `--json` prints. Keys are added, never renamed or removed.
#[derive(Default, Serialize)]
struct DiffReport<'a> {
    same: bool,
    settings: Vec<Setting<'a>>,
    added: Vec<Item<'a>>,
    removed: Vec<Item<'a>>,
    changed: Vec<Change<'a>>,
}

#[derive(Serialize)]
struct Setting<'a> {
    key: &'a str,
    before: &'a str,
    after: &'a str,
}

#[derive(Serialize)]
struct Change<'a> {
    before: Item<'a>,
    after: Item<'a>,
}

impl<'a> DiffReport<'a> {
    fn new(found: &'a [Difference<'a>]) -> Self {
        let mut report = Self { same: found.is_empty(), ..Self::default() };
        for difference in found {
            match difference {
                Difference::Setting { key, before, after } => {
                    report.settings.push(Setting { key, before, after });
                }
                Difference::Added(path, entry) => report.added.push(Item::new(path, entry)),
                Difference::Removed(path, entry) => report.removed.push(Item::new(path, entry)),
                Difference::Changed(path, before, after) => {
                    let (before, after) = (Item::new(path, before), Item::new(path, after));
                    report.changed.push(Change { before, after });
                }
            }
        }
        report
    }
}
