//! What all recipes come to: a command and files, written as a description.

use crate::isolate_file::{Block, Document, Placed, Position, relative_path};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// A description that is being put together.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The real path of the directory that the description will be in.
    home: PathBuf,
    command: Vec<String>,
    files: BTreeSet<String>,
}

impl Recipe {
    pub(crate) fn new(home: &Path) -> Self {
        Self { home: home.to_owned(), command: Vec::new(), files: BTreeSet::new() }
    }

    /// How descriptions and commands name this path.
    pub(crate) fn relative(&self, path: &Path) -> String {
        relative_path(&self.home, path)
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &Path) {
        self.files.insert(self.relative(path));
    }

    /// Adds a directory with all that is in it.
    pub(crate) fn directory(&mut self, path: &Path) {
        self.files.insert(format!("{}/", self.relative(path)));
    }

    /// Adds what is there: a file or a whole directory.
    pub(crate) fn any(&mut self, path: &Path) {
        if path.is_dir() { self.directory(path) } else { self.file(path) }
    }

    /// Adds words to the command.
    pub(crate) fn command(&mut self, words: impl IntoIterator<Item = String>) {
        self.command.extend(words);
    }

    /// A program's path as the first word of a command: with a slash, or it would be looked up in PATH.
    pub(crate) fn program(&self, path: &Path) -> String {
        let relative = self.relative(path);
        if relative.contains('/') { relative } else { format!("./{relative}") }
    }

    /// Its text.
    pub(crate) fn into_text(self) -> String {
        let placed = |text: String| Placed::new(text, Position::START);
        let variables = Block {
            command: self.command.into_iter().map(placed).collect(),
            files: self.files.into_iter().map(placed).collect(),
            read_only: None,
        };
        Document { variables, ..Document::default() }.to_string()
    }
}
