//! The program `isolate`.

use clap::Parser as _;
use isolate_cli::cli::{Cli, normalised, run};
use runtime::Exit;

fn main() -> Exit {
    runtime::memory::keep_freed();
    let cli = match Cli::try_parse_from(normalised(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // There is nobody left to tell when even this cannot be written.
            let _ = error.print();
            return exit;
        }
    };
    runtime::telemetry::init("warn");
    run(cli)
}
