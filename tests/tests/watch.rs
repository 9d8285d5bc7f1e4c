//! Trees that `isolate watch` watches: archiving them again comes to the same as looking at every file, whatever became of
//! the tree, the store and who watches.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};
use tests::{Program, System, binary, calls_since, eventually};

/// As many as make a manifest that is kept.
const FILES: usize = 4000;

struct Bench {
    system: System,
    root: PathBuf,
}

impl Bench {
    async fn new() -> Self {
        let system = System::start(0).await;
        let root = system.path().canonicalize().unwrap().join("tree");
        let bench = Self { system, root };
        for number in 0..FILES {
            bench.write(&format!("dir-{}/file-{number}", number % 40), &number.to_string());
        }
        bench
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    /// Watches this directory.
    async fn watch(&self, dir: &Path, flags: &[&str]) -> Program {
        let cache = format!("XDG_CACHE_HOME={}", self.system.path().join("cache").display());
        let (program, dir) = (binary("isolate"), dir.display().to_string());
        let args = [&cache, program.to_str().unwrap(), "watch", &dir];
        Program::start_at(Path::new("/usr/bin/env"), args.iter().copied().chain(flags.iter().copied())).await
    }

    async fn isolate(&self, line: &str) -> String {
        let line = line.replace("TREE", self.root.to_str().unwrap());
        self.system.run("isolate", line.split_whitespace()).await.expect(0).stdout
    }

    /// Archives, and checks that looking at every file comes to the same: the calls that it took.
    async fn archive(&self) -> BTreeMap<String, u64> {
        let before = self.system.cas_calls().await;
        let archived = self.isolate("archive -q --root TREE ./ -- true").await;
        let calls = calls_since(&before, &self.system.cas_calls().await);
        assert_eq!(archived, self.isolate("check -q --root TREE ./ -- true").await);
        let asked = self.system.cas_calls().await;
        let all = self.isolate("archive -q --no-watch --root TREE ./ -- true").await;
        let whole = calls_since(&asked, &self.system.cas_calls().await);
        assert_eq!(
            (all, whole),
            (archived, [("FindMissingBlobs".to_owned(), 1)].into()),
            "all of it is there"
        );
        calls
    }
}

fn calls<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.into_iter().map(|(method, count)| (method.to_owned(), count)).collect()
}

#[tokio::test]
async fn of_a_watched_tree_only_what_changed_is_looked_at_and_nothing_changed_is_one_call() {
    let bench = Bench::new().await;
    let watching = bench.watch(&bench.root, &[]).await;
    bench.archive().await;
    let unchanged = calls([("WritePatch", 1)]);
    assert_eq!(bench.archive().await, unchanged);

    let changed = calls([("BatchUpdateBlobs", 1), ("FindMissingBlobs", 1), ("WritePatch", 1)]);
    bench.write("dir-7/file-7", "changed");
    assert_eq!(bench.archive().await, changed);
    bench.write("new/deep/file", "new");
    fs::rename(bench.at("dir-3"), bench.at("renamed")).unwrap();
    fs::remove_dir_all(bench.at("dir-4")).unwrap();
    fs::remove_file(bench.at("dir-5/file-5")).unwrap();
    fs::set_permissions(bench.at("dir-6/file-6"), fs::Permissions::from_mode(0o755)).unwrap();
    bench.write("renamed/file-3", "changed where it is now");
    assert_eq!(bench.archive().await, changed);
    assert_eq!(bench.archive().await, unchanged);

    // Whole again, by what the others know.
    symlink("file-7", bench.at("dir-7/link")).unwrap();
    assert!(bench.archive().await["FindMissingBlobs"] > 0);
    assert_eq!(bench.archive().await, unchanged);
    // What is excluded is none of it.
    bench.write("dir-7/ignored.pyc", "x");
    assert_eq!(bench.archive().await, unchanged);
    // Another work item of the same root; with a manifest in a file.
    let file = bench.system.path().join("out.isolated");
    let line = format!("archive -q --root TREE ./ -s {} -- false", file.display());
    for content in ["changed", "changed again"] {
        bench.write("dir-8/file-8", content);
        let digest = bench.isolate(&line).await;
        assert_eq!(digest, bench.isolate("check -q --root TREE ./ -- false").await.replace("tree", "out"));
        let manifest = proto::DigestFunction::Blake3.digest(&fs::read(&file).unwrap());
        assert!(digest.starts_with(&manifest.to_string()));
    }
    assert!(watching.terminate().await.success());
}

