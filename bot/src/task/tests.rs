use super::*;
use crate::{
    executor::Executor,
    suite::{Batch, Driver, TestToRun, TestVerdict, TestsCommand, TestsNews, TestsOrder},
    workdir::DataDir,
};
use bytes::Bytes;
use cas::{
    BlobStoreExt as _, Error,
    disk::DiskCacheOptions,
    isolated::Entry,
    memory::MemoryStore,
    named::NamedCacheOptions,
    testing::{Call, Faulty},
    tree::Graft,
};
use proto::{Digest, DigestFunction};
use runtime::{SystemClock, SystemEntropy};
use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroU32,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

const B3: DigestFunction = DigestFunction::Blake3;

struct Bench {
    _root: TempDir,
    cache: PathBuf,
    worker: Worker,
    dir: WorkDir,
    spool: Arc<Spool>,
    interruption: watch::Sender<Interruption>,
    input: Digest,
}

impl Bench {
    /// A worker over `store`, and an input of `files` and a shell script to run.
    async fn new(store: impl BlobStore, files: &[(&str, &str)], script: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (clock, entropy) = (SystemClock::shared(), SystemEntropy::shared());
        let (data, _) = DataDir::open(&root.path().join("data")).unwrap();
        let cache = DiskCache::open(&data.cache(), DiskCacheOptions::default()).unwrap();
        let spooled = Arc::clone(&clock);
        let (dir, spool) = data.attempt(|dir| Spool::create(&dir.spool(), spooled, Arc::default())).unwrap();
        let input = archive(&store, files, &["/bin/sh", "-c", script]).await;
        let executor = Executor::plain(None, Arc::clone(&clock));
        let bot = BotId::new("b1").unwrap();
        let named_caches = NamedCaches::open(&data.named_caches(), NamedCacheOptions::default()).unwrap();
        let store: Arc<dyn BlobStore> = Arc::new(store);
        let outputs = Arc::clone(&store);
        let worker = Worker { store, outputs, cache, named_caches, executor, clock, entropy, bot };
        let (cache, spool) = (data.cache(), Arc::new(spool));
        Self { _root: root, cache, worker, dir, spool, interruption: watch::Sender::default(), input }
    }

    fn assignment(&self) -> Assignment {
        Assignment {
            input: Some(self.input),
            includes: Vec::new(),
            command: Vec::new(),
            extra_args: Vec::new(),
            environment: Vec::new(),
            environment_prefixes: Vec::new(),
            outputs: Vec::new(),
            named_caches: Vec::new(),
            timeouts: Timeouts { hard: Duration::from_secs(60), io: None, grace: Duration::from_secs(5) },
            secret: None,
            tests: None,
        }
    }

    async fn perform(&self, assignment: &Assignment) -> AttemptResult {
        let performed =
            self.worker.perform(assignment, &self.dir, &self.spool, self.interruption.subscribe(), None);
        tokio::time::timeout(Duration::from_secs(30), performed).await.expect("it ends in time")
    }

    fn output(&self) -> String {
        String::from_utf8(self.spool.read(0..self.spool.len())).unwrap()
    }

    /// Waits until `condition` holds, then interrupts.
    async fn interrupt_when(&self, interruption: Interruption, condition: impl Fn() -> bool) {
        while !condition() {
            self.worker.clock.sleep(Duration::from_millis(1)).await;
        }
        self.interruption.send_replace(interruption);
    }
}

async fn archive(store: &impl BlobStore, files: &[(&str, &str)], command: &[&str]) -> Digest {
    let mut entries = BTreeMap::new();
    for (path, content) in files {
        let digest = store.put(B3, Bytes::copy_from_slice(content.as_bytes())).await.unwrap();
        entries.insert(RelPath::new(path).unwrap(), Entry::File { digest, mode: Some(0o640) });
    }
    let command = command.iter().map(ToString::to_string).collect();
    let manifest = Isolated { command, files: entries, ..Isolated::new(B3) };
    store.put(B3, manifest.to_bytes().into()).await.unwrap()
}

async fn outputs(bench: &Bench, result: &AttemptResult) -> BTreeMap<String, String> {
    let store = &bench.worker.store;
    let Some(manifest) = result.outputs else { return BTreeMap::new() };
    let isolated = Isolated::parse(&store.get(manifest).await.unwrap()).unwrap();
    let mut found = BTreeMap::new();
    for (path, entry) in &isolated.files {
        let bytes = store.get(entry.digest().unwrap()).await.unwrap();
        found.insert(path.to_string(), String::from_utf8(bytes.to_vec()).unwrap());
    }
    found
}

