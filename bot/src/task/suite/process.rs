//! One process of a runner, from its start to what is left of its tests.

use super::{
    Stop, Suite,
    channel::Channel,
    log::Tail,
    progress::{Concluded, End, EndedBy, Outcome, Progress, not_put_away},
};
use crate::{
    attempt::{CommandExit, Timeouts},
    drivers::{Event, Finished, Launch, Left, Next, Reader, Takes, TestRun},
    executor::{Cause, Command, ExecuteError, Execution, Interruption},
    files,
    suite::{TestToRun, TestVerdict},
    task::failure::Failure,
};
use std::{
    collections::{HashSet, VecDeque},
    path::PathBuf,
    pin::{Pin, pin},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// Pieces of output on their way: the process waits when they are not taken.
const PIECES: usize = 16;

/// Longest that a runner may be at work with no test open: it starts, collects, sets up or tears down.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What no process lives for: its tests have timeouts, and what it does beside them.
const ENDLESS: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What is known of a process that runs.
pub(super) struct Process {
    pub(super) reader: Box<dyn Reader>,
    pub(super) progress: Progress,
    channel: Channel,
    /// The end of its output since the last test began.
    pub(super) tail: Tail,
    /// The end of what it printed since it last said something.
    fresh: Tail,
    /// When it said something last.
    stirred: Duration,
    /// When it has to be over, if it has a limit of its own and no tests.
    until: Option<Duration>,
    /// When something became of a test, or it was given something to do.
    moved: Duration,
    pub(super) takes: Takes,
    /// It waits for a test.
    ready: bool,
    /// Not any longer than it takes to be told that nobody knows yet.
    ahead: bool,
    /// It waits for a word that it was heard.
    sync: bool,
    /// It was told to end.
    dismissed: bool,
    /// Why we end it.
    pub(super) stopping: Option<EndedBy>,
}

impl Suite<'_> {
    /// Starts a process and stays with it to its end.
    pub(super) async fn run_process(&mut self) -> Result<(), Stop> {
        let channel = self.open_channel().await?;
        let mut twins = self.without_twins();
        let next = self.runner.next(&self.queue, self.number, channel.address());
        self.queue.append(&mut twins);
        match next.map_err(|error| Failure::client(error.to_string()))? {
            Next::Process(launch) => self.stay_with(*launch, channel).await,
            Next::Told(run) => self.tell_first(run).await,
        }
    }

    /// Runs what a runner wants to be run after the last test.
    pub(super) async fn clear_away(&mut self) -> Result<(), Stop> {
        while let Some(launch) = self.runner.epilogue() {
            let channel = self.open_channel().await?;
            self.stay_with(launch, channel).await?;
        }
        Ok(())
    }

    /// Of the next process.
    async fn open_channel(&mut self) -> Result<Channel, Stop> {
        self.number += 1;
        let own = &self.base.own;
        // A test may have removed it, or put something there.
        self.write(&[], std::slice::from_ref(own))?;
        let name = format!("channel-{}", self.number);
        let opened = match cas::remove(own, name.as_ref()) {
            Ok(()) => Channel::open(self.runner.channel(), own.join(name)).await,
            Err(error) => Err(error),
        };
        opened.map_err(|error| Failure::internal(format!("cannot open a channel: {error}")).into())
    }

    async fn tell_first(&mut self, run: TestRun) -> Result<(), Stop> {
        let Some(test) = self.queue.pop_front() else { return Ok(()) };
        if !run.output.is_empty()
            && let Err(error) = self.logs.add(&test.name, &run.output)
        {
            self.note(format!("the logs of tests are not complete: {error}"));
        }
        let TestRun { verdict, message, took, .. } = run;
        let concluded = Concluded { test, verdict, message, started: self.now().at, duration: took };
        self.tell_all(vec![Outcome::Ended(concluded)], &mut Tail::default()).await?;
        if self.queue.is_empty() { self.ask().await } else { Ok(()) }
    }

    async fn stay_with(&mut self, launch: Launch, mut channel: Channel) -> Result<(), Stop> {
        let progress = match launch.takes {
            Takes::Pulls => Progress::pulling(),
            Takes::Nothing => Progress::default(),
            Takes::Front(tests) => {
                let taken = self.queue.drain(..tests.min(self.queue.len()));
                let limit = launch.timeout.unwrap_or(Duration::MAX);
                let limited = |test: TestToRun| TestToRun { timeout: test.timeout.min(limit), ..test };
                Progress::of(taken.map(limited))
            }
        };
        // What is left of another process would be taken for this one's.
        self.remove(launch.removed.iter().chain(&launch.results))?;
        self.write(&launch.files, &launch.directories)?;
        let _ = channel.is_connected();
        let now = self.executor.clock.elapsed();
        let mut process = Process {
            reader: launch.reader,
            progress,
            takes: launch.takes,
            channel,
            tail: Tail::default(),
            fresh: Tail::default(),
            stirred: now,
            until: launch
                .timeout
                .filter(|_| launch.takes == Takes::Nothing)
                .map(|limit| now.saturating_add(limit)),
            moved: now,
            ready: false,
            ahead: false,
            sync: false,
            dismissed: false,
            stopping: None,
        };
        let execution = match self.attend(&mut process, &launch.command).await? {
            Err(error @ ExecuteError::NotStarted { .. }) if launch.is_of_test => {
                return self.not_started(process, error.to_string()).await;
            }
            execution => execution.map_err(Failure::from)?,
        };
        let read = |path: &PathBuf| {
            files::read(path, files::MOST).unwrap_or_else(|error| {
                self.note(error.to_string());
                None
            })
        };
        let results = launch.results.iter().map(read).collect();
        let stopped = execution.cause != Cause::Itself || execution.out_of_memory;
        self.take_leave(process, execution, Left { exit: execution.exit, stopped, results }).await
    }

    /// The program of one test cannot be started.
    async fn not_started(&mut self, mut process: Process, message: String) -> Result<(), Stop> {
        let mut events = vec![Event::Judged];
        if let Some(open) = process.progress.open() {
            let (name, verdict, message) = (open.test.name.clone(), TestVerdict::Failed, message.clone());
            events.insert(0, Event::Finished(Finished { name, verdict, message, took: None }));
        }
        self.take_in(&mut process, events).await?;
        let (output, took) = (Vec::new(), Duration::ZERO);
        self.ran(TestRun { verdict: TestVerdict::Failed, message, output, took });
        let end = End { exit: CommandExit::Code(127), by: EndedBy::Itself };
        let conclusion = process.progress.conclude(end, self.now());
        self.tell_all(conclusion.outcomes, &mut process.tail).await
    }

    /// Takes from the queue what comes after the first test whose name was there before: one process runs it once.
    fn without_twins(&mut self) -> VecDeque<TestToRun> {
        let mut names = HashSet::new();
        let twin = self.queue.iter().position(|test| !names.insert(test.name.as_str()));
        self.queue.split_off(twin.unwrap_or(self.queue.len()))
    }
}

