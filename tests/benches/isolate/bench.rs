//! A directory with a server for one round, and how the programs are called there.

use super::measure::{self, Took};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
};
use tempfile::TempDir;
use tests::{Program, binary};

/// Where each Linux system has a file system that is memory, and the number by which the kernel tells so.
const MEMORY: &str = "/dev/shm";
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// Begins with an empty server and empty caches.
#[derive(Debug)]
pub(crate) struct Bench {
    dir: PathBuf,
    pub(crate) server: Program,
    watcher: Option<Program>,
}

impl Bench {
    pub(crate) async fn start(dir: PathBuf) -> Self {
        std::fs::create_dir(&dir).unwrap();
        let data = dir.join("data").display().to_string();
        let server = Program::start("cas-server", ["--listen", "127.0.0.1:0", "--data", &data]).await;
        Self { dir, server, watcher: None }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The command line of `isolate`, whose local and hash caches are those of this name.
    pub(crate) fn isolate(&self, caches: &str, args: &str) -> String {
        let (program, caches) = (binary("isolate"), self.at(caches));
        let (program, caches) = (program.display(), caches.display());
        format!("XDG_CACHE_HOME={caches} ISOSWARM_CAS={} {program} {args}", self.server.url())
    }

    /// What that takes, the processor time of the server and of who watches included, and prints.
    pub(crate) async fn run(&self, caches: &str, args: &str) -> (Took, String) {
        let before = self.cpu();
        let (took, output) = measure::shell(&self.isolate(caches, args)).await;
        (Took { cpu: took.cpu + self.cpu() - before, ..took }, output)
    }

    fn cpu(&self) -> f64 {
        let programs = [&self.server].into_iter().chain(&self.watcher);
        programs.map(|program| measure::cpu(program.pid().as_raw_nonzero().get())).sum()
    }

    /// Has `tree` watched for those with these caches, from now to the end of the round.
    pub(crate) async fn watch(&mut self, caches: &str, tree: &Path) {
        let caches = format!("XDG_CACHE_HOME={}", self.at(caches).display());
        let (program, tree) = (binary("isolate"), tree.display().to_string());
        let args = [&caches, program.to_str().unwrap(), "watch", &tree];
        self.watcher = Some(Program::start_at(Path::new("/usr/bin/env"), args).await);
    }

    /// Ends the round.
    pub(crate) async fn end(self) {
        for program in [self.server].into_iter().chain(self.watcher) {
            assert!(program.terminate().await.success());
        }
    }

    /// Archives `tree`: what that takes, and the digest.
    pub(crate) async fn archive(&self, caches: &str, tree: &Path) -> (Took, String) {
        let args = format!("archive -q --root {} ./ -- true", tree.display());
        let (took, output) = self.run(caches, &args).await;
        (took, output.split_whitespace().next().unwrap().to_owned())
    }

    /// Lays out what a digest names.
    pub(crate) async fn download(&self, caches: &str, digest: &str, to: &str) -> Took {
        self.run(caches, &format!("download -q {digest} -o {}", self.at(to).display())).await.0
    }

    /// The sum of the server's metrics whose lines begin so.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, body) = tests::http(self.server.address(), "GET", "/metrics", b"").await;
        let body = String::from_utf8(body).unwrap();
        let values = body.lines().filter(|line| line.starts_with(name));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Calls that it has answered, those for its metrics aside.
    pub(crate) async fn calls(&self) -> f64 {
        let name = "cas_request_seconds_count";
        self.metric(name).await - self.metric(&format!("{name}{{method=\"GET /metrics\"}}")).await
    }
}

/// A copy of `tree` in a file system that is memory: what is compared with a fetch begins there, as blobs do in a server's memory.
pub(crate) async fn in_memory(tree: &Path) -> TempDir {
    let dir = TempDir::with_prefix_in("isoswarm-bench-", MEMORY).unwrap();
    let kind = rustix::fs::statfs(dir.path()).unwrap().f_type;
    assert!(kind == TMPFS, "{MEMORY} is no tmpfs: mount one there that has room for {}", tree.display());
    measure::shell(&format!("cp -r {} {}", tree.display(), dir.path().join("tree").display())).await;
    dir
}

/// How long so many bytes take through one TCP connection of loopback, from memory into memory.
pub(crate) fn transfer(bytes: u64) -> Took {
    const STEP: usize = 256 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sending = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let buffer = vec![1; STEP];
        let mut left = bytes as usize;
        while left > 0 {
            left -= stream.write(&buffer[..STEP.min(left)]).unwrap();
        }
    });
    let took = measure::here(2, || {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut buffer = vec![0; STEP];
        let mut received = 0;
        while received < bytes {
            received += stream.read(&mut buffer).unwrap() as u64;
        }
    });
    sending.join().unwrap();
    took
}
