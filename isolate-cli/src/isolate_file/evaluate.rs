//! What a loaded file means for one set of variables.

use super::{
    Block, IsolateFileError, LoadedFile, Placed, Position, Problem, Variables, common_ancestor, lexical_join,
    relative_path, variables::Use,
};
use cas::isolated::ReadOnly;
use proto::RelPath;
use std::{
    collections::{BTreeMap, BTreeSet},
    iter::successors,
    path::{Path, PathBuf},
};

/// A work item that is described, its files not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// The command line; empty if no block that holds sets one.
    pub command: Vec<String>,
    /// What it needs, sorted by path, each once.
    pub inputs: Vec<InputPath>,
    /// What the command may write to.
    pub read_only: ReadOnly,
    /// A directory that holds every input and the start of the command: as many levels above the latter as the paths of files and
    /// path variables go up from there as they are written, or more if an input would not be in it.
    pub root: PathBuf,
    /// Where the command starts, from the root; `None` for the root itself or without a command.
    pub relative_cwd: Option<RelPath>,
}

/// A file or directory that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputPath {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// What it was written as.
    pub kind: InputKind,
    /// The file that asks for it.
    pub file: PathBuf,
    /// Where in that file.
    pub at: Position,
}

/// What an input was written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Without a trailing slash.
    File,
    /// With a trailing slash.
    Directory,
}

/// Decides the conditions, merges the blocks that hold, and puts the variables in.
pub fn evaluate(loaded: &LoadedFile, variables: &Variables) -> Result<Evaluated, IsolateFileError> {
    check_config(loaded, variables)?;
    let mut blocks = Active { conditional: Vec::new(), unconditional: Vec::new() };
    blocks.collect(loaded, variables, Commands::Count);
    let blocks = blocks.by_precedence();

    let first_command = blocks.iter().find(|holding| !holding.command().is_empty());
    let with_files = blocks.iter().find(|holding| !holding.block.files.is_empty());
    // As in the original, a description without a command starts where its first files are named.
    let home = first_command.or(with_files).map_or(loaded.dir(), |holding| holding.file.dir());
    let command = first_command.map_or_else(
        || Ok(Vec::new()),
        |holding| {
            let put_in = |arg| variables.substitute(arg, &holding.file.path, home, Use::Command);
            holding.command().iter().map(put_in).collect::<Result<Vec<_>, _>>()
        },
    )?;
    let Files { inputs, levels } = files(&blocks, home, variables)?;
    let root = root(home, levels, &inputs, variables);
    let relative_cwd = match &*relative_path(&root, home) {
        _ if command.is_empty() => None,
        "." => None,
        below => Some(RelPath::new(below).map_err(|error| {
            let problem = Problem::Path { path: error.path, reason: error.reason };
            IsolateFileError::whole(&loaded.path, problem)
        })?),
    };
    let read_only = blocks.iter().find_map(|holding| holding.block.read_only).unwrap_or_default();
    Ok(Evaluated { command, inputs, read_only, root, relative_cwd })
}

/// Every variable that a condition asks for has to be given: a typo in a name would drop files silently.
fn check_config(loaded: &LoadedFile, variables: &Variables) -> Result<(), IsolateFileError> {
    let mut names = BTreeSet::new();
    let mut files = vec![loaded];
    while let Some(file) = files.pop() {
        file.document.conditions.iter().for_each(|(condition, _)| condition.collect_variables(&mut names));
        files.extend(&file.includes);
    }
    names.retain(|name| !variables.config.contains_key(*name));
    if names.is_empty() {
        return Ok(());
    }
    let names = names.into_iter().map(str::to_owned).collect();
    Err(IsolateFileError::whole(&loaded.path, Problem::MissingConfigVariables { names }))
}

/// Whether a file's commands count: not when a file that includes it has one of its own, under whatever condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Commands {
    Count,
    Ignored,
}

/// A block that holds, and the file that it stands in.
struct Holding<'a> {
    file: &'a LoadedFile,
    block: &'a Block,
    commands: Commands,
}

impl Holding<'_> {
    fn command(&self) -> &[Placed<String>] {
        match self.commands {
            Commands::Count => &self.block.command,
            Commands::Ignored => &[],
        }
    }
}

/// All blocks that hold, of a file and its includes, those with precedence first.
struct Active<'a> {
    conditional: Vec<Holding<'a>>,
    unconditional: Vec<Holding<'a>>,
}

impl<'a> Active<'a> {
    fn collect(&mut self, file: &'a LoadedFile, variables: &Variables, commands: Commands) {
        let holding = |block| Holding { file, block, commands };
        let hold =
            file.document.conditions.iter().filter(|(condition, _)| condition.holds(&variables.config));
        self.conditional.extend(hold.map(|(_, block)| holding(block)));
        self.unconditional.push(holding(&file.document.variables));
        let own = file.document.blocks().any(|block| !block.command.is_empty());
        let below = if own { Commands::Ignored } else { commands };
        for include in file.includes.iter().rev() {
            self.collect(include, variables, below);
        }
    }

    /// What stands under a condition is meant more than what always holds, in whichever file.
    fn by_precedence(mut self) -> Vec<Holding<'a>> {
        self.conditional.append(&mut self.unconditional);
        self.conditional
    }
}

/// What is asked for.
struct Files {
    inputs: Vec<InputPath>,
    /// Most levels that one of them goes up, see [`levels_up`].
    levels: usize,
}

fn files(blocks: &[Holding<'_>], home: &Path, variables: &Variables) -> Result<Files, IsolateFileError> {
    let (mut inputs, mut levels) = (BTreeMap::new(), 0);
    for Holding { file, block, .. } in blocks {
        let from_home = relative_path(home, file.dir());
        for text in &block.files {
            let put_in = |dir| variables.substitute(text, &file.path, dir, Use::File);
            let written = put_in(file.dir())?;
            if written.starts_with('/') {
                return Err(IsolateFileError::at(&file.path, text.at, Problem::Absolute { path: written }));
            }
            // Those of other directories have the way there before them in the original, unless they begin with a variable.
            let seen = match text.value.starts_with("<(") || from_home == "." {
                true => put_in(home)?,
                false => format!("{from_home}/{written}"),
            };
            levels = levels.max(levels_up(&seen));
            let kind = if written.ends_with('/') { InputKind::Directory } else { InputKind::File };
            let path = lexical_join(file.dir(), &written);
            let input = InputPath { path: path.clone(), kind, file: file.path.clone(), at: text.at };
            inputs.entry(path).or_insert(input);
        }
    }
    Ok(Files { inputs: inputs.into_values().collect(), levels })
}

/// How many `../` a path begins with.
fn levels_up(path: &str) -> usize {
    successors(path.strip_prefix("../"), |below| below.strip_prefix("../")).count()
}

/// As in the original, which counts before anything is resolved: `../test/a`, seen from `/src/test`, makes it `/src`. Of a path
/// variable that is a directory above, the last `..` has no slash behind it, and does not count. Where the original then refuses
/// what is not below, it is taken to be higher up.
fn root(home: &Path, levels: usize, inputs: &[InputPath], variables: &Variables) -> PathBuf {
    let levels_of = |path: &PathBuf| match &*relative_path(home, path) {
        ".." => 1,
        way => levels_up(way),
    };
    let levels = variables.path.values().map(levels_of).fold(levels, usize::max);
    let counted = home.ancestors().nth(levels).unwrap_or(Path::new("/"));
    inputs.iter().fold(counted.to_owned(), |root, input| common_ancestor(&root, &input.path))
}
