//! The scheduler as a process of its own, and what users ask of it.

use proto::v1::{self, swarm_client::SwarmClient};
use runtime::testing::Postgres;
use std::{ffi::OsStr, fs, time::Duration};
use tempfile::TempDir;
use tests::{Program, binary};
use tonic::transport::{Channel, Endpoint};

/// A scheduler on a free port of loopback, over a directory of its own. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    program: Program,
    dir: TempDir,
    /// What its journal is in, when that is not a directory. Stopped after it.
    database: Option<Postgres>,
}

impl Server {
    /// In a new directory.
    pub(crate) async fn start() -> Self {
        // What was written before is not waited for by what is measured.
        rustix::fs::sync();
        Self::over(TempDir::with_prefix("isoswarm-bench-").unwrap(), None).await
    }

    /// With its journal in a PostgreSQL server of its own.
    pub(crate) async fn start_over_postgres() -> Self {
        let database = tokio::task::spawn_blocking(Postgres::start_large).await.unwrap();
        rustix::fs::sync();
        Self::over(TempDir::with_prefix("isoswarm-bench-").unwrap(), Some(database)).await
    }

    async fn over(dir: TempDir, database: Option<Postgres>) -> Self {
        let data = dir.path().join("journal");
        let args = ["--listen".as_ref(), "127.0.0.1:0".as_ref(), "--data".as_ref(), data.as_os_str()];
        let journal = database.iter().flat_map(|database| ["--journal".into(), database.url().into()]);
        let args = args.into_iter().map(OsStr::to_owned).chain(journal);
        let program = Program::start_at(&binary("scheduler"), args).await;
        Self { program, dir, database }
    }

    /// Killed, and started again over the same journal.
    pub(crate) async fn restart(self) -> Self {
        self.program.kill().await;
        Self::over(self.dir, self.database).await
    }

    /// Where bots connect.
    pub(crate) fn url(&self) -> &str {
        self.program.url()
    }

    /// A user's connection.
    pub(crate) fn client(&self) -> SwarmClient<Channel> {
        SwarmClient::new(channel(self.url())).max_decoding_message_size(usize::MAX)
    }

    /// Triggers a run; its id.
    pub(crate) async fn trigger(&self, request: &str, run: v1::RunSpec) -> String {
        let request = v1::TriggerRequest { request_id: request.into(), run: Some(run), ..Default::default() };
        self.client().trigger(request).await.unwrap().into_inner().run_id
    }

    /// The most memory that it ever had, in MiB.
    pub(crate) fn peak_memory(&self) -> f64 {
        let pid = self.program.pid().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

/// A run of one step.
pub(crate) fn run(shards: u32) -> v1::RunSpec {
    let input = proto::DigestFunction::Blake3.digest(b"manifest");
    let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: shards });
    let day = prost_types::Duration { seconds: 24 * 3600, nanos: 0 };
    let step = v1::StepSpec {
        name: "step".into(),
        input: Some(input.into()),
        command: vec!["./test".into()],
        expiration: Some(day),
        wait_for_capacity: true,
        fan_out: Some(v1::FanOut { policy: Some(policy) }),
        ..Default::default()
    };
    v1::RunSpec { name: "bench".into(), user: "bench".into(), steps: vec![step], ..Default::default() }
}

/// The run, for bots with this dimension.
pub(crate) fn requiring(key: &str, value: &str, mut run: v1::RunSpec) -> v1::RunSpec {
    let requirement = v1::Requirement { key: key.into(), any_of: vec![value.into()] };
    run.steps.iter_mut().for_each(|step| step.requirements.push(requirement.clone()));
    run
}

/// A connection of its own, made when it is first used. Without pings: a machine that is full of bots is slow here, and
/// nobody is dead.
pub(crate) fn channel(url: &str) -> Channel {
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
    endpoint.tcp_nodelay(true).connect_timeout(Duration::from_secs(60)).connect_lazy()
}