#[tokio::test]
async fn outputs_of_the_directory_and_declared_ones_come_back_as_a_manifest() {
    let script = "cat data/a; cat data/a > ${ISOLATED_OUTDIR}/copy; mkdir $ISOLATED_OUTDIR/d made
        echo deep > $ISOLATED_OUTDIR/d/e; echo log > made/log; echo $SHARD_INDEX; exit 3";
    let bench = Bench::new(MemoryStore::new(), &[("data/a", "input\n")], script).await;
    let path = |text| RelPath::new(text).unwrap();
    let assignment = Assignment {
        outputs: vec![path("made"), path("not/there")],
        environment: vec![("SHARD_INDEX".into(), "2".into())],
        ..bench.assignment()
    };
    let result = bench.perform(&assignment).await;
    assert_eq!((result.ending, result.exit.unwrap().code()), (Ending::Completed, 3));
    assert_eq!(bench.output(), "input\n2\n");
    assert!(result.message.contains("not/there"), "{}", result.message);
    let expected = [("copy", "input\n"), ("d/e", "deep\n"), ("made/log", "log\n")];
    let expected = expected.map(|(path, content)| (path.to_owned(), content.to_owned()));
    assert_eq!(outputs(&bench, &result).await, expected.into());
    assert_eq!((result.stats.cold_items, result.stats.hot_items), (2, 0));
    assert!(result.stats.uploaded_bytes > 0);
}

#[tokio::test]
async fn named_caches_come_back_in_the_next_attempt() {
    let script = "cat made/by/log; echo was here >> made/by/log; exit 5";
    let bench = Bench::new(MemoryStore::new(), &[], script).await;
    let named_caches = vec!["deps=made/by".parse().unwrap()];
    let assignment = Assignment { named_caches, ..bench.assignment() };
    for output in ["", "was here\n", "was here\nwas here\n"] {
        let before = bench.output().len();
        let result = bench.perform(&assignment).await;
        assert_eq!((result.ending, result.exit.unwrap().code()), (Ending::Completed, 5), "{result:?}");
        let told = bench.output();
        assert!(
            told[before..].ends_with(output)
                && told[before..].matches("was").count() == output.lines().count()
        );
        assert_eq!(bench.worker.named_caches.names().unwrap(), ["deps".parse().unwrap()]);
        assert!(!bench.dir.input().join("made/by").exists());
        bench.dir.empty_input().unwrap();
    }
    let taken = Assignment { named_caches: vec!["deps=f".parse().unwrap()], ..bench.assignment() };
    let store = &bench.worker.store;
    let input = archive(store, &[("f", "x")], &["/bin/true"]).await;
    let result = bench.perform(&Assignment { input: Some(input), ..taken }).await;
    assert_eq!(result.ending, Ending::ClientError);
    assert!(
        result.message.contains("the cache deps cannot be at f: the input has f there"),
        "{}",
        result.message
    );
}

#[tokio::test]
async fn without_outputs_nothing_is_uploaded() {
    let bench = Bench::new(MemoryStore::new(), &[], "true").await;
    let result = bench.perform(&bench.assignment()).await;
    assert_eq!((result.ending, result.outputs, result.message.as_str()), (Ending::Completed, None, ""));
}

#[tokio::test]
async fn an_input_that_is_not_there_is_the_clients_error_and_is_named() {
    let bench = Bench::new(MemoryStore::new(), &[], "true").await;
    let input = B3.digest(b"nowhere");
    let result = bench.perform(&Assignment { input: Some(input), ..bench.assignment() }).await;
    assert_eq!((result.ending, result.exit), (Ending::ClientError, None));
    assert!(result.message.contains(&input.to_string()), "{}", result.message);
    let noise = bench.worker.store.put(B3, Bytes::from_static(b"no manifest")).await.unwrap();
    let result = bench.perform(&Assignment { input: Some(noise), ..bench.assignment() }).await;
    assert_eq!(result.ending, Ending::ClientError, "{}", result.message);
}

#[tokio::test]
async fn a_timeout_is_told_and_the_outputs_so_far_are_kept() {
    let script = "echo part > $ISOLATED_OUTDIR/part; exec sleep 600";
    let bench = Bench::new(MemoryStore::new(), &[], script).await;
    let mut assignment = bench.assignment();
    assignment.timeouts.hard = Duration::from_secs(3);
    let result = bench.perform(&assignment).await;
    assert_eq!(result.ending, Ending::TimedOut);
    assert!(result.message.contains("hard timeout of 3s"), "{}", result.message);
    assert_eq!(outputs(&bench, &result).await["part"], "part\n");
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_waited_for() {
    let down = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&down);
    let fault = move |call| {
        let once = matches!(call, Call::ReadBatch(_)) && seen.swap(false, Ordering::Relaxed);
        once.then(|| Error::Unavailable { reason: "restarting".into() })
    };
    let bench = Bench::new(Faulty::new(MemoryStore::new(), fault), &[("a", "a")], "cat a").await;
    down.store(true, Ordering::Relaxed);
    let result = bench.perform(&bench.assignment()).await;
    assert_eq!((result.ending, bench.output().as_str()), (Ending::Completed, "a"));
    assert!(!down.load(Ordering::Relaxed));
}

