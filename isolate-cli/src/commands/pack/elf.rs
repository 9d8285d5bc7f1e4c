//! `isolate pack elf`.

use super::{BaseArgs, OutputArgs, counted_libraries};
use crate::{Error, closure, commands::Context, pack::Recipe};
use clap::Args;
use runtime::Exit;
use std::{fs, path::PathBuf};

const EXAMPLES: &str = "\
Examples:
  isolate pack elf -o unit_tests.isolate out/unit_tests -- --gtest_color=no
  isolate pack elf -o tool.isolate --base /usr --base /opt/base out/tool

Nothing is run. Libraries below a --base are expected on every machine. Those that the program does not find relative
to itself are found by LD_LIBRARY_PATH, which the command then sets. What is loaded by `dlopen` only is not
seen: use `isolate trace`. `isolate --help` lists the exit codes.";

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
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    base: BaseArgs,
}

pub(super) fn elf(args: ElfArgs, context: &Context) -> Result<Exit, Error> {
    let output = args.output.real()?;
    let reason = "no such program: build it first, or correct the path";
    let program = fs::canonicalize(&args.program)
        .map_err(|_| Error::Argument { path: args.program.clone(), reason })?;
    let (base, library_path) = args.base.real()?;
    let found = closure(std::slice::from_ref(&program), &base, &library_path)?.complete()?;

    let mut recipe = Recipe::new(output.parent().unwrap_or(&output));
    recipe.file(&program);
    found.libraries.iter().for_each(|library| recipe.file(library));
    if !found.search.is_empty() {
        let search: Vec<String> = found.search.iter().map(|dir| recipe.relative(dir)).collect();
        recipe.command(["env".to_owned(), format!("LD_LIBRARY_PATH={}", search.join(":"))]);
    }
    let program = recipe.program(&program);
    recipe.command([program].into_iter().chain(args.args));
    let told = format!("packed the program with {}", counted_libraries(found.libraries.len() as u64));
    args.output.write(&recipe.into_text(), &told, context)
}
