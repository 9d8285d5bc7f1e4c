//! The `.isolate` language: what a test needs at run time, written by hand, with variables and conditions.
//!
//! [`load()`] reads a file and its includes through a function that is handed in, [`evaluate()`] turns what was loaded into
//! the command, the input paths and the root directory for one set of [`Variables`]. Pure: no file is touched here,
//! and paths are compared by their text, so the caller resolves symlinks first.
//!
//! A file is one dictionary in a subset of Python's literals:
//!
//! ```text
//! {
//!   'includes': ['base.isolate'],
//!   'variables': {'files': ['data/']},
//!   'conditions': [
//!     ['OS=="linux" or OS=="mac"', {'variables': {'command': ['<(PRODUCT_DIR)/unit_tests']}}],
//!   ],
//! }
//! ```
//!
//! Where this differs from the original, on purpose:
//!
//! - Conditions are plain boolean expressions. The original tried only the values that it saw in the file, so that
//!   `chromeos==1 or OS=="linux"` did not hold for `OS=linux, chromeos=0`. What matched there matches here.
//! - Of several blocks that hold, the first one that sets a command (or `read_only`) wins: first those under conditions,
//!   then the unconditional ones, each in the order of the file itself, then its includes, the last of them first. The
//!   original ordered them by the text of their values, which gives the same unless conditions of two files hold that
//!   are about different variables.
//! - A path that is listed twice is taken once.
//! - A key that appears twice in a dictionary is an error, and so is a file that includes itself.
//! - Inputs that are not below the root as the original counts it, which refuses them, make the root higher.

mod condition;
mod document;
mod error;
mod evaluate;
mod format;
mod lexer;
mod load;
mod parser;
mod paths;
mod place;
mod suggestion;
#[cfg(test)]
mod tests;
mod variables;
mod write;

pub use condition::Condition;
pub use document::{Block, Document};
pub use error::{ConditionProblem, IsolateFileError, Problem};
pub use evaluate::{Evaluated, InputKind, InputPath, evaluate};
pub use format::formatted;
pub use load::{LoadedFile, load};
pub use place::{Placed, Position};
pub use variables::{ConfigValue, VariableError, Variables};

pub(crate) use parser::MAX_BYTES;
pub(crate) use paths::{common_ancestor, lexical_join, relative_path};
pub(crate) use variables::{has_variable, with_paths};
