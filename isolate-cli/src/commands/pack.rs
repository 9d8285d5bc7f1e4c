//! `isolate pack`: recipes that write `.isolate` files for what people have.

use super::{Context, print};
use crate::{
    Error, closure, human,
    isolate_file::{Block, Document, Placed, Position, relative_path},
    process::write_file,
    work_item::directory,
};
use clap::{Args, Subcommand};
use runtime::Exit;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  isolate pack elf -o unit_tests.isolate out/unit_tests -- --gtest_color=no
  isolate pack elf -o tool.isolate --base /usr --base /opt/base out/tool

Nothing is run. Libraries below a --base are expected on every machine. Those that the program does not find relative
to itself are found by LD_LIBRARY_PATH, which the command then sets. What is loaded by `dlopen` only is not
seen: use `isolate trace`. `isolate --help` lists the exit codes.";

/// Write an .isolate file for something that was built
#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    #[command(subcommand)]
    recipe: Recipe,
}

#[derive(Debug, Subcommand)]
enum Recipe {
    Elf(ElfArgs),
}

/// A program with the shared libraries that other machines may not have
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct ElfArgs {
    /// The program
    #[arg(value_name = "BIN")]
    program: PathBuf,
    /// Its arguments
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
    /// The .isolate file to write; the command starts in its directory
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Directory whose libraries every machine has; may be repeated
    #[arg(long, value_name = "DIR", default_values = ["/lib", "/lib64", "/usr"])]
    base: Vec<PathBuf>,
    /// Directory to look for libraries in first; may be repeated
    #[arg(long, value_name = "DIR")]
    library_path: Vec<PathBuf>,
}

/// Writes the description.
pub(crate) fn pack(args: &PackArgs, context: &Context) -> Result<Exit, Error> {
    match &args.recipe {
        Recipe::Elf(args) => elf(args, context),
    }
}

fn elf(args: &ElfArgs, context: &Context) -> Result<Exit, Error> {
    let parent =
        args.output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let home = directory(parent)?;
    let reason = "no such program: build it first, or correct the path";
    let program = fs::canonicalize(&args.program)
        .map_err(|_| Error::Argument { path: args.program.clone(), reason })?;
    // A base that is not there has no libraries.
    let base: Vec<PathBuf> = args.base.iter().filter_map(|dir| fs::canonicalize(dir).ok()).collect();
    let library_path = args.library_path.iter().map(|dir| directory(dir)).collect::<Result<Vec<_>, _>>()?;
    let found = closure(std::slice::from_ref(&program), &base, &library_path)?;

    let relative = |path: &Path| relative_path(&home, path);
    let mut files: BTreeSet<String> = found.libraries.iter().map(|library| relative(library)).collect();
    let name = relative(&program);
    files.insert(name.clone());
    let mut command = Vec::new();
    if !found.search.is_empty() {
        let search: Vec<String> = found.search.iter().map(|dir| relative(dir)).collect();
        command.extend(["env".to_owned(), format!("LD_LIBRARY_PATH={}", search.join(":"))]);
    }
    command.push(if name.contains('/') { name } else { format!("./{name}") });
    command.extend(args.args.iter().cloned());
    let placed = |text: String| Placed::new(text, Position::START);
    let variables = Block {
        command: command.into_iter().map(placed).collect(),
        files: files.into_iter().map(placed).collect(),
        read_only: None,
    };
    let description = Document { variables, ..Document::default() };
    write_file(&args.output, description.to_string().as_bytes())?;
    context.say(&format!(
        "packed the program with {}",
        human::counted(found.libraries.len() as u64, "shared object")
    ));
    print(format!("{}\n", args.output.display()).as_bytes())?;
    Ok(Exit::Success)
}
