//! What is to be packaged: inputs below a root and the command that runs over them.

use crate::{
    Error,
    isolate_file::{
        Evaluated, InputKind, InputPath, IsolateFileError, MAX_BYTES, Problem, Variables, evaluate,
        lexical_join, load,
    },
};
use cas::{
    isolated::ReadOnly,
    tree::{Broken, Exclude, Input},
};
use proto::RelPath;
use rustix::io::Errno;
use std::{
    fs,
    io::{self, Read as _},
    iter::successors,
    path::{Path, PathBuf},
};

/// A work item before it is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkItem {
    /// The absolute directory that paths in the manifest are relative to.
    pub root: PathBuf,
    /// What is needed, below the root.
    pub inputs: Vec<Input>,
    /// The command line; empty for a plain set of files.
    pub command: Vec<String>,
    /// Where the command starts, from the root.
    pub relative_cwd: Option<RelPath>,
    /// What the command may write to.
    pub read_only: ReadOnly,
}

impl WorkItem {
    /// As the `.isolate` file at `path` describes it.
    pub fn from_isolate_file(path: &Path, variables: &Variables, broken: Broken) -> Result<Self, Error> {
        let name = path
            .file_name()
            .ok_or(Error::Argument { path: path.to_owned(), reason: "name an .isolate file" })?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Links in the way to it are resolved, so that comparing paths by their text means something.
        let dir = fs::canonicalize(parent).map_err(|source| missing(path, source))?;
        let loaded = load(&dir.join(name), &read)?;
        let Evaluated { command, inputs, read_only, root, relative_cwd } = evaluate(&loaded, variables)?;
        for input in &inputs {
            check(input, broken)?;
        }
        let inputs = inputs.iter().map(|input| below(&root, &input.path)).collect::<Result<_, _>>()?;
        Ok(Self { root, inputs, command, relative_cwd, read_only })
    }

    /// Only what is at or below `subdir`, seen from the root. What `exclude` says of directories on the way from an input down to
    /// there counts.
    pub fn only_below(mut self, subdir: &RelPath, exclude: &Exclude) -> Self {
        let is_left_out = |input: Option<&RelPath>| {
            let places = successors(Some(subdir.clone()), RelPath::parent);
            places.take_while(|place| Some(place) != input).any(|place| exclude.excludes(&place))
        };
        let inside = |input: Input| match input {
            Input::Everything => (!is_left_out(None)).then(|| Input::Path(subdir.clone())),
            Input::Path(path) if path.as_path().starts_with(subdir.as_path()) => Some(Input::Path(path)),
            Input::Path(path) => {
                let is_above = subdir.as_path().starts_with(path.as_path());
                (is_above && !is_left_out(Some(&path))).then(|| Input::Path(subdir.clone()))
            }
        };
        self.inputs = self.inputs.into_iter().filter_map(inside).collect();
        self
    }

    /// Without the inputs that `is_left_out` says, seen from the root, which is never among them.
    pub fn without(mut self, is_left_out: impl Fn(&RelPath) -> bool) -> Self {
        self.inputs.retain(|input| match input {
            Input::Everything => true,
            Input::Path(path) => !is_left_out(path),
        });
        self
    }

    /// Files and directories below `root`; relative paths are relative to it, as with `tar -C`.
    pub fn from_paths(root: &Path, paths: &[PathBuf]) -> Result<Self, Error> {
        let root = directory(root)?;
        let input = |path: &PathBuf| {
            let text = path
                .to_str()
                .ok_or(Error::Argument { path: path.clone(), reason: "its name is not UTF-8: rename it" })?;
            let outside = || Error::Outside { path: path.clone(), root: root.clone() };
            // What is absolute may lead there through links.
            let inside = match path.is_absolute() && !path.starts_with(&root) {
                true => fs::canonicalize(path).map_err(|source| missing(path, source))?,
                false => lexical_join(&root, text),
            };
            if !inside.starts_with(&root) {
                return Err(outside());
            }
            below(&root, &inside)
        };
        let inputs = paths.iter().map(input).collect::<Result<_, _>>()?;
        let (command, read_only) = (Vec::new(), ReadOnly::default());
        Ok(Self { root, inputs, command, relative_cwd: None, read_only })
    }
}

/// The text of an `.isolate` file. Of one that is too large no more than it takes to find that out.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The real path of a directory that has to be there.
pub(crate) fn directory(path: &Path) -> Result<PathBuf, Error> {
    let real = fs::canonicalize(path).map_err(|source| missing(path, source))?;
    if !real.is_dir() {
        return Err(Error::Argument { path: path.to_owned(), reason: "not a directory" });
    }
    Ok(real)
}

fn missing(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::Argument { path: path.to_owned(), reason: "no such file or directory" }
        }
        _ => Error::io(path, source),
    }
}

fn below(root: &Path, path: &Path) -> Result<Input, Error> {
    let outside = || Error::Outside { path: path.to_owned(), root: root.to_owned() };
    let relative = path.strip_prefix(root).map_err(|_| outside())?;
    let text = relative
        .to_str()
        .ok_or(Error::Argument { path: path.to_owned(), reason: "its name is not UTF-8: rename it" })?;
    Ok(if text.is_empty() { Input::Everything } else { Input::Path(RelPath::new(text)?) })
}

/// Whether an input is what it was written as. A trailing slash tells readers and tools that a whole tree goes in.
fn check(input: &InputPath, broken: Broken) -> Result<(), Error> {
    let path = input.path.clone();
    let problem = match (fs::metadata(&path), input.kind) {
        (Ok(found), InputKind::File) if found.is_dir() => Problem::NeedsSlash { path },
        (Ok(found), InputKind::Directory) if !found.is_dir() => Problem::NotADirectory { path },
        (Ok(_), _) => return Ok(()),
        (Err(_), _) if broken == Broken::Skip => return Ok(()),
        // Whoever goes through the links tells which one it is.
        (Err(error), _) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Ok(()),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Problem::NoSuchInput { path },
        (Err(error), _) => return Err(Error::io(path, error)),
    };
    Err(IsolateFileError::at(&input.file, input.at, problem).into())
}
