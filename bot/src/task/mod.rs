//! One attempt, from the digest of its input to its result: fetch, materialize, run, collect, upload.
//!
//! Whatever goes wrong becomes a result: the scheduler always hears of an attempt that was started. It decides nothing
//! about leases and knows no wire.

mod collect;
mod command;
mod failure;
mod secret_file;
mod suite;

use crate::{
    attempt::{Assignment, AttemptResult, Ending, Stats, Timeouts},
    drivers::Base,
    executor::{self, Cause, Execution, Executor, Interruption},
    spool::Spool,
    suite::TestsLine,
    workdir::WorkDir,
};
use cas::{
    BlobStore, Silent,
    disk::DiskCache,
    isolated::Isolated,
    named::NamedCaches,
    tree::{self, Begun, Fetched},
};
use collect::Collected;
use command::{Manifest, Place, command};
use failure::Failure;
use proto::{BotId, Digest, RelPath};
use runtime::{Clock, Entropy};
use secret_file::SecretFile;
use std::{future::Future, io, path::Path, sync::Arc, time::Duration};
use suite::{Limits, SuiteEnd};
use tokio::sync::watch;

/// How long an attempt waits for a CAS that cannot be reached. The scheduler keeps the lease meanwhile, and may kill.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Longest pause between two tries.
const PAUSE: Duration = Duration::from_secs(5);

/// So often it is tried to keep what the tests of a worker have left: their verdicts are told, so it is never made again.
const UPLOADS: u32 = 3;

/// In the temporary directory: what drivers of test runners keep for themselves.
const OWN: &str = ".isoswarm";

/// What attempts are carried out with.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) store: Arc<dyn BlobStore>,
    /// Where outputs go.
    pub(crate) outputs: Arc<dyn BlobStore>,
    pub(crate) cache: DiskCache,
    pub(crate) named_caches: NamedCaches,
    pub(crate) executor: Executor,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) bot: BotId,
}

impl Worker {
    /// Carries out an assignment in `dir`, its output going to `spool`. One with tests needs a line to whom it tells of them.
    pub(crate) async fn perform(
        &self,
        assignment: &Assignment,
        dir: &WorkDir,
        spool: &Arc<Spool>,
        interrupted: watch::Receiver<Interruption>,
        line: Option<TestsLine>,
    ) -> AttemptResult {
        let mut stats = Stats::default();
        let mut outside = Outside { interrupted, line };
        match self.carry_out(assignment, dir, spool, &mut outside, &mut stats).await {
            Ok(result) => AttemptResult { stats, ..result },
            Err(Failure { ending, message }) => {
                AttemptResult { stats, ..AttemptResult::unstarted(ending, message) }
            }
        }
    }

    async fn carry_out(
        &self,
        assignment: &Assignment,
        dir: &WorkDir,
        spool: &Arc<Spool>,
        outside: &mut Outside,
        stats: &mut Stats,
    ) -> Result<AttemptResult, Failure> {
        let fetched = self.set_up(assignment, dir, &mut outside.interrupted, stats).await?;
        self.move_caches(assignment, dir, Move::In).await?;
        let result = self.execute(assignment, &fetched, dir, spool, outside, stats).await;
        // What the command is worth does not depend on it.
        if let Err(Failure { message, .. }) = self.move_caches(assignment, dir, Move::Out).await {
            tracing::warn!(message, "named caches are lost");
        }
        result
    }

