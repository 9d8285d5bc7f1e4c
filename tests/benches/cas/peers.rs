//! Servers as processes of their own, each on a free port of loopback and in a directory that goes with it.

use proto::bytestream::byte_stream_client::ByteStreamClient;
use proto::limits::MAX_MESSAGE_BYTES;
use proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use runtime::{Clock as _, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tests::binary;
use tonic::transport::{Channel, Endpoint};

/// A server gets this long to come up or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where `tests/setup/peers` has put the programs of others.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    dir: PathBuf,
}

impl Peers {
    /// Runs the set-up, which does nothing the second time. What it says on standard error is for the user.
    pub(crate) fn set_up() -> Self {
        let script = runtime::testing::package().join("setup/peers");
        let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        let dir = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { dir: PathBuf::from(dir) }
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        Some(self.dir.join(name)).filter(|path| path.is_file())
    }

    /// buildbox-casd with a quota that nothing here reaches.
    pub(crate) async fn casd(&self) -> Option<Server> {
        let program = self.program("buildbox-casd")?;
        let dir = temporary();
        let args = |address: SocketAddr, dir: &Path| {
            let path = dir.join("casd").display().to_string();
            vec![format!("--bind={address}"), "--quota-high=40G".into(), "--log-level=error".into(), path]
        };
        Some(Server::start(program, dir, args).await)
    }

    /// nginx that serves the files below `dir`.
    pub(crate) async fn nginx(&self, dir: TempDir) -> Option<Server> {
        let program = self.program("nginx")?;
        let args = |address: SocketAddr, dir: &Path| {
            let root = dir.display();
            let config = format!(
                "daemon off; master_process on; worker_processes 2; pid {root}/pid; error_log {root}/errors; user root;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;\n\
                 client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;\n\
                 uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;\n\
                 server {{ listen {address}; root {root}; }} }}\n"
            );
            let path = dir.join("nginx.conf");
            fs::write(&path, config).unwrap();
            vec!["-c".into(), path.display().to_string(), "-e".into(), format!("{root}/errors")]
        };
        Some(Server::start(program, dir, args).await)
    }
}

/// A directory on the disk that is measured.
pub(crate) fn temporary() -> TempDir {
    TempDir::with_prefix("isoswarm-bench-").unwrap()
}

/// A server that runs; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    child: Child,
    dir: Option<TempDir>,
    /// From the start of the process to the first connection.
    pub(crate) started_in: Duration,
}

impl Server {
    /// Our server in a new directory.
    pub(crate) async fn ours(args: &[&str]) -> Self {
        Self::ours_in(temporary(), args).await
    }

    /// Our server over what is in `dir`.
    pub(crate) async fn ours_in(dir: TempDir, args: &[&str]) -> Self {
        let args = |address: SocketAddr, dir: &Path| {
            let data = dir.join("data").display().to_string();
            let own = ["--listen".into(), address.to_string(), "--data".into(), data];
            own.into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect()
        };
        Self::start(binary("cas-server"), dir, args).await
    }

    /// This very program once more, as a server without a store: see [`super::hollow`].
    pub(crate) async fn hollow(kind: &str) -> Self {
        let args = |address: SocketAddr, _: &Path| vec![format!("--{kind}"), address.to_string()];
        Self::start(std::env::current_exe().unwrap(), temporary(), args).await
    }

    async fn start(
        program: PathBuf,
        dir: TempDir,
        args: impl FnOnce(SocketAddr, &Path) -> Vec<String>,
    ) -> Self {
        // Free a moment ago; nobody else takes ports of loopback in between.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let args = args(address, dir.path());
        let clock = SystemClock::new();
        let start = clock.elapsed();
        let mut child = Command::new(&program)
            .args(args)
            .env("ISOSWARM_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = child.try_wait().unwrap() {
                let said = fs::read_to_string(dir.path().join("stderr")).unwrap();
                panic!("{} ended with {status}: {said}", program.display());
            }
            assert!(clock.elapsed() - start < PATIENCE, "{} does not come up", program.display());
            clock.sleep(Duration::from_millis(1)).await;
        }
        let started_in = clock.elapsed() - start;
        Self { address, child, dir: Some(dir), started_in }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of a line of `/proc/PID/status` in bytes: `VmRSS`, `VmHWM`.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|status| status.strip_prefix(line)?.strip_prefix(':'));
        value.unwrap().trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Processor time that it has used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Behind the name, which may have spaces, the 12th and 13th: in its own code and in the kernel, in 100ths of a second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Connections for so many calls at a time: as many as there are calls, up to eight.
    pub(crate) fn connect(&self, concurrency: usize) -> Clients {
        // No pings: a server that is busy for long is slow here, and not dead.
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let endpoint = endpoint
            .tcp_nodelay(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        Clients((0..concurrency.min(8)).map(|_| endpoint.connect_lazy()).collect())
    }

    /// Stops it as a service manager would, and gives its directory.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.terminate();
        let clock = SystemClock::new();
        let start = clock.elapsed();
        while self.child.try_wait().unwrap().is_none() {
            assert!(clock.elapsed() - start < PATIENCE, "a server does not stop");
            clock.sleep(Duration::from_millis(5)).await;
        }
        self.dir.take().unwrap()
    }

    fn terminate(&self) {
        // One that has ended already is as good.
        let _ = kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), Signal::TERM);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // A server with children of its own, nginx, takes them along only if it is asked.
        self.terminate();
        let clock = SystemClock::new();
        let start = clock.elapsed();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if clock.elapsed() - start > Duration::from_secs(10) {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// Connections to one server.
#[derive(Clone, Debug)]
pub(crate) struct Clients(Vec<Channel>);

impl Clients {
    /// For the calls of this worker.
    pub(crate) fn cas(&self, worker: usize) -> ContentAddressableStorageClient<Channel> {
        ContentAddressableStorageClient::new(self.channel(worker))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// For the streams of this worker.
    pub(crate) fn streams(&self, worker: usize) -> ByteStreamClient<Channel> {
        ByteStreamClient::new(self.channel(worker)).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// For any other service.
    pub(crate) fn channel(&self, worker: usize) -> Channel {
        self.0[worker % self.0.len()].clone()
    }
}