#[tokio::test]
async fn what_is_lost_from_the_cache_meanwhile_is_fetched_again() {
    let lost: Arc<std::sync::Mutex<Option<PathBuf>>> = Arc::default();
    let lose = Arc::clone(&lost);
    let fault = move |call| {
        if matches!(call, Call::ReadBatch(_))
            && let Some(path) = lose.lock().unwrap().take()
        {
            fs::remove_file(path).unwrap();
        }
        None
    };
    let store = Faulty::new(MemoryStore::new(), fault);
    let bench = Bench::new(store, &[("a", "first"), ("b", "second")], "cat a b").await;
    let first = B3.digest(b"first");
    let manifest = bench.worker.store.get(bench.input).await.unwrap();
    bench.worker.cache.insert(bench.input, &manifest).unwrap();
    bench.worker.cache.insert(first, b"first").unwrap();
    *lost.lock().unwrap() = Some(bench.worker.cache.path(first));
    let result = bench.perform(&bench.assignment()).await;
    assert_eq!((result.message.as_str(), bench.output().as_str()), ("", "firstsecond"));
    assert!(lost.lock().unwrap().is_none() && bench.cache.is_dir());
}

#[tokio::test]
async fn nothing_is_written_any_more_when_a_set_up_was_interrupted() {
    let names: Vec<String> = (0..4000).map(|n| format!("{}/{n}", n % 50)).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let bench = Bench::new(MemoryStore::new(), &files, "echo started").await;
    let begun = || fs::read_dir(bench.dir.input()).unwrap().count() > 0;
    let assignment = bench.assignment();
    let (result, ()) =
        tokio::join!(bench.perform(&assignment), bench.interrupt_when(Interruption::Kill, begun));
    assert_eq!((result.ending, bench.output().as_str()), (Ending::Killed, ""));
    let count = || {
        let dirs = fs::read_dir(bench.dir.input()).unwrap();
        dirs.map(|dir| fs::read_dir(dir.unwrap().path()).unwrap().count()).sum::<usize>()
    };
    let left = count();
    bench.worker.clock.sleep(Duration::from_millis(100)).await;
    assert_eq!(count(), left);
}

#[tokio::test]
async fn an_attempt_that_is_abandoned_does_not_wait_for_its_upload() {
    let uploading = Arc::new(AtomicBool::new(false));
    let begun = Arc::clone(&uploading);
    let down = move |call| {
        let down = matches!(call, Call::FindMissing(_));
        down.then(|| {
            begun.store(true, Ordering::Relaxed);
            Error::Unavailable { reason: "down for long".into() }
        })
    };
    let store = Faulty::new(MemoryStore::new(), down);
    let bench = Bench::new(store, &[], "echo x > $ISOLATED_OUTDIR/x").await;
    let begun = || uploading.load(Ordering::Relaxed);
    let assignment = bench.assignment();
    let (result, ()) =
        tokio::join!(bench.perform(&assignment), bench.interrupt_when(Interruption::Abandon, begun));
    assert_eq!(result.outputs, None);
}