impl Suite<'_> {
    /// Listens to a process, and does what the scheduler says meanwhile, until the process has ended.
    async fn attend(
        &mut self,
        process: &mut Process,
        command: &Command,
    ) -> Result<Result<Execution, ExecuteError>, Stop> {
        let (executor, spool) = (self.executor, self.spool);
        // We look after its silence, for it may have nothing to do, and after the time of its tests.
        let timeouts = Timeouts { hard: ENDLESS, io: None, ..self.timeouts };
        let (stop, mut stopped) = watch::channel(Interruption::None);
        let (tap, mut output) = mpsc::channel(PIECES);
        let mut run = pin!(executor.run_tapped(command, timeouts, spool, Some(tap), &mut stopped));
        let mut events = Vec::new();
        process.reader.started(&mut events);
        self.take_in(process, events).await?;
        let execution = match self.listen(process, &stop, &mut output, run.as_mut()).await {
            Ok(execution) => execution,
            Err(why) => {
                // Nobody listens any more. Left alone, the process would live on; held up, it would not end.
                process.stop(EndedBy::Interrupted, Interruption::Abandon, &stop);
                drop(output);
                if let Err(error) = run.await {
                    tracing::warn!(%error, "a runner that nobody wants any more");
                }
                return Err(why);
            }
        };
        while let Ok(piece) = output.try_recv() {
            self.printed(process, &piece).await?;
        }
        let rest = process.channel.rest();
        self.said(process, &rest).await?;
        Ok(execution)
    }

    /// The same while the process runs. An error comes only while it still does.
    async fn listen(
        &mut self,
        process: &mut Process,
        stop: &watch::Sender<Interruption>,
        output: &mut mpsc::Receiver<Vec<u8>>,
        mut run: Pin<&mut impl Future<Output = Result<Execution, ExecuteError>>>,
    ) -> Result<Result<Execution, ExecuteError>, Stop> {
        let clock = &self.executor.clock;
        loop {
            self.look_after(process, stop);
            self.give(process).await?;
            let wake = self.wake(process).map_or(PATIENCE, |(at, _)| at);
            let left = wake.saturating_sub(clock.elapsed());
            tokio::select! {
                biased;
                Ok(()) = self.interrupted.changed() => {}
                // Before what it says, of which there may be more than can be read.
                execution = run.as_mut() => return Ok(execution),
                Some(piece) = output.recv() => self.printed(process, &piece).await?,
                lines = process.channel.lines() => self.said(process, &lines).await?,
                command = self.line.commands.recv(), if !self.complete => {
                    if self.obey(command).is_err() {
                        self.complete = true;
                        process.stop(EndedBy::Interrupted, Interruption::Abandon, stop);
                    }
                }
                () = clock.sleep(left) => {}
            }
        }
    }

    /// Ends a process that takes too long, or that nobody wants any more.
    fn look_after(&mut self, process: &mut Process, stop: &watch::Sender<Interruption>) {
        let wanted = *self.interrupted.borrow_and_update();
        if wanted != Interruption::None {
            process.stop(EndedBy::Interrupted, wanted, stop);
        }
        if let Some((at, by)) = self.wake(process)
            && self.executor.clock.elapsed() >= at
        {
            process.progress.overdue(by);
            process.stop(by, Interruption::Kill, stop);
        }
    }

    /// When a process will have taken too long, and for what.
    fn wake(&self, process: &Process) -> Option<(Duration, EndedBy)> {
        let (since, at, by) = match process.progress.limit() {
            _ if process.stopping.is_some() => return None,
            Some((since, timeout)) => (since, since.saturating_add(timeout), EndedBy::Overdue),
            // It has nothing to do.
            None if process.ready && !process.dismissed => return None,
            None => {
                let since = process.stirred;
                // One that talks and gets nowhere has as long as one test may take.
                let busy = process.moved.saturating_add(self.timeouts.hard.max(PATIENCE));
                let stuck = (since, since.saturating_add(PATIENCE).min(busy), EndedBy::Stuck);
                process.until.map_or(stuck, |until| (since, until, EndedBy::Overdue))
            }
        };
        let silent = self.timeouts.io.map(|io| since.max(self.spool.latest()).saturating_add(io));
        Some(match silent {
            Some(silent) if silent < at => (silent, EndedBy::Silent),
            _ => (at, by),
        })
    }

    /// Gives a test to a process that waits for one, or lets it go; and asks for more when the last one is given.
    async fn give(&mut self, process: &mut Process) -> Result<(), Stop> {
        if std::mem::take(&mut process.sync) {
            let heard = process.reader.later();
            process.channel.say(&heard).await;
        }
        if process.ready && !process.dismissed {
            self.catch_up(process)?;
            if let Some(test) = self.queue.pop_front() {
                let order = process.reader.order(Some(&test), self.queue.front());
                (process.ready, process.ahead) = (false, false);
                process.began(self.executor.clock.elapsed());
                process.progress.tell(test);
                process.channel.say(&order).await;
            } else if self.complete {
                process.dismissed = true;
                process.began(self.executor.clock.elapsed());
                let order = process.reader.order(None, None);
                process.channel.say(&order).await;
            } else if std::mem::take(&mut process.ahead) {
                process.ready = false;
                let later = process.reader.later();
                process.channel.say(&later).await;
            }
        }
        if process.progress.waiting() == 0 && self.queue.is_empty() {
            self.ask().await?;
        }
        Ok(())
    }

    /// Before a process is told that nobody knows what comes next: perhaps it is here already.
    fn catch_up(&mut self, process: &Process) -> Result<(), Stop> {
        while process.ahead
            && self.queue.is_empty()
            && !self.complete
            && let Ok(command) = self.line.commands.try_recv()
        {
            self.obey(Some(command))?;
        }
        Ok(())
    }

    async fn printed(&mut self, process: &mut Process, bytes: &[u8]) -> Result<(), Stop> {
        process.tail.push(bytes);
        process.fresh.push(bytes);
        let connected = process.channel.is_connected();
        let mut events = Vec::new();
        process.reader.output(bytes, connected, &mut events);
        self.take_in(process, events).await
    }

    async fn said(&mut self, process: &mut Process, lines: &[Vec<u8>]) -> Result<(), Stop> {
        let mut events = Vec::new();
        lines.iter().for_each(|line| process.reader.line(line, &mut events));
        self.take_in(process, events).await?;
        // What was printed just before may be the last words of a test that has only now been told of.
        let fresh = std::mem::take(&mut process.fresh);
        if process.tail.as_bytes().is_empty() {
            process.tail = fresh;
        }
        Ok(())
    }

    pub(super) async fn take_in(&mut self, process: &mut Process, events: Vec<Event>) -> Result<(), Stop> {
        for event in events {
            let now = self.now();
            process.stirred = now.elapsed;
            match &event {
                Event::Output(name, bytes) => {
                    let open = process.progress.open().map(|open| open.test.name.as_str());
                    let writer = name.as_deref().or(open).filter(|name| process.progress.may_write(name));
                    if let Some(name) = writer
                        && let Err(error) = self.logs.add(name, bytes)
                    {
                        self.note(format!("the logs of tests are not complete: {error}"));
                    }
                }
                Event::Ready => process.ready = true,
                Event::Ahead => (process.ready, process.ahead) = (true, true),
                Event::Sync => process.sync = true,
                Event::Cleared { name, problem } if !problem.is_empty() => {
                    self.broken = true;
                    self.note(not_put_away(name, problem));
                }
                _ => {}
            }
            let outcomes = process.progress.apply(event, now);
            if !outcomes.is_empty() {
                process.moved = now.elapsed;
            }
            self.tell_all(outcomes, &mut process.tail).await?;
        }
        Ok(())
    }
}

impl Process {
    /// It was told to do something.
    fn began(&mut self, now: Duration) {
        (self.stirred, self.moved) = (now, now);
    }

    /// Asks for its end, or for a quicker one.
    fn stop(&mut self, by: EndedBy, how: Interruption, stop: &watch::Sender<Interruption>) {
        self.stopping.get_or_insert(by);
        stop.send_if_modified(|current| {
            let higher = how > *current;
            *current = (*current).max(how);
            higher
        });
    }
}
