//! The attempts that the bot holds: a task and a directory each, until they are forgotten.

use crate::{
    attempt::{Assignment, AttemptResult, CommandExit, Ending, Lease},
    executor::Interruption,
    health::Attempted,
    hooks::{Hook, Hooks},
    record::{Durability, Record},
    spool::Spool,
    suite::{TestsCommand, TestsLine, TestsNews},
    synchronize::Synchronizer,
    task::Worker,
    workdir::{DataDir, WorkDir},
};
use cas::named::NamedCaches;
use proto::SessionId;
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap},
    future::poll_fn,
    io,
    path::Path,
    sync::Arc,
    task::Poll,
};
use tokio::{
    sync::{
        Notify,
        mpsc::{self, error::TrySendError},
        watch,
    },
    task::{Id, JoinError, JoinSet},
};

/// Most commands that wait for a worker. It has one batch, and asks for the next one.
const COMMANDS: usize = 16;

/// What a worker may tell before somebody listens.
const NEWS: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Attempts {
    worker: Arc<Worker>,
    data: Arc<DataDir>,
    /// The bot's, under which all leases are.
    session: SessionId,
    held: BTreeMap<Lease, Attempt>,
    hooks: Arc<Hooks>,
    running: JoinSet<Attempted>,
    leases: HashMap<Id, Lease>,
    removals: JoinSet<()>,
    /// Some output has grown.
    grown: Arc<Notify>,
}

#[derive(Debug)]
struct Attempt {
    dir: WorkDir,
    spool: Arc<Spool>,
    interruption: watch::Sender<Interruption>,
    phase: Phase,
    /// Of a worker that somebody listens to.
    worker: Option<WorkerLine>,
}

/// The other end of a worker's [`TestsLine`].
#[derive(Debug)]
struct WorkerLine {
    commands: mpsc::Sender<TestsCommand>,
    news: mpsc::Receiver<TestsNews>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Its task is being stopped, and nobody asks for its result.
    Forgotten,
    Ended,
}

impl Attempts {
    pub(super) fn new(worker: Worker, data: Arc<DataDir>, session: SessionId, hooks: Arc<Hooks>) -> Self {
        Self {
            worker: Arc::new(worker),
            data,
            session,
            held: BTreeMap::new(),
            hooks,
            running: JoinSet::new(),
            leases: HashMap::new(),
            removals: JoinSet::new(),
            grown: Arc::default(),
        }
    }

    /// What attempts leave to each other.
    pub(super) fn caches(&self) -> NamedCaches {
        self.worker.named_caches.clone()
    }

    /// The output of an attempt that is held.
    pub(super) fn spool(&self, lease: Lease) -> Option<Arc<Spool>> {
        self.held.get(&lease).map(|attempt| Arc::clone(&attempt.spool))
    }

    /// Holds what a former process of the bot has left of an attempt.
    pub(super) fn take_over(&mut self, dir: WorkDir, spool: Spool, lease: Lease) {
        let interruption = watch::Sender::new(Interruption::None);
        let attempt =
            Attempt { dir, spool: Arc::new(spool), interruption, phase: Phase::Ended, worker: None };
        self.held.insert(lease, attempt);
    }

    /// Begins to carry out an assignment. What keeps it from that is its result.
    pub(super) fn start(
        &mut self,
        lease: Lease,
        assignment: Box<Assignment>,
        synchronizer: &mut Synchronizer,
    ) {
        let (shard, attempt, input) = (lease.shard, lease.attempt, assignment.input);
        let input = input.map(tracing::field::display);
        tracing::info!(%shard, attempt, input, included = assignment.includes.len(), "starting");
        match self.place(lease) {
            Ok((dir, spool)) => {
                let (interruption, interrupted) = watch::channel(Interruption::None);
                let (worker, task_dir, task_spool) =
                    (Arc::clone(&self.worker), dir.clone(), Arc::clone(&spool));
                let hooks = Arc::clone(&self.hooks);
                let (line, worker_line) = assignment.tests.is_some().then(line).unzip();
                let task = async move {
                    let performing = worker.perform(&assignment, &task_dir, &task_spool, interrupted, line);
                    between_hooks(&hooks, lease, &assignment, &task_dir.path(), performing).await
                };
                self.leases.insert(self.running.spawn(task).id(), lease);
                let phase = Phase::Running;
                self.held.insert(lease, Attempt { dir, spool, interruption, phase, worker: worker_line });
            }
            Err(error) => {
                let message = format!("cannot make a work directory: {error}");
                synchronizer.finished(lease, AttemptResult::unstarted(Ending::InternalError, message));
            }
        }
    }

