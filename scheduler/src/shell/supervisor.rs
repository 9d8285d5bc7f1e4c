//! Runs one engine after the other.

use super::{
    engine::Engine,
    handle::{Command, Handle, channel, refuse},
};
use crate::{
    journal::{JournalError, Location, Opening},
    metrics::Metrics,
    pools::Pools,
    queue::Tuning,
    vault::Vault,
};
use runtime::{Clock, Entropy, Shutdown};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Why the journal cannot be written, while it cannot.
pub(crate) type Health = watch::Receiver<Option<Arc<str>>>;

/// Time between attempts to open a journal that has failed.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// What the shell is told when it starts.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) journal: Location,
    pub(crate) tuning: Tuning,
    pub(crate) vault: Arc<Vault>,
    pub(crate) pools: Pools,
}

/// The task that owns the queue.
pub(crate) struct Shell {
    /// Or why there is none: another scheduler has the journal.
    opened: Result<Engine, JournalError>,
    opener: Opener,
    commands: mpsc::Receiver<Command>,
    health: watch::Sender<Option<Arc<str>>>,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("settings", &self.opener.settings).finish_non_exhaustive()
    }
}

/// What an engine is made of.
#[derive(Clone)]
struct Opener {
    settings: Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Metrics,
}

impl Opener {
    /// Opens the journal on a thread that may block.
    async fn open(&self, opening: Opening) -> Result<Engine, JournalError> {
        let Self { settings, clock, entropy, metrics } = self.clone();
        let place = settings.journal.place();
        let mut thread = JoinSet::new();
        thread.spawn_blocking(move || Engine::open(&settings, opening, clock, entropy, metrics));
        match thread.join_next().await {
            Some(Ok(opened)) => opened,
            other => Err(JournalError::Store { place, reason: format!("opening it has stopped: {other:?}") }),
        }
    }
}

/// Why an engine has ended.
enum Ended {
    /// Nobody can ask it anything any more.
    Done,
    Failed(JournalError),
}

impl Shell {
    /// Opens the journal and replays it. One that another scheduler has is waited for by [`Self::run`].
    pub(crate) async fn open(
        settings: Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Metrics,
    ) -> Result<(Self, Handle), JournalError> {
        let opener = Opener { settings, clock, entropy, metrics };
        let (opened, reason) = match opener.open(Opening::AtStart).await {
            Ok(engine) => (Ok(engine), None),
            Err(standby @ JournalError::Standby { .. }) => {
                tracing::info!("{standby}");
                let reason = standby.to_string().into();
                (Err(standby), Some(reason))
            }
            Err(error) => return Err(error),
        };
        let (handle, commands) = channel();
        Ok((Self { opened, opener, commands, health: watch::Sender::new(reason) }, handle))
    }

    /// To be followed.
    pub(crate) fn health(&self) -> Health {
        self.health.subscribe()
    }

    /// Serves until every handle is gone. From `shutdown` on nobody is made to wait, so that they are gone soon.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let Self { mut opened, opener, mut commands, health } = self;
        loop {
            let mut engine = match opened {
                Ok(engine) => engine,
                Err(error) => match reopen(&opener, &mut commands, &health, error).await {
                    Some(engine) => engine,
                    None => return,
                },
            };
            let ended = serve(&mut engine, &mut commands, &shutdown).await;
            let writer = engine.into_writer();
            let error = match ended {
                Ended::Failed(error) => {
                    // The same error once more; what was durable before is told.
                    drop(writer.finish().await);
                    error
                }
                Ended::Done => match writer.finish().await {
                    Ok(()) => return,
                    Err(error) => return tracing::error!(%error, "the last answers were not given"),
                },
            };
            opened = Err(error);
        }
    }
}

/// Tries until the journal can be opened. None when nobody can ask any more.
async fn reopen(
    opener: &Opener,
    commands: &mut mpsc::Receiver<Command>,
    health: &watch::Sender<Option<Arc<str>>>,
    mut error: JournalError,
) -> Option<Engine> {
    loop {
        let reason: Arc<str> = error.to_string().into();
        if health.send_replace(Some(Arc::clone(&reason))).as_ref() != Some(&reason) {
            tracing::warn!("{reason}");
        }
        let pause = opener.clock.sleep(REOPEN_AFTER);
        refuse_until(commands, &reason, pause).await.ok()?;
        match refuse_until(commands, &reason, opener.open(Opening::AfterFailure)).await {
            Ok(Ok(engine)) => {
                tracing::info!("the journal can be written");
                health.send_replace(None);
                return Some(engine);
            }
            Ok(Err(refused)) => error = refused,
            Err(opening) => {
                // Others may have the journal at once.
                if let Ok(engine) = opening.await {
                    drop(engine.into_writer().finish().await);
                }
                return None;
            }
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
                Some(command) => engine.handle(command, commands).await,
                None => return Ended::Done,
            },
        }
    }
}

/// Answers what comes in until something has happened. Gives it back when nobody can ask any more.
async fn refuse_until<F: Future>(
    commands: &mut mpsc::Receiver<Command>,
    reason: &Arc<str>,
    event: F,
) -> Result<F::Output, Pin<Box<F>>> {
    let mut event = Box::pin(event);
    loop {
        tokio::select! {
            output = &mut event => return Ok(output),
            command = commands.recv() => match command {
                Some(command) => refuse(command, reason),
                None => return Err(event),
            },
        }
    }
}