    async fn execute(
        &self,
        assignment: &Assignment,
        fetched: &Fetched,
        dir: &WorkDir,
        spool: &Arc<Spool>,
        outside: &mut Outside,
        stats: &mut Stats,
    ) -> Result<AttemptResult, Failure> {
        let isolated = &fetched.isolated;
        let manifest = Manifest { command: &isolated.command, relative_cwd: isolated.relative_cwd.as_ref() };
        let command = command(assignment, manifest, &self.place(dir))?;
        if let Some(cwd) = &isolated.relative_cwd {
            make_directory(&dir.input(), cwd)?;
        }
        if *outside.interrupted.borrow() != Interruption::None {
            return Err(Failure::killed());
        }
        let kept = assignment.secret.as_ref().map(|secret| SecretFile::create(dir.secret(), secret));
        let kept = kept
            .transpose()
            .map_err(|error| Failure::internal(format!("cannot keep the secret: {error}")))?;
        let run = self.run(assignment, command, dir, spool, outside, stats).await;
        // Nothing of the command is left that could read it.
        drop(kept);
        let mut result = run?;
        let interrupted = &mut outside.interrupted;
        tokio::select! {
            biased;
            // Nobody will ask for them, and the disk is wanted back.
            () = interruption(interrupted, Interruption::Abandon) => {}
            () = self.keep_outputs(assignment, isolated, dir, &mut result, stats) => {}
        }
        Ok(result)
    }

    /// Runs the command, or its tests one by one.
    async fn run(
        &self,
        assignment: &Assignment,
        command: executor::Command,
        dir: &WorkDir,
        spool: &Arc<Spool>,
        outside: &mut Outside,
        stats: &mut Stats,
    ) -> Result<AttemptResult, Failure> {
        let (executor, timeouts) = (&self.executor, assignment.timeouts);
        let interrupted = &mut outside.interrupted;
        let Some(order) = &assignment.tests else {
            let execution = executor.run(&command, timeouts, spool, interrupted).await?;
            stats.run = execution.took;
            return Ok(ended(&execution, timeouts, spool));
        };
        let no_line = || Failure::client("its tests are handed out one by one, by a scheduler alone".into());
        let line = outside.line.take().ok_or_else(no_line)?;
        let (input, outputs) = (dir.input(), dir.outputs());
        let base = Base { command, input, outputs, own: dir.temporary().join(OWN) };
        let limits = Limits { executor, spool, timeouts, interrupted };
        let SuiteEnd { ending, exit, message, out_of_memory, took } =
            suite::run(limits, order, base, line).await;
        stats.run = took;
        let unstarted = AttemptResult::unstarted(ending, message);
        Ok(kept(AttemptResult { exit, out_of_memory, ..unstarted }, spool))
    }

    async fn set_up(
        &self,
        assignment: &Assignment,
        dir: &WorkDir,
        interrupted: &mut watch::Receiver<Interruption>,
        stats: &mut Stats,
    ) -> Result<Fetched, Failure> {
        let began = self.clock.elapsed();
        let begun = self.fetch(assignment, dir, interrupted, stats).await?;
        let fetched = match self.lay_out(begun).await? {
            Ok(fetched) => fetched,
            // Somebody else has taken something out of the cache, where it was a moment ago: once more.
            Err(error @ tree::Error::Store(cas::Error::NotFound { .. } | cas::Error::Internal { .. })) => {
                tracing::warn!(%error, "cannot lay out the input, fetching again");
                empty(dir).await.map_err(Failure::of_input)?;
                let begun = self.fetch(assignment, dir, interrupted, stats).await?;
                self.lay_out(begun).await?.map_err(Failure::of_input)?
            }
            Err(error) => return Err(Failure::of_input(error)),
        };
        stats.fetch = self.clock.elapsed().saturating_sub(began);
        Ok(fetched)
    }

    /// Brings the input into the cache and begins to lay it out, unless somebody wants the end of the attempt first.
    async fn fetch(
        &self,
        assignment: &Assignment,
        dir: &WorkDir,
        interrupted: &mut watch::Receiver<Interruption>,
        stats: &mut Stats,
    ) -> Result<Begun, Failure> {
        let (wanted, input) = ((assignment.input, &assignment.includes[..]), dir.input());
        let fetch = || async {
            let begun = tree::fetch_into(&*self.store, &self.cache, wanted, &input, &Silent).await;
            if begun.as_ref().is_err_and(tree::Error::is_transient) {
                empty(dir).await?;
            }
            begun
        };
        let begun = tokio::select! {
            biased;
            () = interruption(interrupted, Interruption::Kill) => return Err(Failure::killed()),
            begun = self.with_patience(fetch) => begun.map_err(Failure::of_input)?,
        };
        let fetched = begun.fetched();
        stats.cold_items += fetched.cold_items;
        stats.cold_bytes += fetched.cold_bytes;
        stats.hot_items = fetched.hot_items;
        stats.hot_bytes = fetched.hot_bytes;
        Ok(begun)
    }

