//! Our server as a client's cache, and clients as commands.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};
use tempfile::TempDir;
use tests::{Finished, Program, http};
use tokio::process::Command;

/// Long enough for an installation or a build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(540);

/// Where a client is; installs it if need be.
pub(crate) async fn client(name: &str) -> PathBuf {
    let setup = runtime::testing::package().join("setup/clients");
    let finished = finished(Command::new(setup).arg(name)).await.expect(0);
    PathBuf::from(finished.stdout.lines().next().unwrap())
}

/// Runs a command to its end.
pub(crate) async fn finished(command: &mut Command) -> Finished {
    Finished::within(PATIENCE, command).await
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server with a store of its own.
#[derive(Debug)]
pub(crate) struct Cache {
    program: Option<Program>,
    flags: Vec<String>,
    dir: TempDir,
}

impl Cache {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let dir = TempDir::with_prefix("isoswarm-clients-").unwrap();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut cache = Self { program: None, flags, dir };
        cache.restart().await;
        cache
    }

    /// Starts it on what it had.
    pub(crate) async fn restart(&mut self) {
        let data = self.path("cas");
        let args = ["--listen", "127.0.0.1:0", "--data"].map(OsStr::new).into_iter();
        let flags = self.flags.iter().map(OsStr::new);
        self.program = Some(Program::start("cas-server", args.chain([data.as_os_str()]).chain(flags)).await);
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.program.take().unwrap().kill().await;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.program.as_ref().unwrap().address()
    }

    /// A path in the directory of this test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Every counter and gauge, by its name with labels.
    pub(crate) async fn metrics(&self) -> BTreeMap<String, f64> {
        let (status, text) = http(self.address(), "GET", "/metrics", b"").await;
        assert_eq!(status, 200);
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        values.collect()
    }

    /// How often a method was called, as the server counts: `Write`, `GET /ac`.
    pub(crate) async fn calls(&self, method: &str) -> u64 {
        let name = format!("cas_request_seconds_count{{method=\"{method}\"}}");
        self.metrics().await.get(&name).map_or(0, |count| *count as u64)
    }

    /// How many blobs were written.
    pub(crate) async fn written(&self) -> u64 {
        self.metrics().await.get("cas_written_blobs_total").map_or(0, |count| *count as u64)
    }
}
