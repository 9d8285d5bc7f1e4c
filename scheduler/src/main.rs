//! The `scheduler` program: parse, load, run, exit code.

use clap::Parser as _;
use runtime::{Exit, Shutdown, SystemClock, SystemEntropy};

mod flags;

/// A call is a hundred small pieces of memory, half of them freed on another thread than the one that asked for them: what the
/// C library's heap is worst at. RocksDB keeps to that one.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Exit {
    let flags = flags::Flags::parse();
    if flags.print_config {
        flags::say(scheduler::config::SAMPLE.trim_end());
        return Exit::Success;
    }
    runtime::telemetry::init("info");
    match run(&flags).await {
        Ok(()) => Exit::Success,
        Err(error) => {
            tracing::error!("{error:#}");
            flags::exit_code(&error)
        }
    }
}

async fn run(flags: &flags::Flags) -> anyhow::Result<()> {
    let config: scheduler::Config = runtime::config::load(flags.config.as_deref(), &flags.keys)?;
    let shutdown = Shutdown::on_signals()?;
    let running = scheduler::start(config, SystemClock::shared(), SystemEntropy::shared()).await?;
    flags::say(&format!("scheduler listening on {}", running.url()));
    running.run_until(shutdown).await?;
    Ok(())
}
