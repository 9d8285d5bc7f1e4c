//! How a step is cut into shards, on the command line.

use super::{read_at_most, tests_args::TestsArgs};
use crate::{
    cli::duration,
    failure::Usage,
    model::{FanOut, Items},
};
use clap::Args;
use proto::limits;
use std::{
    fmt,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

/// What these flags are listed under.
const HEADING: &str = "Many items, every bot";

/// What the shards are.
#[derive(Debug, Args)]
pub(super) struct FanOutArgs {
    #[command(flatten)]
    tests: TestsArgs,
    /// Divide the lines of this file, `-` for stdin, among shards: a command gets its lines as words, where it has the word
    /// `{items}`, or else behind all others. With --per-shard N, or --shards N to divide them evenly
    #[arg(long, help_heading = HEADING, value_name = "FILE", conflicts_with = "driver")]
    items: Option<PathBuf>,
    /// Give each shard so many items; the last one gets what is left
    #[arg(long, help_heading = HEADING, value_name = "N", requires = "items", conflicts_with = "shards")]
    per_shard: Option<NonZeroU32>,
    /// Make one shard for each bot that fits the dimensions now, to be run by that bot alone
    #[arg(long, help_heading = HEADING, conflicts_with_all = ["shards", "driver", "items", "fallbacks", "idempotent"])]
    each_bot: bool,
    /// Also for bots that were silent for no longer than this, at most 7d: their shards wait for them until they expire (see
    /// --expiration)
    #[arg(long, help_heading = HEADING, value_name = "DURATION", requires = "each_bot", value_parser = duration)]
    seen_within: Option<Duration>,
}

impl FanOutArgs {
    /// Whether the items come from stdin.
    pub(super) fn read_stdin(&self) -> bool {
        self.items.as_deref() == Some(Path::new("-"))
    }

    pub(super) fn fan_out(&self) -> Result<FanOut, Usage> {
        if self.each_bot {
            return Ok(FanOut::EachBot { seen_within: self.seen_within });
        }
        let Some(path) = &self.items else { return self.tests.fan_out() };
        let Some(cut) = self.tests.cut(self.per_shard) else {
            let remedy = "with --per-shard N, or how many shards there are to be with --shards N";
            return Err(Usage(format!("say how many of the --items a shard gets {remedy}")));
        };
        Ok(FanOut::Items(Items::new(read_items(path)?, cut)))
    }
}

/// The lines of a file.
fn read_items(path: &Path) -> Result<Vec<String>, Usage> {
    let name = path.display();
    let most = limits::MAX_ITEMS_BYTES as u64;
    let unread = |error: &dyn fmt::Display| Usage(format!("cannot read the items in {name}: {error}"));
    // One byte more says that it is too much.
    let bytes = read_at_most(path, most + 1).map_err(|error| unread(&error))?;
    if bytes.len() as u64 > most {
        return Err(Usage(format!("{name} has more than {most} bytes of items: make several runs of them")));
    }
    let text = String::from_utf8(bytes).map_err(|error| unread(&error))?;
    if let Some(empty) = text.lines().position(str::is_empty) {
        return Err(Usage(format!("line {} of {name} is empty: each line is an item", empty + 1)));
    }
    if text.is_empty() {
        return Err(Usage(format!("there are no items in {name}: each line is one")));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items");
        std::fs::write(&path, text).unwrap();
        let shown = |error: Usage| error.to_string().replace(&path.display().to_string(), "items");
        read_items(&path).map_err(shown)
    }

    #[test]
    fn each_line_is_an_item() {
        assert_eq!(read(b"a\nb c\r\n d ").unwrap(), ["a", "b c", " d "]);
    }

    #[test]
    fn what_is_no_list_of_items_is_refused_by_line() {
        assert_eq!(read(b"a\n\nb\n").unwrap_err(), "line 2 of items is empty: each line is an item");
        assert_eq!(read(b"").unwrap_err(), "there are no items in items: each line is one");
        assert!(read(b"\xff").unwrap_err().starts_with("cannot read the items in items: "));
        let large = read("x\n".repeat(limits::MAX_ITEMS_BYTES / 2 + 1).as_bytes()).unwrap_err();
        assert!(large.contains("more than 8388608 bytes"), "{large}");
    }
}
