//! The same suite for each driver, with its real runner: eleven tests, of which five do as their names say.

use runtime::testing::package;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use swarm_cli::model::Driver::{self, Bazel, Ctest, Gtest, Libtest, Opaque, Pytest};
use tests::{Finished, System};
use tokio::process::Command;

/// An installation or a compiler on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What there is to name.
pub(crate) const TESTS: [&str; 11] = [
    "steady0", "steady1", "steady2", "steady3", "steady4", "steady5", "fails", "aborts", "exits", "hangs",
    "waits",
];

/// What shares the suite out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite(pub(crate) Driver);

impl Suite {
    /// How the driver names one of [`TESTS`].
    pub(crate) fn id(self, position: usize) -> String {
        let name = TESTS[position];
        match self.0 {
            Gtest => format!("Suite.{name}"),
            Libtest | Ctest => name.to_owned(),
            Pytest => match name.strip_prefix("steady") {
                Some(number) => format!("test_suite.py::test_steady[{number}]"),
                None => format!("test_suite.py::test_{name}"),
            },
            Bazel | Opaque => format!("{position}/{}", TESTS.len()),
        }
    }

    /// Those that share the suite out among the bots of a system.
    pub(crate) fn flags(self) -> Vec<String> {
        let mut flags = vec!["--driver".to_owned(), self.0.name().to_owned()];
        if !self.0.lists_tests() {
            flags.extend(["--partitions".to_owned(), TESTS.len().to_string()]);
        }
        flags
    }

    /// Builds the suite and archives it; its digest.
    pub(crate) async fn archived(self, system: &System) -> String {
        let root = system.path().join("suite");
        fs::create_dir(&root).unwrap();
        let here = package().join("tests/faults");
        let copy = |name: &str| assert!(fs::copy(here.join(name), root.join(name)).unwrap() > 0);
        let words: Vec<String> = match self.0 {
            Gtest => {
                let remedy =
                    "install GoogleTest, on Debian and Ubuntu with: sudo apt-get install g++ libgtest-dev";
                let more = ["-O0", "-std=c++17", "-lgtest", "-lgtest_main", "-pthread"];
                compiled("c++", &here.join("suite.cc"), &root, &more, remedy).await;
                vec!["./suite".into()]
            }
            Libtest => {
                let remedy = "install Rust with rustup (https://rustup.rs)";
                compiled("rustc", &here.join("suite.rs"), &root, &["--test", "--edition=2021"], remedy).await;
                vec!["./suite".into()]
            }
            Pytest => {
                copy("test_suite.py");
                let python = environment().await.join("bin/python");
                let words = [python.to_str().unwrap(), "-m", "pytest", "-p", "no:cacheprovider"];
                words.map(str::to_owned).into()
            }
            Ctest => {
                copy("part.sh");
                let test = |name: &&str| format!("add_test({name} \"sh\" \"part.sh\" \"{name}\")\n");
                fs::write(root.join("CTestTestfile.cmake"), TESTS.iter().map(test).collect::<String>())
                    .unwrap();
                vec!["ctest".into()]
            }
            Bazel | Opaque => {
                copy("part.sh");
                vec!["./part.sh".into()]
            }
        };
        let mut command = system.command("isolate");
        command.args(["archive", "--root"]).arg(&root).args(["./", "--"]).args(words);
        let archived = Finished::of(&mut command).await.expect(0);
        archived.stdout.split_whitespace().next().unwrap().to_owned()
    }
}

async fn compiled(compiler: &str, source: &Path, root: &Path, arguments: &[&str], remedy: &str) {
    let mut command = Command::new(compiler);
    command.arg("-o").arg(root.join("suite")).arg(source).args(arguments);
    let built = Finished::within(PATIENCE, &mut command).await;
    assert_eq!(built.code, 0, "{}\n{remedy}", built.stderr);
}

/// With pytest in it.
async fn environment() -> PathBuf {
    let mut setup = Command::new(package().join("setup/suites"));
    Finished::within(PATIENCE, setup.arg("pytest")).await.expect(0).stdout.trim_end().into()
}
