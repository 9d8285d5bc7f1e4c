//! `swarm`: the scheduler's client for people and CI.

use clap::Parser as _;
use runtime::Exit;

fn main() -> Exit {
    let cli = swarm_cli::Cli::parse();
    runtime::telemetry::init("warn");
    swarm_cli::run(cli)
}
