//! Answers questions about a tree that is watched, until it is stopped or nobody asked for long.

use super::{
    Place, Status, WatchError, Watched,
    journal::Told,
    message::{Answer, Question},
    place::Listening,
};
use runtime::{Clock, Shutdown};
use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest, unix::AsyncFd},
    net::{UnixListener, UnixStream},
    runtime::{Handle, RuntimeFlavor},
    sync::{mpsc, oneshot},
    task::{JoinSet, block_in_place},
    time::timeout,
};

/// As many are answered at a time; others wait.
const CLIENTS: usize = 64;

/// Longest question.
const MAX_QUESTION: u64 = 4096;

/// So long somebody may take to ask and to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question, and where the answer goes.
type Asked = (Question, oneshot::Sender<Answer>);

/// Why it ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By a signal.
    Signal,
    /// Somebody asked for it.
    Stopped,
    /// Nobody asked anything for long.
    Idle,
}

/// A tree that is watched and can be asked about.
#[derive(Debug)]
pub(crate) struct Serving {
    watched: Watched,
    listening: Listening,
}

impl Serving {
    /// From now on those who look for it find it. `None`: somebody watches this directory already.
    pub(crate) fn begin(place: &Place, watched: Watched) -> io::Result<Option<Self>> {
        Ok(place.listen(watched.root())?.map(|listening| Self { watched, listening }))
    }

    /// What is watched.
    pub(crate) fn status(&self) -> Status {
        status(&self.watched)
    }

    /// Serves; ends after `idle` without a question.
    pub(crate) async fn run(
        self,
        idle: Duration,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) -> Result<Ending, WatchError> {
        let Self { watched, listening } = self;
        let mut clients = JoinSet::new();
        let outcome = run(watched, &listening, &mut clients, idle, &*clock, &shutdown).await;
        // Nobody is to find it any more; those who did hear the last answer.
        drop(listening);
        while clients.join_next().await.is_some() {}
        outcome
    }
}

async fn run(
    mut watched: Watched,
    listening: &Listening,
    clients: &mut JoinSet<()>,
    idle: Duration,
    clock: &dyn Clock,
    shutdown: &Shutdown,
) -> Result<Ending, WatchError> {
    let (queue, socket) = opened(&watched, listening)
        .map_err(|source| WatchError::Io { path: watched.root().to_owned(), source })?;
    let (questions, mut asked) = mpsc::channel::<Asked>(CLIENTS);
    let mut bored = clock.sleep(idle);
    loop {
        tokio::select! {
            () = shutdown.requested() => return Ok(Ending::Signal),
            Some((question, answer)) = asked.recv() => {
                let told = at_leisure(|| watched.answer(&question))?;
                // Who does not wait any more need not know.
                let _ = answer.send(told);
                if question == Question::Stop {
                    return Ok(Ending::Stopped);
                }
                bored = clock.sleep(idle);
            }
            Some(_) = clients.join_next() => {}
            // A connection that did not come about is its owner's.
            accepted = socket.accept(), if clients.len() < CLIENTS => if let Ok((stream, _)) = accepted {
                let questions = questions.clone();
                clients.spawn(async move { drop(timeout(PATIENCE, attend(stream, questions)).await) });
            },
            ready = queue.readable() => {
                // What was left in there is read right away: the kernel need not wake anybody for it again.
                if at_leisure(|| watched.read())? && let Ok(mut ready) = ready {
                    ready.clear_ready();
                }
            }
            () = &mut bored => return Ok(Ending::Idle),
        }
    }
}

/// A large directory that came takes a while. Others of this process go on meanwhile.
fn at_leisure<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(work),
        _ => work(),
    }
}

#[expect(
    deprecated,
    reason = "what takes its place has to be promised that the handle stays open, as an OwnedFd does"
)]
fn opened(watched: &Watched, listening: &Listening) -> io::Result<(AsyncFd<OwnedFd>, UnixListener)> {
    let socket = listening.socket.try_clone()?;
    socket.set_nonblocking(true)?;
    let queue = AsyncFd::with_interest(watched.queue()?, Interest::READABLE)?;
    Ok((queue, UnixListener::from_std(socket)?))
}

fn status(watched: &Watched) -> Status {
    let (directories, changed) = watched.counts();
    Status { root: watched.root().to_owned(), process: std::process::id(), directories, changed }
}

impl Watched {
    fn answer(&mut self, question: &Question) -> Result<Answer, WatchError> {
        Ok(match question {
            Question::Changes { token, of } => {
                let Told { token, paths } = self.changes(token.as_deref())?;
                if self.is(of) { Answer::Changes { token, paths } } else { Answer::Another }
            }
            Question::Status | Question::Stop => Answer::Status(status(self)),
        })
    }
}

/// One connection: a question, an answer.
async fn attend(stream: UnixStream, questions: mpsc::Sender<Asked>) -> Option<()> {
    let (from, mut to) = stream.into_split();
    let mut line = String::new();
    let mut from = BufReader::new(from.take(MAX_QUESTION));
    tokio::select! {
        read = from.read_line(&mut line) => read.ok()?,
        // It ends: who has not asked yet is told nothing.
        () = questions.closed() => return None,
    };
    let question = serde_json::from_str(&line).ok()?;
    let (sender, answer) = oneshot::channel();
    questions.send((question, sender)).await.ok()?;
    let mut answer = serde_json::to_vec(&answer.await.ok()?).ok()?;
    answer.push(b'\n');
    to.write_all(&answer).await.ok()
}
