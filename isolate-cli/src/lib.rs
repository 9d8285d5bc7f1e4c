//! `isolate`: packages a work item by hash, brings it back, and runs it here.
//!
//! - [`isolate_file`] is the `.isolate` language, pure.
//! - [`WorkItem`] is what is to be packaged: from an `.isolate` file, or from plain files and a command.
//! - [`Watcher`] knows what changed below a root that `isolate watch` watches.
//! - [`archive()`], [`download()`] and [`prepare`] (to run) are the verbs, for the program and for whoever embeds them; `commands` puts
//!   the command line around them.
//!
//! It knows stores and trees and nothing of the scheduler.

mod again;
mod archive;
pub mod cli;
mod commands;
mod difference;
mod download;
mod error;
mod exclude;
mod human;
pub mod isolate_file;
mod left_behind;
mod pack;
mod package;
mod process;
mod progress;
mod remap;
mod run;
mod saved_state;
mod scratch;
mod subdir;
mod trace;
mod watch;
mod work_item;

pub use again::Watching;
pub use archive::{Archived, BatchArchived, Item, archive, archive_batch};
pub use difference::{Difference, differences};
pub use download::{Downloaded, download};
pub use error::Error;
pub use exclude::{default_exclude, exclude};
pub use pack::{
    CargoOptions, CargoPacked, Closure, PackError, PythonOptions, PythonPacked, closure, is_elf, pack_cargo,
    pack_python,
};
pub use package::{ArchiveOptions, Packaged, package};
pub use remap::{StoredLocally, remap, store_locally};
pub use run::{Prepared, RunOptions, prepare};
pub use saved_state::{SavedState, state_path};
pub use trace::{Traced, trace};
pub use watch::{WatchError, Watcher};
pub use work_item::WorkItem;
