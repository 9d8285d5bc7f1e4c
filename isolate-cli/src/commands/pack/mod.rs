//! `isolate pack`: recipes that write `.isolate` files for what people have.

mod cargo;
mod elf;
mod python;

use super::{Context, print, report};
use crate::{Error, human, process::write_file, work_item::directory};
use clap::{Args, Subcommand};
use runtime::Exit;
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Write an .isolate file for something that was built
#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    #[command(subcommand)]
    recipe: Recipe,
}

#[derive(Debug, Subcommand)]
enum Recipe {
    Cargo(cargo::CargoArgs),
    Elf(elf::ElfArgs),
    Python(python::PythonArgs),
}

/// Where the description goes.
#[derive(Debug, Args)]
struct OutputArgs {
    /// The .isolate file to write; the command starts in its directory
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Print what was packed as JSON instead of the file's name
    #[arg(long)]
    json: bool,
}

/// What `--json` prints. Keys are added, never renamed or removed.
#[derive(Serialize)]
struct PackReport<T> {
    description: String,
    packed: T,
}

/// What other machines have.
#[derive(Debug, Args)]
struct BaseArgs {
    /// Directory whose libraries every machine has; may be repeated
    #[arg(long, value_name = "DIR", default_values = ["/lib", "/lib64", "/usr"])]
    base: Vec<PathBuf>,
    /// Directory to look for libraries in first; may be repeated
    #[arg(long, value_name = "DIR")]
    library_path: Vec<PathBuf>,
}

/// Writes the description.
pub(crate) async fn pack(args: PackArgs, context: &Context) -> Result<Exit, Error> {
    match args.recipe {
        Recipe::Cargo(args) => cargo::cargo(args, context).await,
        Recipe::Elf(args) => elf::elf(args, context),
        Recipe::Python(args) => python::python(args, context).await,
    }
}

impl OutputArgs {
    /// Its absolute path, the links on the way to it resolved.
    fn real(&self) -> Result<PathBuf, Error> {
        let parent = self.output.parent().filter(|parent| !parent.as_os_str().is_empty());
        let reason = "name an .isolate file";
        let name = self.output.file_name().filter(|_| !self.output.is_dir());
        let name = name.ok_or(Error::Argument { path: self.output.clone(), reason })?;
        Ok(directory(parent.unwrap_or(Path::new(".")))?.join(name))
    }

    /// Writes the description, tells about it on stderr and where it is, or all of it for machines, on stdout.
    fn write(
        &self,
        description: &str,
        told: &str,
        packed: impl Serialize,
        context: &Context,
    ) -> Result<Exit, Error> {
        write_file(&self.output, description.as_bytes())?;
        context.say(told);
        let description = self.output.display().to_string();
        match self.json {
            true => print(&report::json(&PackReport { description, packed }))?,
            false => print(format!("{description}\n").as_bytes())?,
        }
        Ok(Exit::Success)
    }
}

impl BaseArgs {
    /// The real paths of both. A base that is not there has no libraries.
    fn real(&self) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Error> {
        let base = self.base.iter().filter_map(|dir| fs::canonicalize(dir).ok()).collect();
        let library_path = self.library_path.iter().map(|dir| directory(dir)).collect::<Result<_, _>>()?;
        Ok((base, library_path))
    }
}

fn counted_libraries(number: u64) -> String {
    human::counted(number, "shared object")
}

/// The real paths of files and directories that have to be there.
fn existing(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let reason = "no such file or directory";
    let real =
        |path: &PathBuf| fs::canonicalize(path).map_err(|_| Error::Argument { path: path.clone(), reason });
    paths.iter().map(real).collect()
}
