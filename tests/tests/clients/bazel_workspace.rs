//! A workspace of Bazel's that needs no network.

use crate::support::{client, finished};
use regex::Regex;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tempfile::TempDir;
use tests::Finished;
use tokio::process::Command;

/// The rules that a build runs; a test in two shards comes on top.
pub(crate) const ACTIONS: u64 = 13;

/// A workspace with its own Bazel, which is shut down when this is dropped.
pub(crate) struct Bazel {
    program: PathBuf,
    dir: TempDir,
}

/// What a build came to.
#[derive(Debug)]
pub(crate) struct Built {
    /// Actions that the cache had.
    pub(crate) hits: u64,
    /// Actions that ran here.
    pub(crate) ran: u64,
    /// All that was said.
    pub(crate) said: String,
}

impl Bazel {
    /// With twelve rules of which each sleeps for `pause` and writes `bytes`, and one that reads what all have written.
    pub(crate) async fn new(pause: &str, bytes: u32) -> Self {
        let dir = TempDir::with_prefix("isoswarm-bazel-").unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for stub in ["rules_cc", "rules_proto", "coverage"] {
            write(&format!("{stub}/WORKSPACE"), &format!("workspace(name = '{stub}')\n"));
            write(&format!("{stub}/BUILD"), "");
        }
        write("rules_cc/cc/BUILD", "");
        write("rules_cc/cc/defs.bzl", RULES_CC);
        write("coverage/BUILD", COVERAGE);
        write("workspace/WORKSPACE", "");
        let build = BUILD.replace("PAUSE", pause).replace("BYTES", &bytes.to_string());
        write("workspace/BUILD", &build);
        // So that no other workspace ever had these actions.
        write("workspace/in.txt", &format!("{}\n", dir.path().display()));
        write("bazelrc", &RC.replace("DIR", dir.path().to_str().unwrap()));
        let bazel = Self { program: client("bazel").await, dir };
        bazel.write("check.sh", "#!/bin/sh\ntouch \"$TEST_SHARD_STATUS_FILE\"\ntest -s sum.txt\n");
        bazel
    }

    /// Adds a file to the workspace; what begins as a script is one.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.workspace().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        if text.starts_with("#!") {
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(path, executable).unwrap();
        }
    }

    /// Where Bazel puts what it built.
    pub(crate) fn outputs(&self) -> PathBuf {
        self.workspace().join("bazel-bin")
    }

    fn args(&self) -> Vec<String> {
        let dir = self.dir.path().display();
        vec![
            "--nosystem_rc".into(),
            "--nohome_rc".into(),
            "--noworkspace_rc".into(),
            format!("--bazelrc={dir}/bazelrc"),
            format!("--output_user_root={dir}/root"),
        ]
    }

    fn workspace(&self) -> PathBuf {
        self.dir.path().join("workspace")
    }

    /// An output, if it is here.
    pub(crate) fn output(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.outputs().join(name)).ok()
    }

    /// Runs a command of Bazel's.
    pub(crate) async fn run(&self, args: &[&str]) -> Finished {
        let mut command = Command::new(&self.program);
        command.args(self.args()).args(args).current_dir(self.workspace()).env("HOME", self.dir.path());
        finished(&mut command).await
    }

    /// Builds or tests with a cache.
    pub(crate) async fn with(&self, cache: &str, args: &[&str]) -> Built {
        let cache = format!("--remote_cache={cache}");
        let finished = self.run(&[args, &[cache.as_str()]].concat()).await.expect(0);
        let said = format!("{}{}", finished.stdout, finished.stderr);
        let number = |pattern: &str| -> u64 {
            let found = Regex::new(pattern).unwrap();
            found.captures_iter(&said).map(|found| found[1].parse::<u64>().unwrap()).sum()
        };
        let (hits, ran) = (number(r"(\d+) remote cache hit"), number(r"(\d+) local\b"));
        Built { hits, ran, said }
    }

    /// Forgets all outputs.
    pub(crate) async fn clean(&self) {
        self.run(&["clean"]).await.expect(0);
    }
}

impl Drop for Bazel {
    fn drop(&mut self) {
        let mut command = std::process::Command::new(&self.program);
        command.args(self.args()).arg("shutdown").current_dir(self.workspace()).env("HOME", self.dir.path());
        // A test that failed before must say why it did, and not why this does.
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        make_removable(&self.dir.path().join("root"));
    }
}

/// Bazel writes directories that it cannot remove itself.
fn make_removable(root: &Path) {
    // What is left over lies in a temporary directory.
    let _ = std::process::Command::new("chmod").args(["-R", "u+w"]).arg(root).stderr(Stdio::null()).status();
}

const RC: &str = "\
startup --install_base=/usr/share/bazel
startup --trust_install_base
startup --host_jvm_args=-Xmx512m
startup --max_idle_secs=60
common --override_repository=rules_cc=DIR/rules_cc
common --override_repository=rules_java=/usr/share/bazel/rules/java
common --override_repository=rules_proto=DIR/rules_proto
common --override_repository=remote_coverage_tools=DIR/coverage
common --color=no
common --curses=no
common --noshow_progress
build --javabase=@local_jdk//:jdk
build --host_javabase=@local_jdk//:jdk
build --spawn_strategy=local
build --jobs=4
";

const RULES_CC: &str = "\
cc_binary = native.cc_binary
cc_library = native.cc_library
cc_test = native.cc_test
cc_import = native.cc_import
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
";

const COVERAGE: &str = "\
filegroup(name = 'coverage_report_generator', visibility = ['//visibility:public'])
filegroup(name = 'lcov_merger', visibility = ['//visibility:public'])
";

const BUILD: &str = "\
[genrule(
    name = 'gen_%d' % i,
    srcs = ['in.txt'],
    outs = ['gen_%d.txt' % i],
    cmd = 'sleep PAUSE; (echo %d; cat $<; head -c BYTES /dev/zero | tr -c x x) > $@' % i,
) for i in range(12)]

genrule(
    name = 'sum',
    srcs = [':gen_%d' % i for i in range(12)],
    outs = ['sum.txt'],
    cmd = 'cat $(SRCS) | sha256sum > $@',
)

sh_test(name = 'check', srcs = ['check.sh'], data = [':sum'], shard_count = 2)
";
