//! What a Python interpreter tells about itself.

use super::PackError;
use crate::{Error, process::interruptible};
use runtime::Shutdown;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// Prints where things are, resolved as far as they may be links.
const QUESTION: &str = r#"
import json, os, platform, sys, sysconfig
base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix}
real = os.path.realpath
print(json.dumps({
    "version": platform.python_version(),
    "executable": real(sys._base_executable),
    "base_prefix": real(sys.base_prefix),
    "standard": [real(os.path.dirname(os.__file__)), real(sysconfig.get_path("platstdlib", vars=base))],
    "packages": [real(sysconfig.get_path(name)) for name in ("purelib", "platlib")],
}))
"#;

/// The interpreter behind a virtual environment.
#[derive(Debug, Deserialize)]
pub(super) struct Interpreter {
    pub(super) version: String,
    pub(super) executable: PathBuf,
    pub(super) base_prefix: PathBuf,
    standard: BTreeSet<PathBuf>,
    packages: BTreeSet<PathBuf>,
}

impl Interpreter {
    /// Asks the one of this environment.
    pub(super) async fn of(venv: &Path, shutdown: &Shutdown) -> Result<Self, Error> {
        let config = fs::read_to_string(venv.join("pyvenv.cfg")).map_err(|_| PackError::Unfit {
            path: venv.to_owned(),
            reason: "is no virtual environment: make one, `python3 -m venv .venv`, and install what the suite needs",
        })?;
        let shares = |line: &str| {
            let pair = line.split_once('=');
            pair.is_some_and(|(key, value)| {
                key.trim() == "include-system-site-packages" && value.trim().eq_ignore_ascii_case("true")
            })
        };
        if config.lines().any(shares) {
            let reason =
                "uses packages of the system: make it without --system-site-packages, and install them in it";
            return Err(PackError::Unfit { path: venv.to_owned(), reason }.into());
        }
        let python = venv.join("bin/python");
        let mut command = Command::new(&python);
        command.args(["-I", "-c", QUESTION]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        let run = async { command.output().await.map_err(|error| PackError::io(&python, error)) };
        let output = interruptible(shutdown, run).await?;
        let command = format!("{} -I -c ...", python.display());
        if !output.status.success() {
            return Err(PackError::Failed { command }.into());
        }
        Ok(serde_json::from_slice(&output.stdout).map_err(|source| PackError::Answer { command, source })?)
    }

    /// The directories of the standard library; of one within another only the outer one.
    pub(super) fn standard_library(&self) -> impl Iterator<Item = &Path> {
        outermost(&self.standard)
    }

    /// The directories of what is installed in the environment.
    pub(super) fn packages(&self) -> impl Iterator<Item = &Path> {
        outermost(&self.packages).filter(|dir| dir.is_dir())
    }
}

fn outermost(dirs: &BTreeSet<PathBuf>) -> impl Iterator<Item = &Path> {
    let is_inner = |dir: &&PathBuf| dirs.iter().any(|other| other != *dir && dir.starts_with(other));
    dirs.iter().filter(move |dir| !is_inner(dir)).map(PathBuf::as_path)
}
