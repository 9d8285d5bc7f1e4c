//! A queue in PostgreSQL as people write it: one table, `FOR UPDATE SKIP LOCKED`, one statement that completes a job and
//! takes the next. pgbench drives it, with prepared statements over TCP; a commit is durable when it is answered.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Where Debian puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

const TABLE: &str = "
    CREATE TABLE job (id bigint PRIMARY KEY, priority smallint NOT NULL, state smallint NOT NULL DEFAULT 0,
                      worker int, leased timestamptz, ended timestamptz, exit_code int, payload text NOT NULL)
                      WITH (fillfactor = 70);
    CREATE INDEX pending ON job (priority, id) WHERE state = 0;
    INSERT INTO job (id, priority, payload) SELECT n, 100, repeat('x', 100) FROM generate_series(1, :jobs) n;
    VACUUM ANALYZE job;
";

const CYCLE: &str = "WITH done AS \
    (UPDATE job SET state = 2, ended = now(), exit_code = 0 WHERE id = :id AND worker = :client_id AND state = 1) \
    UPDATE job SET state = 1, worker = :client_id, leased = now() WHERE id = \
    (SELECT id FROM job WHERE state = 0 ORDER BY priority, id FOR UPDATE SKIP LOCKED LIMIT 1) \
    RETURNING id, payload \\gset\n";

/// A cluster with nothing else in it. Stopped when dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    programs: PathBuf,
    dir: TempDir,
    port: String,
}

impl Cluster {
    /// Fails with what is to be installed when there is no PostgreSQL.
    pub(crate) fn start() -> Self {
        let newest = fs::read_dir(VERSIONS).into_iter().flatten().flatten().map(|entry| entry.path()).max();
        let programs = newest.map(|version| version.join("bin")).unwrap_or_default();
        assert!(programs.join("pgbench").exists(), "install PostgreSQL: apt-get install postgresql");
        // Free a moment ago; nobody else takes ports of loopback in between.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        drop(listener);
        let dir = TempDir::with_prefix("isoswarm-bench-").unwrap();
        let cluster = Self { programs, dir, port };
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg("postgres").arg(cluster.dir.path()));
        }
        let data = cluster.data();
        run(cluster.command("initdb").args(["-A", "trust", "-U", "postgres", "-D"]).arg(&data));
        // Memory as one would give it; what is durable, and when, is left as it comes.
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} -c max_connections=600 \
             -c shared_buffers=512MB -c max_wal_size=8GB",
            cluster.port,
            cluster.dir.path().display()
        );
        let log = cluster.dir.path().join("log");
        run(cluster
            .command("pg_ctl")
            .args(["start", "-w", "-o", &options, "-l"])
            .arg(log)
            .arg("-D")
            .arg(data));
        cluster
    }

    /// Cycles a second of so many workers for so many seconds, and the mean time of one in milliseconds.
    pub(crate) fn race(&self, workers: usize, seconds: u64, jobs: usize) -> f64 {
        let (table, cycle) = (self.dir.path().join("table.sql"), self.dir.path().join("cycle.sql"));
        fs::write(&table, TABLE).unwrap();
        fs::write(&cycle, CYCLE).unwrap();
        let connection = ["-h", "127.0.0.1", "-p", &self.port, "-U", "postgres"];
        let jobs = format!("jobs={jobs}");
        run(self
            .command("psql")
            .args(connection)
            .args(["-q", "-v", "ON_ERROR_STOP=1", "-v", &jobs, "-f"])
            .arg(table));
        let (workers, seconds) = (workers.to_string(), seconds.to_string());
        let flags = ["-n", "-M", "prepared", "-D", "id=0", "-j", "2", "-c", &workers, "-T", &seconds, "-f"];
        let said = run(self.command("pgbench").args(connection).args(flags).arg(cycle).arg("postgres"));
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
        rate.unwrap().parse().unwrap()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// PostgreSQL does not run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(Path::new("/"));
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stop = ["stop", "-m", "immediate", "-w", "-D"];
        drop(self.command("pg_ctl").args(stop).arg(self.data()).output());
    }
}

/// What it says; fails with that when it fails.
fn run(command: &mut Command) -> String {
    // The server goes on in the background: it must not keep a pipe of ours open.
    let said = tempfile::tempfile().unwrap();
    let status =
        command.stdout(said.try_clone().unwrap()).stderr(said.try_clone().unwrap()).status().unwrap();
    let mut text = String::new();
    std::io::Seek::rewind(&mut &said).unwrap();
    std::io::Read::read_to_string(&mut &said, &mut text).unwrap();
    assert!(status.success(), "{command:?}: {text}");
    text
}