    fn place(&self, lease: Lease) -> io::Result<(WorkDir, Arc<Spool>)> {
        let (clock, grown) = (Arc::clone(&self.worker.clock), Arc::clone(&self.grown));
        let (dir, spool) = self.data.attempt(|dir| {
            self.record(lease, None).write(&dir.record(), Durability::Process)?;
            Spool::create(&dir.spool(), clock, grown)
        })?;
        Ok((dir, Arc::new(spool)))
    }

    fn record(&self, lease: Lease, result: Option<AttemptResult>) -> Record {
        Record { bot: self.worker.bot.clone(), session: self.session.clone(), lease, result }
    }

    /// Ends an attempt with TERM, grace, KILL.
    pub(super) fn kill(&mut self, lease: Lease) {
        if let Some(attempt) = self.held.get(&lease) {
            tracing::info!(shard = %lease.shard, attempt = lease.attempt, "killing");
            attempt.interrupt(Interruption::Kill);
        }
    }

    /// Tells a worker what to do next.
    pub(super) fn command(&mut self, lease: Lease, command: TestsCommand, synchronizer: &mut Synchronizer) {
        let Some(attempt) = self.held.get(&lease) else { return };
        let Some(worker) = &attempt.worker else { return };
        // One whose task has ended tells so by its result.
        if let Err(TrySendError::Full(_)) = worker.commands.try_send(command) {
            let message = "the scheduler grants more tests than it was asked for".to_owned();
            synchronizer.finished(lease, AttemptResult::unstarted(Ending::InternalError, message));
            attempt.interrupt(Interruption::Kill);
        }
    }

    /// Stops an attempt at once if it runs, and drops all that it left.
    pub(super) fn forget(&mut self, lease: Lease) {
        let Some(attempt) = self.held.get_mut(&lease) else { return };
        if attempt.phase == Phase::Ended {
            let dir = attempt.dir.clone();
            self.held.remove(&lease);
            self.remove(move || dir.remove());
        } else {
            tracing::warn!(shard = %lease.shard, attempt = lease.attempt, "stopping an attempt before its end");
            attempt.interrupt(Interruption::Abandon);
            attempt.phase = Phase::Forgotten;
            attempt.worker = None;
        }
    }

    /// Stops all that runs, and tells which leases that were.
    pub(super) fn abandon_running(&mut self) -> Vec<Lease> {
        let running = self.held.iter().filter(|(_, attempt)| attempt.phase == Phase::Running);
        let running: Vec<Lease> = running.map(|(lease, _)| *lease).collect();
        running.iter().for_each(|lease| self.forget(*lease));
        running
    }

    /// Waits for the next news of an attempt and tells them to `synchronizer`; what has ended is told to the caller. May
    /// be dropped at any time.
    pub(super) async fn news(&mut self, synchronizer: &mut Synchronizer) -> Option<Attempted> {
        tokio::select! {
            Some(ended) = self.running.join_next_with_id() => return self.ended(ended, synchronizer),
            Some(_) = self.removals.join_next() => {}
            (lease, news) = tests_news(&mut self.held, synchronizer) => {
                synchronizer.tests(lease, news);
                self.hear(lease, synchronizer);
            }
            () = self.grown.notified() => {
                for (lease, attempt) in &self.held {
                    synchronizer.output_grew(*lease, attempt.spool.len());
                }
            }
        }
        None
    }

    /// Takes in all that a worker has told.
    fn hear(&mut self, lease: Lease, synchronizer: &mut Synchronizer) {
        let Some(worker) = self.held.get_mut(&lease).and_then(|attempt| attempt.worker.as_mut()) else {
            return;
        };
        while synchronizer.takes_tests(lease)
            && let Ok(news) = worker.news.try_recv()
        {
            synchronizer.tests(lease, news);
        }
    }