    /// Makes what is left to be made of the input. Not to be cut short: nobody may write to the directory any more when it is
    /// removed.
    async fn lay_out(&self, begun: Begun) -> Result<Result<Fetched, tree::Error>, Failure> {
        tokio::task::spawn_blocking(move || begun.finish()).await.map_err(Failure::of_thread)
    }

    /// Moves all named caches into the input or out of it. When one cannot be moved in, none is.
    async fn move_caches(
        &self,
        assignment: &Assignment,
        dir: &WorkDir,
        direction: Move,
    ) -> Result<(), Failure> {
        if assignment.named_caches.is_empty() {
            return Ok(());
        }
        let (named, tree, wanted) = (self.named_caches.clone(), dir.input(), assignment.named_caches.clone());
        let work = move || match direction {
            Move::In => named.install_all(&wanted, &tree),
            Move::Out => named.uninstall_all(&wanted, &tree),
        };
        let moved = tokio::task::spawn_blocking(work).await.map_err(Failure::of_thread)?;
        moved.map_err(|error| Failure::of_input(error.into()))
    }

    /// Uploads what the command left. That this fails is told in `result`.
    async fn keep_outputs(
        &self,
        assignment: &Assignment,
        isolated: &Isolated,
        dir: &WorkDir,
        result: &mut AttemptResult,
        stats: &mut Stats,
    ) {
        let began = self.clock.elapsed();
        let mut left = if assignment.tests.is_some() { UPLOADS } else { 1 };
        let kept = loop {
            left -= 1;
            match self.upload(assignment, isolated, dir).await {
                Err(Failure { message, .. }) if left > 0 && self.clock.elapsed() < began + PATIENCE => {
                    tracing::warn!(message, "what the tests have left is not kept yet, trying on");
                    self.clock.sleep(self.entropy.jitter(PAUSE)).await;
                }
                kept => break kept,
            }
        };
        match kept {
            Ok((manifest, notes, uploaded)) => {
                result.outputs = manifest;
                stats.uploaded_bytes = uploaded;
                notes.into_iter().for_each(|note| say(&mut result.message, &note));
            }
            Err(Failure { ending, message }) => {
                result.ending = ending;
                say(&mut result.message, &message);
            }
        }
        stats.upload = self.clock.elapsed().saturating_sub(began);
    }

    /// The manifest of what the command left, what is to be said of it, and how many bytes the store did not have.
    async fn upload(
        &self,
        assignment: &Assignment,
        isolated: &Isolated,
        dir: &WorkDir,
    ) -> Result<(Option<Digest>, Vec<String>, u64), Failure> {
        let (dir, declared, function) = (dir.clone(), assignment.outputs.clone(), isolated.function);
        let collected = tokio::task::spawn_blocking(move || collect::collect(&dir, &declared, function));
        let Collected { sources, manifest, notes } =
            collected.await.map_err(Failure::of_thread)?.map_err(Failure::of_outputs)?;
        if manifest.is_none() {
            return Ok((manifest, notes, 0));
        }
        let uploaded = self.with_patience(|| async { tree::upload(&*self.outputs, &sources, &Silent).await });
        let bytes = uploaded.await.map_err(Failure::of_outputs)?.uploaded_bytes;
        Ok((manifest, notes, bytes))
    }

    /// Tries again for as long as the CAS cannot be reached: a bot that gave up at once would go through the whole queue
    /// and fail all of it while the CAS is being restarted.
    async fn with_patience<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, tree::Error>
    where
        F: Future<Output = Result<T, tree::Error>>,
    {
        let give_up = self.clock.elapsed() + PATIENCE;
        loop {
            match attempt().await {
                Err(error) if error.is_transient() && self.clock.elapsed() < give_up => {
                    tracing::warn!(%error, "the CAS cannot be reached, trying on");
                    self.clock.sleep(self.entropy.jitter(PAUSE)).await;
                }
                done => return done,
            }
        }
    }

