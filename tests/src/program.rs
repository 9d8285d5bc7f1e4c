//! One of our programs as a real process.

use crate::{soon, wait::DEADLINE};
use runtime::{Clock as _, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// Where the build has put one of our programs.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let release = test.parent().and_then(|deps| deps.parent()).unwrap();
    let path = release.join(name);
    assert!(path.exists(), "{} is not built: run `make build` first", path.display());
    path
}

/// A server or bot that runs until it is stopped; killed when dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    /// Kept open, so that the program never writes into a closed pipe.
    stdout: Lines<BufReader<ChildStdout>>,
    ready: String,
}

impl Program {
    /// Starts one of our programs and waits for the line that says that it is ready.
    pub async fn start<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Self {
        Self::start_at(&binary(name), args).await
    }

    /// The same of any program that says so.
    pub async fn start_at<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> Self {
        let name = program.display();
        let mut child = spawn(program, args);
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = soon(&format!("{name} to be ready"), stdout.next_line()).await.unwrap();
        let ready = ready.unwrap_or_else(|| panic!("{name} ended before it was ready"));
        Self { name: name.to_string(), child, stdout, ready }
    }

    /// Starts it and kills it after `delay`, however far it has come.
    pub async fn start_and_kill<A: AsRef<OsStr>>(
        name: &str,
        args: impl IntoIterator<Item = A>,
        delay: Duration,
    ) {
        let mut child = spawn(&binary(name), args);
        SystemClock::new().sleep(delay).await;
        child.kill().await.unwrap();
    }

    /// The URL that it said it listens on.
    pub fn url(&self) -> &str {
        self.ready.rsplit_once(' ').filter(|(_, url)| url.starts_with("http")).map_or_else(
            || panic!("{} did not say where it listens: {:?}", self.name, self.ready),
            |(_, url)| url,
        )
    }

    /// `HOST:PORT` of the URL.
    pub fn address(&self) -> std::net::SocketAddr {
        self.url().rsplit('/').next().unwrap().parse().unwrap()
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        let id = self.child.id().unwrap_or_else(|| panic!("{} has ended", self.name));
        Pid::from_raw(id.cast_signed()).unwrap()
    }

    /// SIGSTOP: it does nothing until [`Self::resume`].
    pub fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// SIGKILL, at whatever instruction it is.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; its exit status once it has ended.
    pub async fn terminate(mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let status = soon(&format!("{} to stop", self.name), self.child.wait()).await.unwrap();
        drop(self.stdout);
        status
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

fn spawn<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> Child {
    Command::new(program)
        .args(args)
        .env("ISOSWARM_LOG", std::env::var("ISOSWARM_LOG").unwrap_or("warn".into()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
}

/// What a program that ran to its end said.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Finished {
    /// Runs a command to its end.
    pub async fn of(command: &mut Command) -> Self {
        Self::within(DEADLINE, command).await
    }

    /// Runs a command to its end; fails when that takes longer than `patience`.
    pub async fn within(patience: Duration, command: &mut Command) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(patience, output).await;
        let output = output.unwrap_or_else(|_| panic!("waited too long for {command:?}")).unwrap();
        let code = output.status.code().or_else(|| output.status.signal().map(|s| 128 + s)).unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Fails unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Command lines of the processes whose working directory is below `path`.
pub fn processes_below(path: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let below = processes.filter_map(|entry| {
        // Processes end while we look: those are not below anything any more.
        let cwd = std::fs::read_link(entry.path().join("cwd")).ok()?;
        let command = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        cwd.to_str()?.starts_with(path).then(|| command.replace('\0', " "))
    });
    below.collect()
}
