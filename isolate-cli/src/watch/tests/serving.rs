//! Those who ask, and who answers them.

use super::*;
use crate::watch::{Ending, Serving, Watcher, message::Identity};
use proto::Timestamp;
use runtime::{ManualClock, Shutdown};
use std::{io::Read as _, os::unix::net::UnixStream, sync::Arc, time::Duration};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

const IDLE: Duration = Duration::from_secs(60);

/// Somebody who watches a tree and answers.
struct Server {
    dir: TempDir,
    place: Place,
    root: PathBuf,
    clock: ManualClock,
    shutdown: Shutdown,
    running: JoinHandle<Result<Ending, WatchError>>,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "awaited when it is to end")]
    fn start() -> Self {
        let Bench { dir, watched, .. } = Bench::new();
        let place = Place::at(&dir.path().join("sockets"));
        let root = watched.root().to_owned();
        let serving = Serving::begin(&place, watched).unwrap().unwrap();
        let (clock, shutdown) = (ManualClock::new(Timestamp::default()), Shutdown::new());
        let running = tokio::spawn(serving.run(IDLE, Arc::new(clock.clone()), shutdown.clone()));
        Self { dir, place, root, clock, shutdown, running }
    }

    fn watcher(&self) -> Watcher {
        Watcher::at(self.place.clone())
    }

    async fn ask(&self, root: &Path, token: Option<String>) -> Option<(String, Option<Vec<String>>)> {
        let told = self.watcher().changes(root, token.as_deref()).await?;
        let paths = told.paths.map(|paths| paths.iter().map(ToString::to_string).collect());
        Some((told.token, paths))
    }

    fn sockets(&self) -> usize {
        fs::read_dir(self.dir.path().join("sockets"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name() != "lock")
            .count()
    }

    async fn ended(self) -> Ending {
        let ending = self.running.await.unwrap().unwrap();
        let left = fs::read_dir(self.dir.path().join("sockets")).unwrap().count();
        assert_eq!(left, 1, "the lock");
        ending
    }
}

#[tokio::test]
async fn several_ask_at_a_time_each_with_a_token_of_its_own() {
    let server = Server::start();
    let (first, all) = server.ask(&server.root, None).await.unwrap();
    assert_eq!(all, None);
    fs::write(server.root.join("file"), "changed").unwrap();
    let asked = (0..20).map(|_| server.ask(&server.root, Some(first.clone())));
    for told in futures::future::join_all(asked).await {
        assert_eq!(told.unwrap().1, Some(vec!["file".to_owned()]));
    }
    // From further below, and by another path.
    let below = server.root.join("dir");
    assert_eq!(server.ask(&below, Some(first.clone())).await.unwrap().1, Some(Vec::new()));
    fs::write(below.join("deep/file"), "changed").unwrap();
    symlink("root/dir", server.dir.path().join("link")).unwrap();
    for path in [below, server.dir.path().join("link")] {
        let told = server.ask(&path, Some(first.clone())).await.unwrap().1;
        assert_eq!(told, Some(vec!["deep/file".to_owned()]));
    }
    assert_eq!(server.ask(server.dir.path(), Some(first)).await, None, "nobody watches what is above");
    server.shutdown.request();
    assert_eq!(server.ended().await, Ending::Signal);
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_or_nobody_asks() {
    let server = Server::start();
    let (watcher, root) = (server.watcher(), server.root.clone());
    let (first, last, after) =
        (watcher.status(&root).await, watcher.stop(&root).await, watcher.status(&root).await);
    assert_eq!((first.clone(), after), (last, None));
    assert_eq!((first.as_ref().unwrap().directories, &first.unwrap().root), (3, &server.root));
    assert_eq!(server.ended().await, Ending::Stopped);

    let server = Server::start();
    for _ in 0..3 {
        server.clock.advance(IDLE / 2);
        server.ask(&server.root, None).await.unwrap();
    }
    server.clock.advance(IDLE);
    assert_eq!(server.ended().await, Ending::Idle);
}

#[tokio::test]
async fn who_asks_nothing_or_nonsense_keeps_nobody_else_waiting() {
    let server = Server::start();
    let place = server.place.clone();
    let root = server.root.clone();
    let connect = move || {
        let stream = place.connect(&root).unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    };
    let silent = connect();
    let mut answers = Vec::new();
    for nonsense in ["\n", "{}\n", "{\"changes\":{}, \"x\":1}\n", "nonsense", &"x".repeat(100_000)] {
        let mut stream = connect();
        // It may be shut before all of that is there.
        let _ = std::io::Write::write_all(&mut stream, nonsense.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let read = |mut stream: UnixStream| {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            answer
        };
        answers.push(spawn_blocking(move || read(stream)).await.unwrap());
    }
    assert!(answers.iter().all(Vec::is_empty), "{answers:?}");
    assert!(server.ask(&server.root, None).await.is_some());
    assert_eq!(server.sockets(), 1);
    // Nor does it keep anybody from ending, though it stays.
    server.shutdown.request();
    assert_eq!(timeout(IDLE / 20, server.ended()).await.unwrap(), Ending::Signal);
    drop(silent);
}

#[tokio::test]
async fn who_finds_another_directory_at_that_path_is_told_nothing_of_this_one() {
    let server = Server::start();
    let (place, root) = (server.place.clone(), server.root.clone());
    let ask = move |of: serde_json::Value| {
        let mut stream = place.connect(&root).unwrap();
        stream.set_nonblocking(false).unwrap();
        let question = serde_json::json!({"changes": {"token": null, "of": of}});
        std::io::Write::write_all(&mut stream, format!("{question}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let of = serde_json::to_value(Identity::of(&server.root).unwrap()).unwrap();
    let asked = spawn_blocking(move || {
        assert!(ask(of.clone()).contains("token"));
        for (key, value) in [("device", 1.into()), ("inode", 1.into()), ("mounts", "mnt:[1]".into())] {
            let mut other = of.clone();
            other[key] = value;
            assert_eq!(ask(other), "\"another\"\n", "{key}");
        }
    });
    asked.await.unwrap();
    server.shutdown.request();
    assert_eq!(server.ended().await, Ending::Signal);
}

#[tokio::test]
async fn who_does_not_answer_in_time_counts_as_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let place = Place::at(&root.join("sockets"));
    let _stopped = place.listen(&root).unwrap().unwrap();
    let asked = timeout(IDLE / 6, Watcher::at(place).changes(&root, None)).await;
    assert!(asked.expect("in time").is_none());
}

#[tokio::test]
async fn of_a_root_that_is_gone_nobody_is_told_anything() {
    let server = Server::start();
    fs::rename(&server.root, server.dir.path().join("elsewhere")).unwrap();
    fs::create_dir(&server.root).unwrap();
    assert_eq!(server.ask(&server.root, None).await, None);
    assert!(matches!(server.running.await.unwrap(), Err(WatchError::Gone)));
    assert!(server.place.connect(&server.root).is_err());
}
