//! A file together with all that it includes.

use super::{Document, IsolateFileError, Problem, lexical_join};
use std::{
    io,
    path::{Path, PathBuf},
};

/// How deep includes may be nested.
const MAX_DEPTH: usize = 32;

/// How many files may be read in all. Two files that both include the same one read it twice.
const MAX_FILES: usize = 10_000;

/// A parsed file and its includes, in the order written.
#[derive(Clone, Debug)]
pub struct LoadedFile {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// What it says.
    pub document: Document,
    /// What it includes.
    pub includes: Vec<LoadedFile>,
}

impl LoadedFile {
    /// The directory that its paths are relative to.
    pub fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// Loads the file at the absolute `path` and its includes, each read by `read`.
pub fn load(path: &Path, read: &dyn Fn(&Path) -> io::Result<String>) -> Result<LoadedFile, IsolateFileError> {
    Loader { read, open: Vec::new(), files: 0 }.load(path)
}

struct Loader<'a> {
    read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// The files that led here.
    open: Vec<PathBuf>,
    files: usize,
}

impl Loader<'_> {
    fn load(&mut self, path: &Path) -> Result<LoadedFile, IsolateFileError> {
        let text =
            (self.read)(path).map_err(|source| IsolateFileError::whole(path, Problem::Read { source }))?;
        let document = Document::parse(&text)
            .map_err(|problem| IsolateFileError::at(path, problem.at, problem.value))?;
        let mut loaded = LoadedFile { path: path.to_owned(), document, includes: Vec::new() };
        self.open.push(path.to_owned());
        for include in &loaded.document.includes {
            let target = lexical_join(loaded.dir(), &include.value);
            let refuse = |problem| IsolateFileError::at(path, include.at, problem);
            self.check(&include.value, &target).map_err(refuse)?;
            match self.load(&target) {
                // A file that is not there is the fault of whoever includes it.
                Err(IsolateFileError { file, at: None, problem: Problem::Read { source } })
                    if file == target && source.kind() == io::ErrorKind::NotFound =>
                {
                    let path = include.value.clone();
                    return Err(refuse(Problem::Path {
                        path,
                        reason: "no such file: create it, or correct the path",
                    }));
                }
                included => loaded.includes.push(included?),
            }
        }
        self.open.pop();
        Ok(loaded)
    }

    fn check(&mut self, include: &str, target: &Path) -> Result<(), Problem> {
        if self.open.iter().any(|open| open == target) {
            return Err(Problem::IncludesItself { path: include.to_owned() });
        }
        if self.open.len() == MAX_DEPTH {
            return Err(Problem::TooManyIncludes { what: "includes are nested deeper", limit: MAX_DEPTH });
        }
        self.files += 1;
        if self.files == MAX_FILES {
            return Err(Problem::TooManyIncludes { what: "more files are included", limit: MAX_FILES });
        }
        Ok(())
    }
}
