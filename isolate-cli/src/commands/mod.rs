//! The command line of each verb: arguments in, one line of result out.

pub(crate) mod archive;
pub(crate) mod batcharchive;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod download;
pub(crate) mod fmt;
mod inputs;
pub(crate) mod old;
pub(crate) mod pack;
pub(crate) mod remap;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod show;
mod source;
pub(crate) mod trace;
pub(crate) mod watch;

use crate::{Error, human, progress::Verbosity};
use runtime::{Clock, Entropy, Shutdown};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// As many inputs that were left out as are named.
const NAMED: usize = 10;

/// What every verb is given.
pub(crate) struct Context {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) shutdown: Shutdown,
    pub(crate) verbosity: Verbosity,
}

impl Context {
    /// A line for the user on stderr.
    pub(crate) fn say(&self, line: &str) {
        if self.verbosity == Verbosity::Normal {
            // A closed stderr is no reason to fail.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Names the inputs that were left out, or the first of many.
    fn say_left_out(&self, skipped: &[PathBuf]) {
        for path in skipped.iter().take(NAMED) {
            self.say(&format!(
                "warning: left out {}: it is not there, or cannot be packaged",
                path.display()
            ));
        }
        if skipped.len() > NAMED {
            self.say(&format!("warning: left out {} more", human::count((skipped.len() - NAMED) as u64)));
        }
    }
}

/// The result, on stdout.
pub(crate) fn print(text: &[u8]) -> Result<(), Error> {
    let write = |mut out: std::io::StdoutLock<'_>| out.write_all(text).and_then(|()| out.flush());
    write(std::io::stdout().lock()).map_err(|error| Error::io(Path::new("stdout"), error))
}
