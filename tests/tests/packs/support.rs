//! Suites as they are fetched, and what is done with each.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tests::{Finished, System};
use tokio::process::Command;

/// Long enough for an installation or a build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(540);

/// Runs a command to its end.
pub(crate) async fn finished(command: &mut Command) -> Finished {
    Finished::within(PATIENCE, command).await
}

/// A copy of a suite in the directory of this system, fetched first if need be.
pub(crate) async fn suite(name: &str, system: &System) -> PathBuf {
    let setup = runtime::testing::package().join("setup/suites");
    let fetched = finished(Command::new(setup).arg(name)).await.expect(0);
    let copy = system.path().join(name);
    finished(Command::new("cp").arg("-a").arg(fetched.stdout.trim_end()).arg(&copy)).await.expect(0);
    copy
}

/// `isolate` in a directory, in an environment that says nothing of the build that this test belongs to.
pub(crate) async fn isolate<A: AsRef<OsStr>>(
    system: &System,
    dir: &Path,
    args: impl IntoIterator<Item = A>,
) -> Finished {
    let mut command = system.command("isolate");
    for (name, _) in std::env::vars() {
        let ours = ["CARGO_PKG", "CARGO_MANIFEST", "CARGO_TARGET", "NEXTEST", "PYTHON", "RUSTFLAGS"];
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    finished(command.args(args).current_dir(dir)).await.expect(0)
}

/// Archives the description; its digest.
pub(crate) async fn archive(system: &System, dir: &Path, description: &str) -> String {
    let archived = isolate(system, dir, ["archive", "-i", description]).await;
    archived.stdout.split_whitespace().next().unwrap().to_owned()
}

/// What a run's merged report says of tests, and how many have failed.
pub(crate) struct Report {
    pub(crate) tests: usize,
    pub(crate) failed: usize,
    pub(crate) text: String,
}

/// Runs the suite by its digest; the merged report of all shards.
pub(crate) async fn run(system: &System, digest: &str, shards: u32) -> Report {
    run_with(system, digest, &["--shards", &shards.to_string()]).await
}

/// The same with these flags.
pub(crate) async fn run_with(system: &System, digest: &str, args: &[&str]) -> Report {
    let path = system.path().join("report.xml");
    let mut command = system.command("swarm");
    command.args(["run", digest, "--junit"]).arg(&path).args(args);
    let run = finished(&mut command).await.expect(0);
    let text = fs::read_to_string(path).unwrap();
    let tests = text.matches("<testcase ").count();
    let failed = text.matches("<failure").count() + text.matches("<error").count();
    assert!(tests > 0, "no tests in\n{text}\nafter\n{}", run.stderr);
    Report { tests, failed, text }
}