    fn place(&self, dir: &WorkDir) -> Place {
        Place {
            home: dir.path(),
            input: dir.input(),
            outputs: dir.outputs(),
            temporary: dir.temporary(),
            secret: dir.secret(),
            bot: self.bot.to_string(),
            path: std::env::var("PATH").ok(),
            lang: std::env::var("LANG").ok(),
        }
    }
}

/// Removes what was made of the input, so that it can be made anew.
async fn empty(dir: &WorkDir) -> Result<(), tree::Error> {
    let dir = dir.clone();
    let emptied = tokio::task::spawn_blocking(move || dir.empty_input().map_err(|error| error.to_string()));
    let emptied = emptied.await.unwrap_or_else(|error| Err(error.to_string()));
    Ok(emptied
        .map_err(|reason| cas::Error::Internal { reason: format!("cannot empty the input: {reason}") })?)
}

/// Who has a say in an attempt that runs.
#[derive(Debug)]
struct Outside {
    interrupted: watch::Receiver<Interruption>,
    /// To whom it tells of its tests.
    line: Option<TestsLine>,
}

/// Where named caches go.
#[derive(Clone, Copy, Debug)]
enum Move {
    In,
    Out,
}

/// Ends when somebody wants `least` or more of the attempt.
async fn interruption(interrupted: &mut watch::Receiver<Interruption>, least: Interruption) {
    if interrupted.wait_for(|wanted| *wanted >= least).await.is_err() {
        // Nobody is left who could interrupt.
        std::future::pending::<()>().await;
    }
}

/// Makes the directory that the command starts in, if no file of the input is in it. No symlink is followed to make one.
fn make_directory(root: &Path, path: &RelPath) -> Result<(), Failure> {
    if root.join(path).is_dir() {
        return Ok(());
    }
    let mut directory = root.to_owned();
    for component in path.components() {
        directory.push(component);
        match std::fs::create_dir(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !directory.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                    let message = format!("the command cannot start in {path}: {path} is not a directory");
                    return Err(Failure::client(message));
                }
            }
            Err(error) => {
                return Err(Failure::internal(format!("cannot make {}: {error}", directory.display())));
            }
        }
    }
    Ok(())
}

/// The result of an attempt whose command was run, before its outputs are looked at.
fn ended(execution: &Execution, timeouts: Timeouts, spool: &Spool) -> AttemptResult {
    let (ending, message) = match execution.cause {
        Cause::Itself => (Ending::Completed, String::new()),
        Cause::HardTimeout => (
            Ending::TimedOut,
            format!("the command took longer than the hard timeout of {:?}", timeouts.hard),
        ),
        Cause::IoTimeout => {
            let io = timeouts.io.unwrap_or_default();
            (Ending::TimedOut, format!("the command was silent for longer than the I/O timeout of {io:?}"))
        }
        Cause::Interrupted => (Ending::Killed, "killed on request".into()),
    };
    let (exit, out_of_memory) = (Some(execution.exit), execution.out_of_memory);
    let mut result = AttemptResult { exit, out_of_memory, ..AttemptResult::unstarted(ending, message) };
    if out_of_memory {
        say(
            &mut result.message,
            "out of memory: the kernel killed the command, or something that it started",
        );
    }
    if execution.leaked > 0 && execution.cause == Cause::Itself {
        let left = match execution.leaked {
            1 => "1 process behind, which was killed".into(),
            many => format!("{many} processes behind, which were killed"),
        };
        say(&mut result.message, &format!("the command left {left}"));
    }
    kept(result, spool)
}

/// The result of an attempt, if its output could be kept.
fn kept(mut result: AttemptResult, spool: &Spool) -> AttemptResult {
    if let Some(error) = spool.failure() {
        result.ending = Ending::InternalError;
        say(&mut result.message, &format!("the bot could not keep all of the output: {error}"));
    }
    result
}

/// Adds to a message.
fn say(message: &mut String, more: &str) {
    if !message.is_empty() {
        message.push_str("; ");
    }
    message.push_str(more);
}

#[cfg(test)]
mod tests;
