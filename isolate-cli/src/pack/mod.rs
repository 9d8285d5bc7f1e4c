//! Recipes: from what people have built to descriptions of it, which nobody has to write by hand.
//!
//! A recipe puts what it makes itself (a launcher, listings, copies of libraries) into the directory `NAME.pack` beside
//! `NAME.isolate`: plain files, inputs like any others.

mod beside;
mod cargo;
mod elf;
mod error;
mod fixtures;
mod interpreter;
mod moved;
mod nextest;
mod programs;
mod python;
mod recipe;

pub use cargo::{CargoOptions, CargoPacked, pack_cargo};
pub use elf::{Closure, closure, is_elf};
pub use error::PackError;
pub use python::{PythonOptions, PythonPacked, pack_python};
pub(crate) use recipe::Recipe;
