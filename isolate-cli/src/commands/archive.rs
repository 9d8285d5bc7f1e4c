//! `isolate archive`.

use super::{Context, print, report::ArchiveReport};
use crate::{
    ArchiveOptions, Archived, Error, WorkItem, archive as library,
    cli::CasArgs,
    exclude, human,
    isolate_file::{ConfigValue, Variables},
    process::{interruptible, write_file},
    progress::Bar,
    work_item::directory,
};
use cas::{
    isolated::ReadOnly,
    tree::{Broken, HashCache, Symlinks},
};
use clap::{Args, builder::FalseyValueParser};
use proto::{DigestFunction, RelPath};
use runtime::Exit;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const USAGE: &str = "\
isolate archive [OPTIONS] <PATH>... [-- <COMMAND>...]
       isolate archive [OPTIONS] -i <FILE>";

const EXAMPLES: &str = "\
Examples:
  isolate archive -i unit_tests.isolate --config-variable OS=linux --path-variable PRODUCT_DIR=../../out
  isolate archive --root out/Release unit_tests data/ -- ./unit_tests --gtest_color=no

Prints `DIGEST  NAME` on stdout: DIGEST is what `isolate run`, `isolate download` and `swarm trigger` take.
`isolate --help` lists the exit codes.";

/// Package a test with everything that it needs, and upload what the CAS does not have yet
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(crate) struct ArchiveArgs {
    /// Files and directories to package, relative to --root; `.` for everything
    #[arg(value_name = "PATH", required_unless_present = "isolate", conflicts_with = "isolate")]
    paths: Vec<PathBuf>,
    /// The command to run over them, starting in the root
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "isolate")]
    command: Vec<String>,
    /// Directory that becomes the root of the packaged tree
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "isolate")]
    root: PathBuf,
    /// Directory below the root in which the command starts
    #[arg(long, value_name = "DIR", conflicts_with = "isolate")]
    relative_cwd: Option<RelPath>,
    /// What the command may write to: 0 all inputs, 1 directories but no input files, 2 nothing
    #[arg(long, value_name = "MODE", default_value = "1", value_parser = read_only, conflicts_with = "isolate")]
    read_only: ReadOnly,
    /// Take inputs and command from an .isolate file instead
    #[arg(short, long, value_name = "FILE")]
    isolate: Option<PathBuf>,
    #[command(flatten)]
    variables: VariableArgs,
    /// Names the blobs: blake3, sha-256, sha-384, sha-512 or sha-1
    #[arg(long, value_name = "FUNCTION", default_value = "blake3")]
    function: DigestFunction,
    /// Leave out what this regular expression matches from its beginning, in directories; may be repeated
    #[arg(long, value_name = "REGEX")]
    blacklist: Vec<String>,
    /// Leave out inputs that do not exist or cannot be packaged
    #[arg(
        long,
        alias = "ignore_broken_items",
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
    /// Write the manifest to a file too
    #[arg(short = 's', long, value_name = "FILE")]
    isolated: Option<PathBuf>,
    /// Write digest, counts and bytes to a file, as JSON
    #[arg(long, value_name = "FILE")]
    dump_json: Option<PathBuf>,
    #[command(flatten)]
    cas: CasArgs,
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

    fn resolve(&self) -> Result<Variables, Error> {
        let mut variables = Variables::default();
        let config = self.config_variable.iter();
        variables.config = config.map(|(name, value)| (name.clone(), ConfigValue::from(&**value))).collect();
        for (name, dir) in &self.path_variable {
            variables.path.insert(name.clone(), directory(Path::new(dir))?);
        }
        variables.extra.extend(self.extra_variable.iter().cloned());
        Ok(variables)
    }
}

impl ArchiveArgs {
    fn broken(&self) -> Broken {
        if self.ignore_broken_items { Broken::Skip } else { Broken::Refuse }
    }

    fn work_item(&self) -> Result<WorkItem, Error> {
        match &self.isolate {
            Some(file) => WorkItem::from_isolate_file(file, &self.variables.resolve()?, self.broken()),
            None => {
                self.variables.refuse()?;
                Ok(WorkItem {
                    command: self.command.clone(),
                    relative_cwd: self.relative_cwd.clone(),
                    read_only: self.read_only,
                    ..WorkItem::from_paths(&self.root, &self.paths)?
                })
            }
        }
    }

    fn options(&self) -> Result<ArchiveOptions, Error> {
        Ok(ArchiveOptions {
            function: self.function,
            exclude: exclude(&self.blacklist)?,
            symlinks: if self.collapse_symlinks { Symlinks::Follow } else { Symlinks::Keep },
            broken: self.broken(),
            hash_cache: if self.no_hash_cache { None } else { HashCache::default_dir() },
        })
    }

    /// What people call it: after the manifest, the description or the root.
    fn name(&self, item: &WorkItem) -> String {
        let file = self.isolated.as_deref().or(self.isolate.as_deref());
        let name = file.map_or(item.root.file_name(), Path::file_stem);
        name.map_or("root".into(), |name| name.to_string_lossy().into_owned())
    }
}

/// Archives, tells the digest on stdout and the rest on stderr.
pub(crate) async fn archive(args: ArchiveArgs, context: &Context) -> Result<Exit, Error> {
    let began = context.clock.elapsed();
    let item = args.work_item()?;
    let name = args.name(&item);
    let options = args.options()?;
    let store = args.cas.connect(context)?;
    let bar = Arc::new(Bar::new(context.verbosity));
    let work = library(&*store, item, &options, Arc::<Bar>::clone(&bar));
    let outcome = interruptible(&context.shutdown, work).await;
    bar.finish();
    let archived = outcome.map_err(|error| error.about(&args.cas.cas))?;
    let took = context.clock.elapsed().saturating_sub(began);

    if let Some(file) = &args.isolated {
        write_file(file, &archived.manifest)?;
    }
    if let Some(file) = &args.dump_json {
        write_file(file, &ArchiveReport::new(&archived, took).to_json())?;
    }
    context.say(&summary(&archived, took));
    print(format!("{}  {name}\n", archived.digest).as_bytes())?;
    Ok(Exit::Success)
}

fn summary(archived: &Archived, took: Duration) -> String {
    let uploaded = archived.uploaded;
    let skipped = match archived.skipped.len() {
        0 => String::new(),
        count => format!(", left out {}", human::counted(count as u64, "broken input")),
    };
    format!(
        "archived {} ({}): uploaded {} ({}), {} already there{skipped}, {}",
        human::counted(archived.files, "file"),
        human::bytes(archived.bytes),
        human::counted(uploaded.uploaded_blobs, "blob"),
        human::bytes(uploaded.uploaded_bytes),
        human::count(uploaded.present_blobs),
        human::seconds(took),
    )
}