#[tokio::test]
async fn a_batch_and_a_tree_below_the_watched_one_are_looked_at_in_the_same_way() {
    let bench = Bench::new().await;
    let watching = bench.watch(bench.root.parent().unwrap(), &[]).await;
    let described = bench.system.path().join("a.isolated.gen.json");
    let isolated = bench.system.path().join("a.isolated");
    let args = ["--root", bench.root.to_str().unwrap(), "./", "-s", isolated.to_str().unwrap()];
    let text = serde_json::json!({"version": 1, "dir": bench.system.path(), "args": args});
    fs::write(&described, text.to_string()).unwrap();
    let line = format!("batcharchive -q {}", described.display());
    bench.isolate(&line).await;
    for content in ["changed", "changed again"] {
        bench.write("dir-8/file-8", content);
        let before = bench.system.cas_calls().await;
        let archived = bench.isolate(&line).await;
        let made = calls_since(&before, &bench.system.cas_calls().await);
        assert_eq!(made, calls([("BatchUpdateBlobs", 1), ("FindMissingBlobs", 1), ("WritePatch", 1)]));
        assert_eq!(bench.isolate(&line).await, archived);
        assert_eq!(archived, bench.isolate("check -q --root TREE ./").await.replace("tree", "a"));
    }
    assert!(watching.terminate().await.success());
}

#[tokio::test]
async fn a_store_that_was_wiped_gets_everything_again() {
    let mut bench = Bench::new().await;
    let watching = bench.watch(&bench.root, &[]).await;
    for change in ["", "changed"] {
        bench.archive().await;
        bench.system.kill_cas().await;
        fs::remove_dir_all(bench.system.path().join("cas")).unwrap();
        bench.system.restart_cas().await;
        if !change.is_empty() {
            bench.write("dir-1/file-1", change);
        }
        let made = bench.archive().await;
        assert!(made["BatchUpdateBlobs"] > 0 && made["WritePatch"] > 0, "{made:?}");
    }
    assert!(watching.terminate().await.success());
}

#[tokio::test]
async fn who_watches_may_be_killed_stopped_or_started_again_at_any_time() {
    let bench = Bench::new().await;
    let watching = bench.watch(&bench.root, &[]).await;
    bench.archive().await;
    let sockets = || {
        let dir = bench.system.path().join("cache/isoswarm/watch");
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name != "lock").count()
    };
    let again = bench.system.run("isolate", ["watch", bench.root.to_str().unwrap()]).await.expect(2);
    assert!(again.stderr.contains("it is watched already"), "{again:?}");
    watching.kill().await;
    assert_eq!(sockets(), 1, "what it left");
    bench.write("dir-1/file-1", "while nobody watched");
    assert_eq!(bench.archive().await["FindMissingBlobs"], 1);

    let mut watching = bench.watch(&bench.root, &[]).await;
    bench.write("dir-2/file-2", "before it was asked");
    bench.archive().await;
    assert_eq!(bench.archive().await, calls([("WritePatch", 1)]));
    let status: serde_json::Value =
        serde_json::from_str(&bench.isolate("watch --status --json TREE").await).unwrap();
    assert_eq!(status[0]["directories"], 41);
    assert!(bench.isolate("watch --stop TREE").await.contains("watched by process"));
    assert_eq!(status[0]["process"], watching.pid().as_raw_nonzero().get());
    eventually("it to end", || std::future::ready((!watching.is_alive()).then_some(()))).await;
    assert_eq!(sockets(), 0);
    let none =
        bench.system.run("isolate", ["watch", "--status", bench.root.to_str().unwrap()]).await.expect(3);
    assert!(none.stdout.contains("not watched"), "{none:?}");

    let idle = bench.watch(&bench.root, &["--idle-timeout", "10ms"]).await;
    eventually("it to end", async || (sockets() == 0).then_some(())).await;
    drop(idle);
    // It ends when its tree does.
    let mut gone = bench.watch(&bench.root, &[]).await;
    fs::remove_dir_all(&bench.root).unwrap();
    eventually("it to end", async || (sockets() == 0).then_some(())).await;
    eventually("it to end", || std::future::ready((!gone.is_alive()).then_some(()))).await;
}
