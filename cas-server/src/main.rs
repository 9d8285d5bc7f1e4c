//! The program `cas-server`.

use cas_server::{Config, Flags, SAMPLE, start};
use clap::{Parser, Subcommand};
use runtime::{Exit, Shutdown, SystemClock, SystemEntropy, exit, telemetry};
use std::path::PathBuf;

mod commands;
mod report;

/// Content-addressable store: the Remote Execution API over gRPC, and plain HTTP, on one port.
#[derive(Parser)]
#[command(version = runtime::VERSION, after_help = exit::HELP, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Without one it serves.
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints a commented configuration file with all defaults, and ends.
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Subcommand)]
enum Command {
    Scrub(commands::scrub::Scrub),
    Explain(commands::explain::Explain),
}

fn main() -> Exit {
    runtime::memory::keep_freed();
    serve()
}

#[tokio::main]
async fn serve() -> Exit {
    let arguments = Arguments::parse();
    if arguments.print_config {
        return report::print(SAMPLE);
    }
    runtime::descriptors::raise_limit();
    match arguments.command {
        None => {}
        Some(Command::Scrub(scrub)) => return scrub.run(),
        Some(Command::Explain(explain)) => return explain.run().await,
    }
    telemetry::init("info");
    let config: Config = match runtime::config::load(arguments.config.as_deref(), &arguments.flags) {
        Ok(config) => config,
        Err(error) => return report::failed(error, Exit::Usage),
    };
    match start(config, SystemClock::shared(), SystemEntropy::shared()).await {
        Ok(running) => report::serve(running, Shutdown::on_signals()).await,
        Err(error) => {
            let exit = error.exit();
            report::failed(error, exit)
        }
    }
}
