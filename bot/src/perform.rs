//! One assignment without a scheduler, for somebody who wants to see what a bot saw: `swarm reproduce`.
//!
//! The same code as an attempt's, over the user's cache. Outputs stay here: nothing goes to the CAS.

mod one_test;

use crate::{
    attempt::{AttemptResult, Ending},
    executor::{Executor, Interruption},
    remote,
    spool::Spool,
    task::Worker,
    workdir::{DataDir, DataDirError},
};
use cas::{
    BlobStore, Silent,
    disk::{DiskCache, DiskCacheOptions, DiskStore},
    isolated::ReadOnly,
    named::{NamedCacheOptions, NamedCaches},
    tree,
};
use one_test::OneTest;
use prost::Message as _;
use proto::{BotId, Digest, v1};
use runtime::{Clock, Entropy, Exit, Shutdown, connect::ConnectError};
use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::{Notify, watch};

/// The hidden subcommand of the bot's binary that leads here.
pub const PERFORM: &str = "perform";

/// What a command finds as the name of its bot.
const NAME: &str = "reproduce";

/// Bytes of output that are told at a time.
const PIECE: u64 = 64 * 1024;

/// What an assignment is carried out with.
#[derive(Clone, Debug)]
pub struct Performance {
    /// The CAS that the input comes from.
    pub cas: String,
    /// PEM file of the certificates to trust, when it speaks TLS.
    pub ca_cert: Option<PathBuf>,
    /// The cache of blobs, which others may use at the same time.
    pub cache: PathBuf,
    /// Where the input is laid out; as a bot's directory.
    pub work: PathBuf,
    /// Leave it there.
    pub keep: bool,
    /// A new directory for the outputs.
    pub outputs: Option<PathBuf>,
    /// As for bots.
    pub supervisor: Option<PathBuf>,
    /// Run this test alone, as a worker does, of an assignment whose tests are handed out.
    pub test: Option<String>,
}

