//! The one signal that everything stops on.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cloned into everything that has to end. Requested once, by a signal or by whoever holds it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Nobody has asked for it yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asked for by SIGTERM or SIGINT. Fails when the handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let requested = shutdown.clone();
        #[expect(clippy::disallowed_methods, reason = "lives as long as the process")]
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            requested.request();
        });
        Ok(shutdown)
    }

    /// Asks everything to stop.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Ends when it is asked for.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// One that follows this one and can be asked for alone.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}
