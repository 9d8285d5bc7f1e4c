//! The `bot` program: parse, load, run, exit code.

mod program;

use clap::Parser as _;
use runtime::Exit;

fn main() -> Exit {
    // Before anything else: a supervisor has no runtime, no log and no flags.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == bot::SUPERVISE) {
        return bot::supervise();
    }
    if std::env::args_os().nth(1).is_some_and(|verb| verb == bot::PERFORM) {
        return program::perform();
    }
    runtime::memory::keep_freed();
    let arguments = program::Arguments::parse();
    if arguments.print_config {
        return program::say(bot::SAMPLE.trim_end());
    }
    runtime::telemetry::init("info");
    match program::run(&arguments) {
        Ok(()) => Exit::Success,
        Err(error) => {
            tracing::error!("{error:#}");
            program::exit(&error)
        }
    }
}
