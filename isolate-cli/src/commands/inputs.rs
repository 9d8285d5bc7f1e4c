//! What to package and how: the arguments that all verbs that package have in common.

use super::old::namespace;
use crate::{
    ArchiveOptions, Error, SavedState, WorkItem, exclude,
    exclude::ignored,
    isolate_file::{ConfigValue, Variables},
    process::write_file,
    state_path, subdir,
    work_item::directory,
};
use cas::{
    isolated::{Isolated, ReadOnly, Version},
    tree::{Broken, Exclude, HashCache, Symlinks},
};
use clap::{Args, builder::FalseyValueParser};
use proto::{DigestFunction, RelPath};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What to package and how: plain files and a command, or a description.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// Files and directories to package, relative to --root; `.` for everything
    #[arg(value_name = "PATH", required_unless_present_any = ["isolate", "isolated"], conflicts_with = "isolate")]
    paths: Vec<PathBuf>,
    /// The command to run over them, starting in the root
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "isolate")]
    pub(crate) command: Vec<String>,
    /// Directory that becomes the root of the packaged tree
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "isolate")]
    root: PathBuf,
    /// Directory below the root in which the command starts
    #[arg(long, value_name = "DIR", conflicts_with = "isolate")]
    relative_cwd: Option<RelPath>,
    /// What the command may write to: 0 all inputs, 1 directories but no input files, 2 nothing
    #[arg(long, value_name = "MODE", default_value = "1", value_parser = read_only, conflicts_with = "isolate")]
    read_only: ReadOnly,
    #[command(flatten)]
    description: DescriptionArgs,
}

/// What to package by a description, and how.
#[derive(Debug, Args)]
pub(crate) struct DescriptionArgs {
    /// Take inputs and command from an .isolate file
    #[arg(short, long, value_name = "FILE")]
    isolate: Option<PathBuf>,
    #[command(flatten)]
    variables: VariableArgs,
    /// Package only what is in this directory below the root; may have path variables
    #[arg(long, value_name = "DIR")]
    subdir: Option<String>,
    /// Names the blobs: blake3, sha-256, sha-384, sha-512 or sha-1 [default: that of the saved state of --isolated, or blake3]
    #[arg(long, value_name = "FUNCTION")]
    function: Option<DigestFunction>,
    /// The original's way to say that
    #[arg(long, value_name = "NAMESPACE", hide = true, value_parser = namespace, conflicts_with = "function")]
    namespace: Option<DigestFunction>,
    /// How the manifest is written: 1.6, or 2.0, which cannot say --read-only
    #[arg(long, value_name = "VERSION", default_value = "1.6", value_parser = version)]
    isolated_version: Version,
    /// Leave out what this regular expression matches from its beginning, in directories; may be repeated
    #[arg(long, value_name = "REGEX")]
    blacklist: Vec<String>,
    /// Leave out what this regular expression matches any part of, named as an input or not; may be repeated
    #[arg(long, value_name = "RE")]
    ignored_path_filter_re: Vec<String>,
    /// Leave out inputs that do not exist or cannot be packaged
    #[arg(
        long,
        aliases = ["ignore_broken_items", "allow-missing-file-dir"],
        env = "ISOLATE_IGNORE_BROKEN_ITEMS",
        hide_env_values = true,
        value_parser = FalseyValueParser::new()
    )]
    ignore_broken_items: bool,
    /// Package what symlinks point to instead of the symlinks
    #[arg(short = 'L', long, alias = "collapse_symlinks")]
    collapse_symlinks: bool,
    /// Hash every file, unchanged or not
    #[arg(long)]
    no_hash_cache: bool,
    /// Write the manifest to a file too, and to FILE.state what it was made from: later, this flag alone makes it again
    #[arg(short = 's', short_alias = 'r', long, alias = "result", value_name = "FILE")]
    isolated: Option<PathBuf>,
}

/// What is put into an `.isolate` file.
#[derive(Debug, Args)]
struct VariableArgs {
    /// Value for the conditions of the .isolate file; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    config_variable: Vec<(String, String)>,
    /// Directory for paths in the .isolate file, relative to the current directory; may be repeated
    #[arg(long, value_name = "NAME=DIR", value_parser = pair)]
    path_variable: Vec<(String, String)>,
    /// Text for paths and commands in the .isolate file; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    extra_variable: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Variables::check_name(name).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), value.to_owned()))
}

