//! Runs one engine after the other.

use super::{
    engine::Engine,
    handle::{Command, Handle, channel, refuse},
};
use crate::{journal::JournalError, metrics::Metrics, queue::Tuning, vault::Vault};
use runtime::{Clock, Entropy, Shutdown};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// Why the journal cannot be written, while it cannot.
pub(crate) type Health = watch::Receiver<Option<Arc<str>>>;

/// Time between attempts to open a journal that has failed.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// What the shell is told when it starts.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The journal's directory.
    pub(crate) data: PathBuf,
    pub(crate) tuning: Tuning,
    pub(crate) vault: Arc<Vault>,
}

/// The task that owns the queue.
pub(crate) struct Shell {
    engine: Engine,
    commands: mpsc::Receiver<Command>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Metrics,
    health: watch::Sender<Option<Arc<str>>>,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why an engine has ended.
enum Ended {
    /// Nobody can ask it anything any more.
    Done,
    Failed(JournalError),
}

impl Shell {
    /// Opens the journal. Blocks while it is replayed.
    pub(crate) fn open(
        settings: Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Metrics,
    ) -> Result<(Self, Handle), JournalError> {
        let engine = Engine::open(&settings, Arc::clone(&clock), Arc::clone(&entropy), metrics.clone())?;
        let (handle, commands) = channel();
        let health = watch::Sender::new(None);
        Ok((Self { engine, commands, settings, clock, entropy, metrics, health }, handle))
    }

    /// To be followed.
    pub(crate) fn health(&self) -> Health {
        self.health.subscribe()
    }

    /// Serves until every handle is gone. From `shutdown` on nobody is made to wait, so that they are gone soon.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let Self { mut engine, mut commands, settings, clock, entropy, metrics, health } = self;
        loop {
            let ended = serve(&mut engine, &mut commands, &shutdown).await;
            let writer = engine.into_writer();
            let error = match ended {
                Ended::Failed(error) => error,
                Ended::Done => match writer.finish().await {
                    Ok(()) => return,
                    Err(error) => return tracing::error!(%error, "the last answers were not given"),
                },
            };
            tracing::error!(%error, "the journal has failed");
            let mut reason: Arc<str> = error.to_string().into();
            engine = loop {
                health.send_replace(Some(Arc::clone(&reason)));
                if refuse_for_a_while(&mut commands, &*clock, &reason).await.is_none() {
                    return;
                }
                let open = Engine::open(&settings, Arc::clone(&clock), Arc::clone(&entropy), metrics.clone());
                match open.and_then(|engine| engine.probe().map(|()| engine)) {
                    Ok(engine) => break engine,
                    Err(error) => reason = error.to_string().into(),
                }
            };
            tracing::info!("the journal can be written again");
            health.send_replace(None);
        }
    }
}

async fn serve(engine: &mut Engine, commands: &mut mpsc::Receiver<Command>, shutdown: &Shutdown) -> Ended {
    loop {
        let due = engine.time.sleep_until(engine.next_deadline());
        tokio::select! {
            biased;
            error = engine.writer.failed() => return Ended::Failed(error),
            () = shutdown.requested(), if !engine.stopping => engine.stop_waiting().await,
            () = due => engine.pulse().await,
            command = commands.recv() => match command {
                Some(command) => engine.handle(command).await,
                None => return Ended::Done,
            },
        }
    }
}

/// Answers what comes in meanwhile. None when nobody can ask any more.
async fn refuse_for_a_while(
    commands: &mut mpsc::Receiver<Command>,
    clock: &dyn Clock,
    reason: &Arc<str>,
) -> Option<()> {
    let mut pause = clock.sleep(REOPEN_AFTER);
    loop {
        tokio::select! {
            () = &mut pause => return Some(()),
            command = commands.recv() => refuse(command?, reason),
        }
    }
}
