//! What a loaded file means for one set of variables.

use super::{
    Block, IsolateFileError, LoadedFile, Placed, Position, Problem, Variables, common_ancestor, lexical_join,
    relative_path, variables::Use,
};
use cas::isolated::ReadOnly;
use proto::RelPath;
use std::{
    collections::{BTreeMap, BTreeSet},
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
    /// The deepest directory that holds every input, every path variable and the start of the command.
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
    let inputs = inputs(&blocks, variables)?;
    let root = root(home, &inputs, variables);
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

fn inputs(blocks: &[Holding<'_>], variables: &Variables) -> Result<Vec<InputPath>, IsolateFileError> {
    let mut inputs = BTreeMap::new();
    for Holding { file, block, .. } in blocks {
        for text in &block.files {
            let written = variables.substitute(text, &file.path, file.dir(), Use::File)?;
            if written.starts_with('/') {
                return Err(IsolateFileError::at(&file.path, text.at, Problem::Absolute { path: written }));
            }
            let kind = if written.ends_with('/') { InputKind::Directory } else { InputKind::File };
            let path = lexical_join(file.dir(), &written);
            let input = InputPath { path: path.clone(), kind, file: file.path.clone(), at: text.at };
            inputs.entry(path).or_insert(input);
        }
    }
    Ok(inputs.into_values().collect())
}

fn root(home: &Path, inputs: &[InputPath], variables: &Variables) -> PathBuf {
    let inputs = inputs.iter().map(|input| input.path.as_path());
    let named = inputs.chain(variables.path.values().map(PathBuf::as_path));
    named.fold(home.to_owned(), |root, path| common_ancestor(&root, path))
}
