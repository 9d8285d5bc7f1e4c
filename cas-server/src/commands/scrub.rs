//! `cas-server scrub`: verifies everything at rest while no server runs.

use crate::report;
use cas_server::{Config, Flags, StartError, engine::Offline};
use clap::Args;
use runtime::{Exit, SystemClock};
use std::{fmt, path::PathBuf};

/// Verifies all blobs and values at rest, drops what is damaged, and deletes files that nothing leads to.
///
/// No server may run on the directory. Ends with 0 if all was sound, with 6 if something was dropped, with 7 if something
/// cannot be read.
#[derive(Args)]
pub(crate) struct Scrub {
    /// Configuration file (TOML), for its `data`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory that holds the store [default: cas-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Scrub {
    pub(crate) fn run(self) -> Exit {
        let config: Config = match runtime::config::load(self.config.as_deref(), &Flags::data(self.data)) {
            Ok(config) => config,
            Err(error) => return report::failed(error, Exit::Usage),
        };
        let store = match Offline::open(&config.data, SystemClock::shared()) {
            Ok(store) => store,
            Err(error) => {
                let error = StartError::from(error);
                let exit = error.exit();
                return report::failed(error, exit);
            }
        };
        let say = |text: fmt::Arguments<'_>| report::print(&format!("{text}\n"));
        let found = match store.scrub(|text| {
            say(format_args!("{text}"));
        }) {
            Ok(found) => found,
            Err(error) => return report::failed(error, Exit::Internal),
        };
        say(format_args!(
            "{} blobs and values of {} bytes are sound, {} were damaged, {} cannot be read, {} leftover files",
            found.sound, found.bytes, found.damaged, found.unread, found.leftovers
        ));
        match (found.unread, found.damaged) {
            (0, 0) => Exit::Success,
            (0, _) => Exit::Incomplete,
            _ => Exit::Internal,
        }
    }
}
