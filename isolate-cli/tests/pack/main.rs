//! `isolate pack`: recipes, on programs, workspaces and environments that are made here, run where nothing of them was.
#![expect(clippy::unwrap_used, reason = "tests may, also in their helpers")]

mod cargo;
mod elf;
mod python;

use std::{
    env,
    path::PathBuf,
    process::{Command, Output},
};

/// A directory to work in, with a cache of its own.
struct Bench {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl Bench {
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        Self { _dir: dir, root }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Without what Cargo and nextest tell the tests themselves.
    fn isolate_in(&self, dir: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isolate"));
        for (name, _) in env::vars() {
            let ours = ["CARGO_PKG", "CARGO_MANIFEST", "CARGO_TARGET", "NEXTEST", "LD_LIBRARY"];
            if ours.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.args(args).current_dir(self.path(dir)).env("XDG_CACHE_HOME", self.path(".cache"));
        command.output().unwrap()
    }

    fn isolate(&self, args: &[&str]) -> Output {
        self.isolate_in("", args)
    }

    /// The exit code, and what came on stderr.
    fn told(&self, args: &[&str]) -> (i32, String) {
        let output = self.isolate(args);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}