#[tokio::test]
async fn what_the_tests_of_a_worker_have_left_is_uploaded_again_when_that_fails() {
    for (failures, ending) in [(2, Ending::Completed), (3, Ending::InternalError)] {
        let left = Arc::new(AtomicU32::new(failures));
        let fails = move |call| {
            let fails = matches!(call, Call::FindMissing(_))
                && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
            fails.then(|| Error::Exhausted { reason: "the disk is full".into() })
        };
        let store = Faulty::new(MemoryStore::new(), fails);
        let bench = Bench::new(store, &[], "echo said; echo kept > $ISOLATED_OUTDIR/x").await;
        let (obey, commands) = mpsc::channel(4);
        let (news, mut told) = mpsc::channel(16);
        let test = TestToRun { index: 0, name: "0/1".into(), timeout: Duration::from_secs(20) };
        obey.try_send(TestsCommand::Batch(Batch { number: 1, tests: vec![test] })).unwrap();
        obey.try_send(TestsCommand::Complete).unwrap();
        let tests = Some(TestsOrder { driver: Driver::Opaque { partitions: NonZeroU32::MIN }, list: false });
        let assignment = Assignment { tests, ..bench.assignment() };
        let line = Some(TestsLine { commands, news });
        let interrupted = bench.interruption.subscribe();
        let result = bench.worker.perform(&assignment, &bench.dir, &bench.spool, interrupted, line).await;
        assert_eq!(result.ending, ending, "{result:?}");
        assert_eq!(
            result.exit,
            Some(crate::attempt::CommandExit::Code(0)),
            "what the tests are worth stands"
        );
        let mut verdicts = Vec::new();
        while let Some(news) = told.recv().await {
            if let TestsNews::Finished(report) = news {
                verdicts.push(report.verdict);
            }
        }
        assert_eq!(verdicts, [TestVerdict::Passed]);
        let outputs = outputs(&bench, &result).await;
        if ending == Ending::Completed {
            assert!(outputs.values().any(|text| text == "said\n") && outputs["x"] == "kept\n", "{outputs:?}");
        } else {
            assert!(result.message.contains("cannot archive the outputs"), "{}", result.message);
            assert!(outputs.is_empty() && result.message.contains("the disk is full"), "{}", result.message);
        }
    }
}

#[tokio::test]
async fn a_secret_is_in_a_file_of_the_commands_for_as_long_as_it_runs() {
    let script = "cat $SWARM_SECRET_FILE; stat -c ' %a' $SWARM_SECRET_FILE; echo $SWARM_SECRET_FILE > ${ISOLATED_OUTDIR}/where";
    let bench = Bench::new(MemoryStore::default(), &[], script).await;
    let secret = Some(proto::Secret::new(b"hunter2").unwrap());
    let result = bench.perform(&Assignment { secret, ..bench.assignment() }).await;
    assert_eq!((result.ending, result.exit), (Ending::Completed, Some(crate::attempt::CommandExit::Code(0))));
    assert_eq!(bench.output(), "hunter2 400\n");
    assert!(!bench.dir.secret().exists(), "it is gone with the command");
}

#[tokio::test]
async fn a_command_without_a_secret_is_told_of_no_file() {
    let bench = Bench::new(MemoryStore::default(), &[], "echo ${SWARM_SECRET_FILE-none}").await;
    let environment = vec![("SWARM_SECRET_FILE".to_owned(), "/etc/passwd".to_owned())];
    bench.perform(&Assignment { environment, ..bench.assignment() }).await;
    assert_eq!(bench.output(), "none\n");
}

#[tokio::test]
async fn what_earlier_shards_have_left_lies_beside_the_input() {
    let script = "cat own parts/*/log; ls parts/1; echo merged > $ISOLATED_OUTDIR/all";
    let bench = Bench::new(MemoryStore::new(), &[("own", "own\n")], script).await;
    let into = |index: u32| Some(RelPath::new(&format!("parts/{index}")).unwrap());
    let mut includes = Vec::new();
    for (index, log) in [(0, "first\n"), (2, "third\n")] {
        let manifest = Some(archive(&bench.worker.store, &[("log", log)], &[]).await);
        includes.push(Graft { manifest, into: into(index) });
    }
    // The second has left nothing.
    includes.push(Graft { manifest: None, into: into(1) });
    let assignment = Assignment { includes: includes.clone(), ..bench.assignment() };
    let result = bench.perform(&assignment).await;
    assert_eq!((result.message.as_str(), bench.output().as_str()), ("", "own\nfirst\nthird\n"));
    assert_eq!(outputs(&bench, &result).await["all"], "merged\n");
    assert_eq!(result.stats.cold_items, 6, "manifests and files");

    bench.dir.empty_input().unwrap();
    let before = bench.output().len();
    let command = ["/bin/sh", "-c", "cat parts/*/log"].map(str::to_owned).into();
    let alone = Assignment { input: None, command, includes, ..bench.assignment() };
    let result = bench.perform(&alone).await;
    assert_eq!((result.message.as_str(), &bench.output()[before..]), ("", "first\nthird\n"));

    bench.dir.empty_input().unwrap();
    let other = archive(&bench.worker.store, &[("own", "other")], &[]).await;
    let collides =
        Assignment { includes: vec![Graft { manifest: Some(other), into: None }], ..bench.assignment() };
    let result = bench.perform(&collides).await;
    assert_eq!(result.ending, Ending::ClientError);
    let both = format!("`own` of manifest {other} cannot lie beside `own` of the input");
    assert!(result.message.contains(&both), "{}", result.message);
}
