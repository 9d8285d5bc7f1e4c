//! `isolate pack cargo`.

use super::{BaseArgs, OutputArgs, counted_libraries, existing};
use crate::{CargoOptions, Error, commands::Context, human, pack_cargo, work_item::directory};
use clap::Args;
use runtime::Exit;
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  isolate pack cargo -o tests.isolate
  isolate pack cargo -o tests.isolate --data ../testdata path/to/workspace -- -p parser --release
  swarm run DIGEST --driver libtest                # the tests are shared out one by one
  swarm run DIGEST --shards 8 --junit report.xml   # the tests are dealt out to the shards
  isolate run DIGEST -- -E 'binary(parser)'        # here, with arguments of `cargo nextest run`
  isolate run DIGEST -- --exact 'crate::parser empty' --nocapture   # one test of one program

Builds the tests with `cargo nextest list`. What goes along: their programs, the shared libraries
below no --base, the programs of the workspace, and the files of each tested package that .gitignore
does not leave out. The launcher, nextest itself and its listings are put into the directory
tests.pack. Doc tests are not among the tests; examples that tests start are given with --data.

Tests start in the directory of their package and find CARGO_MANIFEST_DIR in the environment. What
env!(\"CARGO_MANIFEST_DIR\"), env!(\"CARGO_BIN_EXE_...\") and env!(\"OUT_DIR\") put into a program is a
path of this machine: in copies of such programs it becomes /dev/fd/9, the directory of the copy.
`isolate --help` lists the exit codes.";

/// The tests of a Cargo workspace, with the shared libraries and files that they need
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CargoArgs {
    /// The directory of the package or workspace
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Arguments for `cargo nextest list`: which packages, features, profile
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    /// File or directory that the tests need besides; may be repeated
    #[arg(long, value_name = "PATH")]
    data: Vec<PathBuf>,
    #[command(flatten)]
    base: BaseArgs,
}

/// What `--json` tells of it.
#[derive(Serialize)]
struct Packed {
    /// Those with tests.
    programs: u64,
    libraries: u64,
    /// Programs that still look for files where they were built.
    stuck: Vec<String>,
}

pub(super) async fn cargo(args: CargoArgs, context: &Context) -> Result<Exit, Error> {
    let output = args.output.real()?;
    let dir = directory(&args.dir)?;
    let (base, library_path) = args.base.real()?;
    let data = existing(&args.data)?;
    let options = CargoOptions { list_args: args.args, data, base, library_path };
    let packed = pack_cargo(&dir, &output, &options, &context.shutdown).await?;
    let told = format!(
        "packed {} with tests and {}",
        human::counted(packed.binaries, "program"),
        counted_libraries(packed.libraries)
    );
    if !packed.stuck.is_empty() {
        let names: Vec<_> = packed.stuck.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        context.say(&format!(
            "warning: {} may look for files where they were built, by env!(\"CARGO_MANIFEST_DIR\") or the like: read these with \
             std::env::var, or build in a directory with a longer name",
            names.join(", ")
        ));
    }
    let report = Packed {
        programs: packed.binaries,
        libraries: packed.libraries,
        stuck: packed.stuck.iter().map(|path| path.display().to_string()).collect(),
    };
    args.output.write(&packed.description, &told, report, context)
}
