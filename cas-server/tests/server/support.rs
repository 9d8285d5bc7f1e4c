//! Servers to test against, and a small HTTP client.

use bytes::Bytes;
use cas::{BlobStore, remote::RemoteStore};
use cas_server::Config;
use proto::{DigestFunction, v1::pins_client::PinsClient};
use runtime::{Shutdown, SystemClock, SystemEntropy};
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tonic::transport::Channel;

/// A server inside this process.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    pub(crate) dir: tempfile::TempDir,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), change).await
    }

    /// On what another one left.
    pub(crate) async fn start_on(dir: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(dir.path());
        change(&mut config);
        let running =
            cas_server::start(config, SystemClock::shared(), SystemEntropy::shared()).await.unwrap();
        let (url, address) = (running.url(), running.address());
        let (shutdown, mut tasks) = (Shutdown::new(), JoinSet::new());
        tasks.spawn(running.run_until(shutdown.clone()));
        Self { url, address, dir, shutdown, tasks }
    }

    pub(crate) fn channel(&self) -> Channel {
        runtime::connect::channel(&self.url, None).unwrap()
    }

    pub(crate) fn store(&self) -> RemoteStore {
        RemoteStore::new(self.channel(), "")
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(mut self) -> tempfile::TempDir {
        self.shutdown.request();
        while self.tasks.join_next().await.is_some() {}
        self.dir
    }

    pub(crate) async fn assert_works(&self) {
        let answer = request(self.address, "GET /healthz", &[], b"").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"ok\n"[..]));
        let bytes = Bytes::from_static(b"still here");
        let digest = DigestFunction::Blake3.digest(&bytes);
        self.store().write_batch(vec![(digest, bytes)]).await.unwrap().remove(0).unwrap();
    }
}

pub(crate) fn config(dir: &Path) -> Config {
    Config { listen: "127.0.0.1:0".parse().unwrap(), data: dir.join("data"), ..Config::default() }
}

/// What an HTTP server said.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// One request on a connection of its own. `line` is method and path.
pub(crate) async fn request(address: SocketAddr, line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses does not read on.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: answer[end + 4..].to_vec() }
}

/// The real program. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) url: String,
    _stdout: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_by(command(), data)
    }

    /// Of whose open files `limit`, arguments of `ulimit`, says how many there may be.
    pub(crate) fn start_limited(limit: &str, data: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("ulimit {limit} && exec \"$0\" \"$@\""),
            env!("CARGO_BIN_EXE_cas-server"),
        ]);
        shell.stdout(Stdio::piped()).stderr(Stdio::null()).env("ISOSWARM_LOG", "off");
        Self::start_by(shell, data)
    }

    pub(crate) fn start_by(mut command: Command, data: &Path) -> Self {
        let mut child = command.arg("--listen=127.0.0.1:0").arg("--data").arg(data).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url =
            line.trim().strip_prefix("cas-server listening on ").expect("the line of a server that is ready");
        Self { url: url.to_owned(), child, _stdout: stdout }
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.url.split_once("://").unwrap().1.parse().unwrap()
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Asks it to end, and waits. Gives the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    pub(crate) fn store(&self) -> RemoteStore {
        RemoteStore::new(runtime::connect::channel(&self.url, None).unwrap(), "")
    }

    pub(crate) fn pins(&self) -> PinsClient<Channel> {
        PinsClient::new(runtime::connect::channel(&self.url, None).unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cas-server"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).env("ISOSWARM_LOG", "off");
    command
}