    fn ended(
        &mut self,
        ended: Result<(Id, Attempted), JoinError>,
        synchronizer: &mut Synchronizer,
    ) -> Option<Attempted> {
        let (id, attempted) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let message = format!("the bot failed to carry it out: {error}");
                let result = AttemptResult::unstarted(Ending::InternalError, message);
                (error.id(), Attempted { result, hook_failure: None })
            }
        };
        let lease = self.leases.remove(&id)?;
        let attempt = self.held.get_mut(&lease)?;
        let is_worker = attempt.worker.is_some();
        // The last words of a worker come before its result, however many they are.
        if let Some(WorkerLine { mut news, .. }) = attempt.worker.take() {
            while let Ok(news) = news.try_recv() {
                synchronizer.tests(lease, news);
            }
        }
        let result = &attempted.result;
        let dir = attempt.dir.clone();
        if attempt.phase == Phase::Forgotten {
            self.held.remove(&lease);
            self.remove(move || dir.remove());
            return Some(attempted);
        }
        tracing::info!(
            shard = %lease.shard, attempt = lease.attempt, ending = ?result.ending, exit = ?result.exit,
            message = result.message, "ended"
        );
        attempt.phase = Phase::Ended;
        let output = attempt.spool.len();
        // Without the reports of its tests the result of a worker is worth nothing.
        if !is_worker {
            let record = self.record(lease, Some(result.clone()));
            if let Err(error) = record.write(&dir.record(), Durability::Process) {
                tracing::warn!(%error, "the result of an attempt would not outlast this process");
            }
        }
        synchronizer.output_grew(lease, output);
        synchronizer.finished(lease, result.clone());
        self.remove(move || dir.remove_trees());
        Some(attempted)
    }

    fn remove(&mut self, remove: impl FnOnce() -> io::Result<()> + Send + 'static) {
        self.removals.spawn_blocking(move || {
            if let Err(error) = remove() {
                tracing::warn!(%error, "cannot remove what an attempt left; the next start of the bot tries again");
            }
        });
    }

    /// Waits until nothing runs, then removes everything, but for what is over and is to be told by the next process.
    pub(super) async fn finish(&mut self, over: Remains) {
        while let Some(ended) = self.running.join_next_with_id().await {
            let id = ended.map_or_else(|error| error.id(), |(id, _)| id);
            self.leases.remove(&id);
        }
        // What is kept was being cleared of its trees.
        while self.removals.join_next().await.is_some() {}
        for attempt in std::mem::take(&mut self.held).into_values() {
            if over == Remains::Kept && attempt.phase == Phase::Ended {
                self.remove(move || attempt.keep());
            } else {
                self.remove(move || attempt.dir.remove());
            }
        }
        while self.removals.join_next().await.is_some() {}
    }
}

/// Carries an attempt out between the hooks of it. Without the first one nothing is done; the last one changes nothing of
/// the result.
async fn between_hooks(
    hooks: &Hooks,
    lease: Lease,
    assignment: &Assignment,
    place: &Path,
    performing: impl Future<Output = AttemptResult>,
) -> Attempted {
    let mut about = json!({
        "shard": lease.shard.to_string(),
        "attempt": lease.attempt,
        "input": assignment.input.map(|input| input.to_string()),
        "command": assignment.command,
    });
    if let Err(why) = hooks.run(Hook::BeforeTask, about.clone(), place).await {
        let result = AttemptResult::unstarted(Ending::InternalError, format!("not started: {why}"));
        return Attempted { result, hook_failure: Some(why) };
    }
    let result = performing.await;
    about["ending"] = result.ending.name().into();
    about["exit_code"] = result.exit.map(CommandExit::code).into();
    about["message"] = result.message.as_str().into();
    let hook_failure = hooks.run(Hook::AfterTask, about, place).await.err();
    Attempted { result, hook_failure }
}

/// What becomes of attempts that are over when the bot ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// The next process tells of them.
    Kept,
    /// Nobody wants to know.
    Removed,
}

impl Attempt {
    /// Makes output and record outlast the host.
    fn keep(&self) -> io::Result<()> {
        self.dir.remove_trees()?;
        self.spool.sync()?;
        let path = self.dir.record();
        Record::read(&path).map_or(Ok(()), |record| record.write(&path, Durability::Synced))
    }

    fn interrupt(&self, interruption: Interruption) {
        self.interruption.send_if_modified(|current| {
            let higher = interruption > *current;
            *current = (*current).max(interruption);
            higher
        });
    }
}

/// Both ends of what is between a worker's task and the shell.
fn line() -> (TestsLine, WorkerLine) {
    let (commands, commanded) = mpsc::channel(COMMANDS);
    let (tell, news) = mpsc::channel(NEWS);
    (TestsLine { commands: commanded, news: tell }, WorkerLine { commands, news })
}

/// The next that a worker tells, of those whose news can be kept. May be dropped at any time.
async fn tests_news(held: &mut BTreeMap<Lease, Attempt>, synchronizer: &Synchronizer) -> (Lease, TestsNews) {
    poll_fn(|context| {
        for (lease, attempt) in held.iter_mut().filter(|(lease, _)| synchronizer.takes_tests(**lease)) {
            let Some(worker) = &mut attempt.worker else { continue };
            if let Poll::Ready(Some(news)) = worker.news.poll_recv(context) {
                return Poll::Ready((*lease, news));
            }
        }
        Poll::Pending
    })
    .await
}
