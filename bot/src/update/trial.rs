//! Tries a program, and becomes it.

use super::Update;
use std::{
    convert::Infallible,
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::Duration,
};

/// The environment variable that makes a bot one on trial.
pub const TRIAL: &str = "ISOSWARM_BOT_TRIAL";

/// How long a program has until its first call was answered. It ends by itself then, should nobody end it.
pub const PATIENCE: Duration = Duration::from_secs(60);

impl Update {
    /// Runs the program once, as a bot under `arguments`. Says why it is of no use.
    pub async fn try_out(&self, arguments: &[OsString], patience: Option<Duration>) -> Result<(), String> {
        let patience = patience.unwrap_or(PATIENCE);
        let child = tokio::process::Command::new(&self.path)
            .args(arguments)
            .env(TRIAL, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.map_err(|error| format!("cannot start it: {error}"))?;
        match tokio::time::timeout(patience, child.wait()).await {
            Err(_) => {
                let _ = child.kill().await;
                Err(format!("it did not reach the scheduler within {patience:?}"))
            }
            Ok(Err(error)) => Err(format!("cannot wait for it: {error}")),
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("it ended with {status} before it reached the scheduler")),
        }
    }
}

/// Puts the program in the place of this process. Returns only when that cannot be done.
pub fn become_program(update: &Update, arguments: &[OsString]) -> io::Result<Infallible> {
    Err(Command::new(&update.path).args(arguments).env_remove(TRIAL).exec())
}
