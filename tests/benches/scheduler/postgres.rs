//! A queue in PostgreSQL as people write it: one table, `FOR UPDATE SKIP LOCKED`, one statement that completes a job and
//! takes the next. pgbench drives it, with prepared statements over TCP; a commit is durable when it is answered.

use runtime::testing::Postgres;
use std::{fs, process::Command};

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

/// Cycles a second of so many workers for so many seconds, in a cluster with nothing else in it.
pub(crate) fn race(workers: usize, seconds: u64, jobs: usize) -> f64 {
    let postgres = Postgres::start_large();
    let (table, cycle) = (postgres.dir().join("table.sql"), postgres.dir().join("cycle.sql"));
    fs::write(&table, TABLE).unwrap();
    fs::write(&cycle, CYCLE).unwrap();
    let jobs = format!("jobs={jobs}");
    run(postgres.client("psql").args(["-q", "-v", "ON_ERROR_STOP=1", "-v", &jobs, "-f"]).arg(table));
    let (workers, seconds) = (workers.to_string(), seconds.to_string());
    let flags = ["-n", "-M", "prepared", "-D", "id=0", "-j", "2", "-c", &workers, "-T", &seconds, "-f"];
    let said = run(postgres.client("pgbench").args(flags).arg(cycle));
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
    rate.unwrap().parse().unwrap()
}

/// What it says; fails with that when it fails.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}
