//! A PostgreSQL server of a test's own, or of a bench's.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Where Debian and Ubuntu have the server's programs, which they leave out of the search path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A cluster in a temporary directory, reached over a socket in it; stopped and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    /// Of loopback.
    port: Option<u16>,
    settings: Vec<String>,
    server: Option<Child>,
}

impl Postgres {
    /// Makes a cluster and starts its server. What it tells to be durable outlasts its processes, not the machine.
    pub fn start() -> Self {
        let mut postgres = Self::create();
        for setting in ["shared_buffers=16MB", "fsync=off"] {
            postgres.set(setting);
        }
        postgres.restart();
        postgres
    }

    /// The same on a port of loopback, too, with as much as somebody would give it who wants it to be fast. What is
    /// durable, and when, is left as it comes.
    pub fn start_large() -> Self {
        let mut postgres = Self::create();
        for setting in ["shared_buffers=512MB", "max_wal_size=8GB", "max_connections=600"] {
            postgres.set(setting);
        }
        postgres.listen();
        postgres.restart();
        postgres
    }

    /// The same on a port of loopback, too, where it speaks TLS with this certificate and key (PEM).
    pub fn start_with_tls(cert: &Path, key: &Path) -> Self {
        let mut postgres = Self::create();
        for (from, name) in [(cert, "server.crt"), (key, "server.key")] {
            let file = postgres.dir.path().join("data").join(name);
            fs::copy(from, &file).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            give(&file);
        }
        postgres.set("ssl=on");
        postgres.listen();
        postgres.restart();
        postgres
    }

    fn create() -> Self {
        let dir = TempDir::with_prefix("isoswarm-pg-").unwrap();
        give(dir.path());
        let made = program("initdb")
            .args(["--auth=trust", "--username=isoswarm", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .arg("--pgdata")
            .arg(dir.path().join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = ["log_min_messages=log", "lc_messages=C"].map(str::to_owned).into();
        Self { dir, port: None, settings, server: None }
    }

    fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    fn listen(&mut self) {
        // Free a moment ago; nobody else takes ports of loopback in between.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        self.port = Some(free.port());
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        let port = self.port.map(|port| format!("&port={port}")).unwrap_or_default();
        format!("postgres:///postgres?user=isoswarm&host={}{port}", self.dir.path().display())
    }

    /// The same over loopback, with TLS or not at all.
    pub fn tls_url(&self) -> String {
        let port = self.port.expect("it was started with TLS");
        format!("postgres://isoswarm@127.0.0.1:{port}/postgres?sslmode=require")
    }

    /// One of PostgreSQL's programs, about to connect to its database over loopback.
    pub fn client(&self, name: &str) -> Command {
        let port = self.port.expect("it listens on loopback");
        let mut client = program(name);
        // What names the database differs from program to program.
        client.env("PGDATABASE", "postgres");
        client.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "isoswarm"]);
        client
    }

    /// Its directory: programs of [`Self::client`] read what is put there.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Everything of it ends at once, without writing anything.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            // QUIT: the first process kills the others before it ends itself.
            let _ = Command::new("kill").args(["-QUIT", &server.id().to_string()]).status();
            let _ = server.wait();
        }
    }

    /// Kills it if it runs, and starts it on what is on disk.
    pub fn restart(&mut self) {
        self.kill();
        let mut server = program("postgres");
        server.arg("-D").arg(self.dir.path().join("data")).arg("-k").arg(self.dir.path());
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        match self.port {
            None => server.args(["-c", "listen_addresses="]),
            Some(port) => server.args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string()]),
        };
        let mut server = server.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("ready to accept connections") {
            let read = log.read_line(&mut said).unwrap();
            assert!(read > 0, "the server ended before it was ready: {said}");
        }
        self.server = Some(server);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One of the server's programs, as a user that it accepts: it refuses to run as root.
fn program(name: &str) -> Command {
    let path = find(name).unwrap_or_else(|| {
        panic!("`{name}` of PostgreSQL is not there: install it, on Debian and Ubuntu with: sudo apt-get install postgresql")
    });
    let user = user();
    let mut command = if user == own_user() {
        Command::new(path)
    } else {
        let group = said(Command::new("id").args(["-g", &user]));
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={group}"))
            .arg("--clear-groups")
            .arg(path);
        command
    };
    // The directory of the tests may be closed to that user.
    command.current_dir("/");
    command
}

/// Makes the server's user the owner.
fn give(path: &Path) {
    let given = Command::new("chown").arg(user()).arg(path).status();
    assert!(given.unwrap().success(), "{} can be given to the server", path.display());
}

fn user() -> String {
    let own = own_user();
    if own != "0" {
        return own;
    }
    ["postgres", "nobody"]
        .into_iter()
        .map(|name| said(Command::new("id").args(["-u", name])))
        .find(|id| !id.is_empty())
        .unwrap_or_else(|| panic!("there is a user `postgres` or `nobody`"))
}

fn own_user() -> String {
    said(Command::new("id").arg("-u"))
}

/// What a command has printed; nothing if it has failed.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> =
        fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    let directories = versions.into_iter().rev().chain(std::env::split_paths(&path));
    directories.map(|directory| directory.join(name)).find(|path| path.is_file())
}