/// Why an assignment was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PerformError {
    /// Not an assignment.
    #[error("what stdin says is no assignment: {reason}")]
    Assignment {
        /// Why.
        reason: String,
    },
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// A directory cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cache or the CAS.
    #[error(transparent)]
    Store(#[from] cas::Error),
    /// The address of the CAS.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The outputs cannot be laid out.
    #[error("cannot lay out the outputs")]
    Outputs(#[source] tree::Error),
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Performed {
    /// The command's own, when it came to its end; of one test, what became of it.
    pub exit: Exit,
    /// Why, in words; empty when there is nothing to say.
    pub message: String,
}

impl Performance {
    /// Carries out the assignment in these bytes, a `isoswarm.v1.Assignment`. Output goes to `sink` as it comes.
    /// `shutdown` stops the command with TERM, grace, KILL.
    pub async fn perform(
        &self,
        assignment: &[u8],
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
        shutdown: Shutdown,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Performed, PerformError> {
        let malformed = |reason: String| PerformError::Assignment { reason };
        let wire = v1::Assignment::decode(assignment).map_err(|error| malformed(error.to_string()))?;
        // Nobody else hands tests out here: without one the command is run as it is.
        let wire = v1::Assignment { tests: wire.tests.filter(|_| self.test.is_some()), ..wire };
        let assignment = remote::assignment(wire).map_err(|error| malformed(error.to_string()))?;
        let (data, _) = DataDir::open(&self.work)?;
        let (worker, cache) = self.worker(&data, Arc::clone(&clock), entropy)?;
        let grown = Arc::new(Notify::new());
        let create = Spool::create;
        let filled = data.attempt(|dir| create(&dir.spool(), clock, Arc::clone(&grown)));
        let failed = |source| PerformError::Io { path: self.work.clone(), source };
        let (dir, spool) = filled.map_err(failed)?;
        let spool = Arc::new(spool);
        let interruption = watch::Sender::new(Interruption::None);
        let (mut one, line) = match &self.test {
            Some(_) if assignment.tests.is_none() => {
                return Err(malformed("it hands out no tests of which to run one".into()));
            }
            Some(name) => Some(OneTest::grant(name, assignment.timeouts.hard)).unzip(),
            None => (None, None),
        };
        let performing = worker.perform(&assignment, &dir, &spool, interruption.subscribe(), line);
        let stop = async {
            shutdown.requested().await;
            interruption.send_replace(Interruption::Kill);
            std::future::pending::<Infallible>().await
        };
        let heard = async {
            match &mut one {
                Some(one) => one.report().await,
                None => None,
            }
        };
        let (result, report) = tokio::select! {
            (result, report) = async { tokio::join!(told(performing, &spool, &grown, &mut sink), heard) } =>
                (result.map_err(failed)?, report),
            never = stop => match never {},
        };
        if let (Some(target), Some(outputs)) = (&self.outputs, result.outputs) {
            lay_out(&cache, outputs, target).await?;
        }
        if !self.keep {
            tokio::task::spawn_blocking(move || dir.remove())
                .await
                .map_err(io::Error::other)
                .and_then(|removed| removed)
                .map_err(failed)?;
        }
        let (exit, message) = match one {
            Some(one) => one.judge(report, &result),
            None => (exit_of(&result), result.message),
        };
        Ok(Performed { exit, message })
    }

    /// With outputs that go to the cache.
    fn worker(
        &self,
        data: &DataDir,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Worker, DiskCache), PerformError> {
        let address = cas::Address::open(&self.cas, self.ca_cert.as_deref());
        let store = cas::connect(address, Arc::clone(&clock), Arc::clone(&entropy))?;
        let cache = DiskCache::open(&self.cache, DiskCacheOptions::default())?;
        let outputs: Arc<dyn BlobStore> = Arc::new(DiskStore::new(cache.clone()));
        let worker = Worker {
            store,
            outputs,
            cache: cache.clone(),
            named_caches: NamedCaches::open(&data.named_caches(), NamedCacheOptions::default())?,
            executor: Executor::plain(self.supervisor.clone(), Arc::clone(&clock)),
            clock,
            entropy,
            bot: BotId::new(NAME).expect("it is a name"),
        };
        Ok((worker, cache))
    }
}

/// The command's own exit code, where there is one.
fn exit_of(result: &AttemptResult) -> Exit {
    match (result.ending, result.exit) {
        (Ending::Completed, Some(exit)) => Exit::Command(u8::try_from(exit.code()).unwrap_or(u8::MAX)),
        (Ending::TimedOut, _) => Exit::TestsFailed,
        (Ending::Killed, _) => Exit::Interrupted,
        (Ending::ClientError, _) => Exit::Incomplete,
        (Ending::Completed | Ending::InternalError, _) => Exit::Internal,
    }
}

/// Awaits the result, and tells what comes out meanwhile.
async fn told(
    performing: impl Future<Output = AttemptResult>,
    spool: &Spool,
    grown: &Notify,
    sink: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<AttemptResult> {
    let mut performing = std::pin::pin!(performing);
    let mut told = 0;
    loop {
        let result = tokio::select! {
            result = &mut performing => Some(result),
            () = grown.notified() => None,
        };
        while told < spool.len() {
            let piece = spool.read(told..spool.len().min(told + PIECE));
            sink(&piece)?;
            told += piece.len() as u64;
        }
        if let Some(result) = result {
            return Ok(result);
        }
    }
}

async fn lay_out(cache: &DiskCache, outputs: Digest, target: &Path) -> Result<(), PerformError> {
    std::fs::create_dir_all(target).map_err(|source| PerformError::Io { path: target.to_owned(), source })?;
    let store = DiskStore::new(cache.clone());
    let mut fetched = tree::fetch(&store, cache, outputs, &Silent).await.map_err(PerformError::Outputs)?;
    // Outputs belong to whoever asked for them.
    fetched.isolated.read_only = ReadOnly::Writable;
    let (cache, target) = (cache.clone(), target.to_owned());
    let laid_out = tokio::task::spawn_blocking(move || tree::materialize(&fetched, &cache, &target));
    let laid_out = laid_out.await.map_err(|error| PerformError::Assignment { reason: error.to_string() })?;
    laid_out.map_err(PerformError::Outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cas::{BlobStoreExt as _, isolated::Isolated};
    use proto::DigestFunction;
    use runtime::{SystemClock, SystemEntropy};

    /// Performs the command of a worker, whose tests `driver` knows; how it went, and what it wrote.
    async fn performed(
        script: &str,
        driver: i32,
        partitions: u32,
        test: Option<&str>,
    ) -> (Performed, String) {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let performance = Performance {
            // Everything is in the cache.
            cas: "http://127.0.0.1:1".into(),
            ca_cert: None,
            cache: path("cache"),
            work: path("work"),
            keep: false,
            outputs: None,
            supervisor: None,
            test: test.map(str::to_owned),
        };
        let cache = DiskCache::open(&path("cache"), DiskCacheOptions::default()).unwrap();
        let command = ["/bin/sh", "-c", script, "sh"].map(str::to_owned).into();
        let manifest = Isolated { command, ..Isolated::new(DigestFunction::Blake3) };
        let store = DiskStore::new(cache);
        let input = store.put(DigestFunction::Blake3, manifest.to_bytes().into()).await.unwrap();
        let assignment = v1::Assignment {
            input: Some(input.into()),
            extra_args: vec!["--gtest_filter=A.b".into()],
            tests: Some(v1::TestsOrder { driver, partitions }),
            ..Default::default()
        };
        let mut output = Vec::new();
        let sink = |bytes: &[u8]| {
            output.extend_from_slice(bytes);
            Ok(())
        };
        let host = (SystemClock::shared(), SystemEntropy::shared());
        let performed =
            performance.perform(&assignment.encode_to_vec(), host, Shutdown::new(), sink).await.unwrap();
        (performed, String::from_utf8(output).unwrap())
    }

    #[tokio::test]
    async fn the_assignment_of_a_worker_is_its_command_as_it_is() {
        // Not even a driver that this bot knows.
        let (performed, output) = performed("echo $*; exit 3", 77, 0, None).await;
        assert_eq!(performed.exit, Exit::Command(3), "{}", performed.message);
        assert_eq!(output, "--gtest_filter=A.b\n");
    }

    #[tokio::test]
    async fn one_test_is_run_as_its_driver_runs_it() {
        let script = "echo part $SHARD_INDEX; case $SHARD_INDEX in 1) exit 7;; 2) kill -ABRT $$;; esac";
        let run = |test| performed(script, v1::TestDriver::Opaque.into(), 4, Some(test));
        for (test, exit, output, message) in [
            ("0/4", Exit::Success, "part 0\n", "0/4 passed"),
            ("1/4", Exit::TestsFailed, "part 1\n", "1/4 failed\nthe command ended with exit code 7"),
            ("2/4", Exit::TestsFailed, "part 2\n", "2/4 crashed: signal 6 (SIGABRT)"),
            ("x", Exit::NotFound, "", "x is not there\n`x` is no part of a command"),
        ] {
            let (performed, told) = run(test).await;
            assert_eq!((performed.exit, &*told), (exit, output), "{test}: {}", performed.message);
            assert!(performed.message.starts_with(message), "{test}: {}", performed.message);
        }
    }
}
