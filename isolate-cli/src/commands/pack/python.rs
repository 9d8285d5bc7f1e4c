//! `isolate pack python`.

use super::{BaseArgs, OutputArgs, counted_libraries, existing};
use crate::{Error, PythonOptions, commands::Context, pack_python, work_item::directory};
use clap::Args;
use runtime::Exit;
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  isolate pack python -o tests.isolate tests/ src/ -- -m pytest tests
  isolate pack python -o numpy.isolate --venv env -- -m pytest --pyargs numpy.linalg
  swarm run DIGEST --shards 8 --junit report.xml   # each shard runs its part of the tests

What goes along: the interpreter behind the environment and its standard library, all that is
installed in the environment, shared libraries below no --base, and of the given directories what
.gitignore does not leave out, with the settings of pytest (pyproject.toml, conftest.py, ...) that
lie above them and not above the .isolate file. Compiled files do not. The launcher, in the
directory tests.pack, makes all that an environment again wherever it lies.

Python's own tests (the package `test`) stay at home unless they are named.
`isolate --help` lists the exit codes.";

/// A Python suite with its virtual environment and the interpreter
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PythonArgs {
    /// Files and directories of the suite, and what it needs besides
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Arguments for the interpreter
    #[arg(last = true, value_name = "ARGS", required = true)]
    args: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    /// The virtual environment
    #[arg(long, value_name = "DIR", default_value = ".venv")]
    venv: PathBuf,
    #[command(flatten)]
    base: BaseArgs,
}

/// What `--json` tells of it.
#[derive(Serialize)]
struct Packed {
    /// The version of the interpreter.
    python: String,
    libraries: u64,
    /// Libraries that were not found.
    missing: Vec<String>,
}

pub(super) async fn python(args: PythonArgs, context: &Context) -> Result<Exit, Error> {
    let output = args.output.real()?;
    let venv = directory(&args.venv)?;
    let (base, library_path) = args.base.real()?;
    let options = PythonOptions { paths: existing(&args.paths)?, args: args.args, base, library_path };
    let packed = pack_python(&venv, &output, &options, &context.shutdown).await?;
    for (library, by) in &packed.missing {
        context.say(&format!("warning: {library}, which {} needs, is not found", by.display()));
    }
    let told = format!("packed Python {} and {}", packed.version, counted_libraries(packed.libraries));
    let missing = packed.missing.into_keys().collect();
    let report = Packed { python: packed.version, libraries: packed.libraries, missing };
    args.output.write(&packed.description, &told, report, context)
}