fn read_only(text: &str) -> Result<ReadOnly, &'static str> {
    text.parse().ok().and_then(ReadOnly::from_number).ok_or("write 0, 1 or 2")
}

fn version(text: &str) -> Result<Version, &'static str> {
    Version::ALL.into_iter().find(|version| version.name() == text).ok_or("write 1.6 or 2.0")
}

impl VariableArgs {
    /// The parser of the command line lets them pass without a file: plain paths stand in the place of one.
    fn refuse(&self) -> Result<(), Error> {
        let flags = [
            ("config-variable", &self.config_variable),
            ("path-variable", &self.path_variable),
            ("extra-variable", &self.extra_variable),
        ];
        let given = flags.into_iter().find(|(_, given)| !given.is_empty());
        given.map_or(Ok(()), |(flag, _)| Err(Error::NoIsolateFile { flag }))
    }

    /// Those that are given, over those that were saved.
    fn resolve(&self, base: &Path, saved: Option<&SavedState>) -> Result<Variables, Error> {
        let mut variables = Variables::default();
        if let Some(saved) = saved {
            variables.config.extend(saved.config.clone());
            variables.path.extend(saved.path.clone());
            variables.extra.extend(saved.extra.clone());
        }
        let config = self.config_variable.iter();
        variables.config.extend(config.map(|(name, value)| (name.clone(), ConfigValue::from(&**value))));
        for (name, dir) in &self.path_variable {
            variables.path.insert(name.clone(), directory(&base.join(dir))?);
        }
        variables.extra.extend(self.extra_variable.iter().cloned());
        Ok(variables)
    }
}

/// What the arguments come to.
pub(crate) struct Inputs {
    pub(crate) item: WorkItem,
    pub(crate) options: ArchiveOptions,
    /// What people call it: after the manifest, the description or the root.
    pub(crate) name: String,
    /// Where the manifest is written, and what is saved beside it.
    output: Option<(PathBuf, Option<SavedState>)>,
}

impl InputArgs {
    /// Names the blobs so, if nothing here says how.
    pub(crate) fn or_namespace(&mut self, function: Option<DigestFunction>) {
        let description = &mut self.description;
        if description.function.is_none() {
            description.namespace = description.namespace.or(function);
        }
    }

    /// Relative paths are relative to `base`.
    pub(crate) fn resolve(&self, base: &Path) -> Result<Inputs, Error> {
        let description = &self.description;
        if description.isolate.is_some() || self.paths.is_empty() {
            return description.resolve(base);
        }
        description.variables.refuse()?;
        let item = WorkItem::from_paths(&base.join(&self.root), &self.paths)?;
        let (command, relative_cwd) = (self.command.clone(), self.relative_cwd.clone());
        let item = WorkItem { command, relative_cwd, read_only: self.read_only, ..item };
        description.inputs(item, description.isolated(base)?, None, description.function(None), None)
    }
}

impl DescriptionArgs {
    /// Where the manifest goes.
    fn isolated(&self, base: &Path) -> Result<Option<PathBuf>, Error> {
        self.isolated.as_ref().map(|file| absolute(&base.join(file))).transpose()
    }

    /// Relative paths are relative to `base`.
    pub(crate) fn resolve(&self, base: &Path) -> Result<Inputs, Error> {
        let isolated = self.isolated(base)?;
        let given = self.isolate.as_ref().map(|file| absolute(&base.join(file))).transpose()?;
        let saved = match isolated.as_deref().map(SavedState::read).transpose() {
            Ok(saved) => saved.flatten(),
            // Whatever it said, everything is given anew.
            Err(Error::State { .. }) if given.is_some() => None,
            Err(error) => return Err(error),
        };
        let saved = saved.filter(|saved| given.as_ref().is_none_or(|given| *given == saved.isolate_file));
        let file = given.or_else(|| Some(saved.as_ref()?.isolate_file.clone()));
        let file = file.ok_or_else(|| Error::Argument {
            path: isolated.as_deref().map(state_path).unwrap_or_default(),
            reason: "no such file: name an .isolate file with -i, or paths",
        })?;
        let variables = self.variables.resolve(base, saved.as_ref())?;
        let item = WorkItem::from_isolate_file(&file, &variables, self.broken())?;
        let Variables { config, path, mut extra } = variables;
        if extra.get("EXECUTABLE_SUFFIX").is_some_and(String::is_empty) {
            extra.remove("EXECUTABLE_SUFFIX");
        }
        let function = self.function(saved.as_ref());
        let state = SavedState { isolate_file: file.clone(), function, config, path, extra };
        self.inputs(item, isolated, Some(state), function, Some(file))
    }

