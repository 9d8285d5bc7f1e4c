//! What the program writes for people: one line when it is ready, one when it fails.

use anyhow::Error;
use cas_server::Running;
use runtime::{Exit, Shutdown};
use std::io::{self, Write as _};

/// Writes to stdout. Nobody there to read is no failure.
pub(crate) fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Exit::Success
}

/// Writes why the program ends, causes included.
pub(crate) fn failed(error: impl Into<Error>, exit: Exit) -> Exit {
    let _ = writeln!(io::stderr(), "error: {:#}", error.into());
    exit
}

/// Says that it is ready, and serves until it is told to stop.
pub(crate) async fn serve(running: Running, shutdown: io::Result<Shutdown>) -> Exit {
    let shutdown = match shutdown {
        Ok(shutdown) => shutdown,
        Err(error) => return failed(error, Exit::Internal),
    };
    print(&format!("cas-server listening on {}\n", running.url()));
    running.run_until(shutdown).await;
    Exit::Success
}
