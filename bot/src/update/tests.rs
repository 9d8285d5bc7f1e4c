use super::*;
use bytes::Bytes;
use cas::{BlobStoreExt as _, memory::MemoryStore};
use proto::DigestFunction;
use runtime::{ManualClock, SystemClock};
use std::os::unix::fs::PermissionsExt as _;

const SHA: DigestFunction = DigestFunction::Sha256;

struct Bench {
    dir: tempfile::TempDir,
    store: Arc<MemoryStore>,
    clock: ManualClock,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("own"), "old").unwrap();
        let clock = ManualClock::new(Timestamp::from_micros(1_000_000_000_000));
        Self { dir, store: Arc::default(), clock }
    }

    fn updater(&self) -> Updater {
        let own = Some(self.dir.path().join("own"));
        Updater::new(own, self.programs(), Arc::clone(&self.store) as _, Arc::new(self.clock.clone()))
    }

    fn programs(&self) -> PathBuf {
        self.dir.path().join("program")
    }

    async fn program(&self, text: &'static str) -> Digest {
        self.store.put(SHA, Bytes::from(text)).await.unwrap()
    }
}

#[tokio::test]
async fn another_program_is_fetched_verified_and_executable_and_the_same_one_is_left_alone() {
    let bench = Bench::new();
    let mut updater = bench.updater();
    updater.name(Some(bench.program("old").await));
    updater.news().await;
    assert_eq!((updater.ready(), updater.notice()), (None, ""));
    let new = bench.program("#!/bin/sh\nexit 0\n").await;
    fs::create_dir(bench.programs()).unwrap();
    fs::write(bench.programs().join("older"), "x").unwrap();
    fs::write(bench.programs().join(new.hex()), "damaged").unwrap();
    updater.name(Some(new));
    updater.news().await;
    let ready = updater.ready().unwrap().clone();
    assert_eq!(fs::read(&ready.path).unwrap(), b"#!/bin/sh\nexit 0\n");
    assert_eq!(fs::metadata(&ready.path).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(bench.programs()).unwrap().count(), 1, "older ones are gone");
    assert_eq!(ready.try_out(&[], None).await, Ok(()));
    updater.name(None);
    assert_eq!(updater.ready(), None, "the scheduler has changed its mind");
}

#[tokio::test]
async fn what_is_not_wanted_any_more_when_it_comes_is_not_tried() {
    let bench = Bench::new();
    let mut updater = bench.updater();
    updater.name(Some(bench.program("new").await));
    updater.name(None);
    updater.news().await;
    assert_eq!((updater.ready(), updater.notice()), (None, ""));
    let another = bench.program("another").await;
    updater.name(Some(SHA.digest(b"nobody has it")));
    updater.name(Some(another));
    updater.news().await;
    updater.name(Some(another));
    updater.news().await;
    assert_eq!(updater.ready().map(|update| update.digest), Some(another), "and its failure delays nothing");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_and_asked_for_again_later() {
    let bench = Bench::new();
    let mut updater = bench.updater();
    let absent = SHA.digest(b"nobody has it");
    updater.name(Some(absent));
    updater.news().await;
    assert!(
        updater.notice().starts_with(&format!("cannot fetch program {absent}: ")),
        "{}",
        updater.notice()
    );
    updater.name(Some(absent));
    assert!(updater.fetching.is_empty(), "not at once");
    bench.program("nobody has it").await;
    bench.clock.advance(FETCH_LATER);
    updater.name(Some(absent));
    updater.news().await;
    assert!(updater.ready().is_some());
}

#[tokio::test]
async fn a_program_that_failed_is_left_alone_for_a_while_also_after_a_restart() {
    let bench = Bench::new();
    let mut updater = bench.updater();
    let new = bench.program("#!/bin/sh\nexit 3\n").await;
    updater.name(Some(new));
    updater.news().await;
    let update = updater.ready().unwrap().clone();
    let reason = update.try_out(&[], None).await.unwrap_err();
    assert_eq!(reason, "it ended with exit status: 3 before it reached the scheduler");
    update.note_failure(&reason, bench.clock.now()).unwrap();
    let mut updater = bench.updater();
    assert!(
        updater.notice().contains("this one goes on: it ended with exit status: 3"),
        "{}",
        updater.notice()
    );
    updater.name(Some(new));
    assert!(updater.fetching.is_empty() && updater.ready().is_none() && !updater.notice().is_empty());
    bench.clock.advance(LATER);
    updater.name(Some(new));
    updater.news().await;
    assert!(updater.ready().is_some());
}

#[tokio::test]
async fn a_program_that_does_not_come_to_its_call_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    fs::write(&path, "#!/bin/sh\nexec sleep 300\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let update = Update { digest: SHA.digest(b""), path };
    let clock = SystemClock::shared();
    let began = clock.elapsed();
    let reason = update.try_out(&[], Some(Duration::from_millis(200))).await.unwrap_err();
    assert!(reason.contains("did not reach the scheduler within 200ms"), "{reason}");
    assert!(clock.elapsed() - began < Duration::from_secs(30));
}