    fn function(&self, saved: Option<&SavedState>) -> DigestFunction {
        let given = self.function.or(self.namespace);
        given.or(saved.map(|saved| saved.function)).unwrap_or(DigestFunction::Blake3)
    }

    /// The work item, what of it is worth saving, and the description that it comes from, if it does.
    fn inputs(
        &self,
        item: WorkItem,
        isolated: Option<PathBuf>,
        state: Option<SavedState>,
        function: DigestFunction,
        described: Option<PathBuf>,
    ) -> Result<Inputs, Error> {
        let exclude = exclude(&self.blacklist, &self.ignored_path_filter_re)?;
        let ignored = ignored(&self.ignored_path_filter_re)?;
        let item = item.without(|path| ignored.is_match(path.as_str()));
        let item = match &self.subdir {
            Some(text) => {
                let paths = state.as_ref().map(|state| state.path.clone()).unwrap_or_default();
                subdir::only(text, item, &paths, &exclude)?
            }
            None => item,
        };
        let file = self.isolated.as_deref().or(described.as_deref());
        let name = file.map_or(item.root.file_name(), Path::file_stem);
        let name = name.map_or("root".into(), |name| name.to_string_lossy().into_owned());
        Ok(Inputs {
            item,
            options: self.options(function, exclude),
            name,
            output: isolated.map(|path| (path, state)),
        })
    }

    fn broken(&self) -> Broken {
        if self.ignore_broken_items { Broken::Skip } else { Broken::Refuse }
    }

    fn options(&self, function: DigestFunction, exclude: Exclude) -> ArchiveOptions {
        ArchiveOptions {
            function,
            version: self.isolated_version,
            exclude,
            symlinks: if self.collapse_symlinks { Symlinks::Follow } else { Symlinks::Keep },
            broken: self.broken(),
            hash_cache: if self.no_hash_cache { None } else { HashCache::default_dir() },
            watching: None,
        }
    }
}

/// Where a manifest goes, and its state.
pub(crate) struct Output {
    root: PathBuf,
    /// The manifest but for its files.
    head: Isolated,
    path: PathBuf,
    state: Option<SavedState>,
}

impl Inputs {
    /// What has to be written once the item is packaged, if that was asked for.
    pub(crate) fn output(&self) -> Option<Output> {
        let (path, state) = self.output.clone()?;
        let (root, head) = (self.item.root.clone(), self.options.head(&self.item));
        Some(Output { root, head, path, state })
    }
}

impl Output {
    /// Writes the manifest and its state; without one, takes an old one away: it says nothing of this manifest.
    pub(crate) fn write(&self, manifest: &[u8]) -> Result<(), Error> {
        write_file(&self.path, manifest)?;
        let state_path = state_path(&self.path);
        match &self.state {
            Some(state) => write_file(&state_path, &state.to_bytes(&self.path, &self.root, &self.head)),
            None => match fs::remove_file(&state_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(state_path, error)),
                _ => Ok(()),
            },
        }
    }
}

/// The file's absolute path, the links on the way to it resolved.
fn absolute(file: &Path) -> Result<PathBuf, Error> {
    let reason = "name a file";
    let name = file.file_name().ok_or(Error::Argument { path: file.to_owned(), reason })?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::canonicalize(parent) {
        Ok(dir) => Ok(dir.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::Argument { path: file.to_owned(), reason: "no such file or directory" })
        }
        Err(error) => Err(Error::io(parent, error)),
    }
}
