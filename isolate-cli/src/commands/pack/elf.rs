//! `isolate pack elf`.

use super::{BaseArgs, OutputArgs, counted_libraries, existing};
use crate::{Error, closure, commands::Context, is_elf, pack::Recipe};
use clap::Args;
use runtime::Exit;
use serde::Serialize;
use std::{fs, path::PathBuf};

const EXAMPLES: &str = "\
Examples:
  isolate pack elf -o unit_tests.isolate out/unit_tests -- --gtest_color=no
  isolate pack elf -o tool.isolate --base /usr --base /opt/base out/tool

Nothing is run. Libraries below a --base are expected on every machine. Those that the program does
not find relative to itself are found by LD_LIBRARY_PATH, which the command then sets. What is only
loaded by `dlopen` is not seen: name it with --data, or use `isolate trace`. `isolate --help` lists the exit codes.";

/// A program with the shared libraries that other machines may not have
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ElfArgs {
    /// The program
    #[arg(value_name = "BIN")]
    program: PathBuf,
    /// Its arguments
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
    /// File or directory that it needs besides, such as plugins; may be repeated
    #[arg(long, value_name = "PATH")]
    data: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    base: BaseArgs,
}

/// What `--json` tells of it.
#[derive(Serialize)]
struct Packed {
    /// Where they are, from the description.
    libraries: Vec<String>,
}

pub(super) fn elf(args: ElfArgs, context: &Context) -> Result<Exit, Error> {
    let output = args.output.real()?;
    let reason = "no such program: build it first, or correct the path";
    let program = fs::canonicalize(&args.program)
        .map_err(|_| Error::Argument { path: args.program.clone(), reason })?;
    let (base, library_path) = args.base.real()?;
    let data = existing(&args.data)?;
    let plugins = data.iter().filter(|path| is_elf(path)).cloned();
    let programs: Vec<PathBuf> = [program.clone()].into_iter().chain(plugins).collect();
    let found = closure(&programs, &base, &library_path)?.complete()?;

    for linker in &found.linkers {
        context.say(&format!(
            "warning: {} starts the program, and is below no --base: other machines need it in the same place",
            linker.display()
        ));
    }
    let mut recipe = Recipe::new(output.parent().unwrap_or(&output));
    recipe.file(&program);
    data.iter().for_each(|path| recipe.any(path));
    found.libraries.iter().for_each(|library| recipe.file(library));
    if !found.search.is_empty() {
        let search: Vec<String> = found.search.iter().map(|dir| recipe.relative(dir)).collect();
        recipe.command(["env".to_owned(), format!("LD_LIBRARY_PATH={}", search.join(":"))]);
    }
    let program = recipe.program(&program);
    recipe.command([program].into_iter().chain(args.args));
    let told = format!("packed the program with {}", counted_libraries(found.libraries.len() as u64));
    let libraries = found.libraries.iter().map(|library| recipe.relative(library)).collect();
    args.output.write(&recipe.clone().into_text(), &told, Packed { libraries }, context)
}
