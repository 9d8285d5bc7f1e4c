//! moon, over gRPC with zstd and over HTTP with JSON.

use crate::support::{Cache, client, finished};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tests::Finished;
use tokio::process::Command;

/// A repository with one task, whose outputs are one file of some bytes and one of some MiB.
struct Workspace {
    moon: PathBuf,
    dir: PathBuf,
}

impl Workspace {
    async fn new(cache: &Cache, remote: &str) -> Self {
        let (moon, dir) = (client("moon").await, cache.path("workspace"));
        fs::create_dir_all(dir.join(".moon")).unwrap();
        fs::create_dir_all(dir.join("app")).unwrap();
        let settings = "projects: ['app']\nvcs: {client: 'git', defaultBranch: 'main'}\ntelemetry: false\n";
        fs::write(dir.join(".moon/workspace.yml"), format!("{settings}remote: {remote}\n")).unwrap();
        let task =
            "tasks:\n  make:\n    command: 'sh make.sh'\n    inputs: ['make.sh']\n    outputs: ['out']\n";
        fs::write(dir.join("app/moon.yml"), task).unwrap();
        let script = "mkdir -p out\nseq 1 900000 > out/large.txt\necho small > out/small.txt\necho made\n";
        fs::write(dir.join("app/make.sh"), script).unwrap();
        let workspace = Self { moon, dir };
        workspace.git(&["init", "-q", "-b", "main"]).await;
        workspace.git(&["add", "-A"]).await;
        workspace.git(&["-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-qm", "all"]).await;
        workspace
    }

    async fn git(&self, args: &[&str]) {
        finished(Command::new("git").args(args).current_dir(&self.dir)).await.expect(0);
    }

    /// Runs the task as on a machine that has nothing yet.
    async fn run(&self) -> Finished {
        for local in [".moon/cache", "app/out"] {
            let _ = fs::remove_dir_all(self.dir.join(local));
        }
        let mut command = Command::new(&self.moon);
        command.args(["run", "app:make", "--log", "debug"]).current_dir(&self.dir);
        // It looks for a workspace below the home directory only.
        let home = self.dir.parent().unwrap();
        command.env("HOME", home).env("MOON_HOME", home.join(".moon-home")).env("CI", "false");
        finished(&mut command).await.expect(0)
    }

    fn assert_outputs(&self) {
        let output =
            |name: &str| fs::read_to_string(Path::new(&self.dir).join("app/out").join(name)).unwrap();
        assert_eq!(output("small.txt"), "small\n");
        let large = output("large.txt");
        assert_eq!((large.lines().count(), large.lines().last()), (900_000, Some("900000")));
    }
}

/// The second machine must run nothing.
async fn hits_on_second_run(workspace: &Workspace) {
    let cold = workspace.run().await;
    assert!(!said(&cold, "cached from remote"), "{cold:?}");
    assert!(!said(&cold, "does not support zstd"), "{cold:?}");
    let warm = workspace.run().await;
    assert!(said(&warm, "cached from remote"), "stdout:\n{}\nstderr:\n{}", warm.stdout, warm.stderr);
    workspace.assert_outputs();
}

fn said(finished: &Finished, words: &str) -> bool {
    finished.stdout.contains(words) || finished.stderr.contains(words)
}

#[tokio::test]
async fn grpc_with_zstd() {
    over_grpc_with_zstd(&[]).await;
}

#[tokio::test]
async fn grpc_with_zstd_and_blobs_that_are_stored_in_several_frames() {
    let cache = over_grpc_with_zstd(&["--compress=zstd"]).await;
    assert!(cache.metrics().await["cas_compressed_reads_passed_through_total"] >= 1.0);
}

async fn over_grpc_with_zstd(flags: &[&str]) -> Cache {
    let cache = Cache::start(flags).await;
    let remote = format!(
        "{{api: 'grpc', host: 'grpc://{}', cache: {{compression: 'zstd', verifyIntegrity: true}}}}",
        cache.address()
    );
    let workspace = Workspace::new(&cache, &remote).await;
    hits_on_second_run(&workspace).await;
    let [updates, writes, reads] = ["UpdateActionResult", "Write", "Read"].map(|method| cache.calls(method));
    let (updates, writes, reads) = (updates.await, writes.await, reads.await);
    assert_eq!(updates, 1);
    assert!(writes >= 1 && reads >= 1, "the large file is streamed: {writes} writes, {reads} reads");
    cache
}

#[tokio::test]
async fn http_with_json() {
    let cache = Cache::start(&[]).await;
    let remote =
        format!("{{api: 'http', host: 'http://{}', cache: {{verifyIntegrity: true}}}}", cache.address());
    let workspace = Workspace::new(&cache, &remote).await;
    hits_on_second_run(&workspace).await;
    assert!(cache.written().await >= 2, "both files");
}
