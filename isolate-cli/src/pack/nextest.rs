//! What cargo-nextest and Cargo tell about a workspace. The only place that knows their JSON.

use super::PackError;
use crate::{Error, process::interruptible};
use runtime::Shutdown;
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    env, io,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// The program.
#[derive(Debug)]
pub(super) struct Nextest {
    pub(super) path: PathBuf,
}

/// An answer, as it came and as it is understood.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) text: Vec<u8>,
    pub(super) content: T,
}

/// What `cargo nextest list --list-type binaries-only` tells.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    #[serde(rename = "rust-build-meta")]
    pub(super) build: Build,
    /// Programs with tests, by the names that nextest gives them.
    #[serde(rename = "rust-binaries")]
    pub(super) binaries: BTreeMap<String, Binary>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Build {
    pub(super) target_directory: PathBuf,
    build_directory: Option<PathBuf>,
    /// From the target directory.
    pub(super) base_output_directories: Vec<PathBuf>,
    /// By package.
    pub(super) non_test_binaries: BTreeMap<String, Vec<Built>>,
    /// By package, from the build directory.
    #[serde(default)]
    pub(super) build_script_out_dirs: BTreeMap<String, PathBuf>,
    /// From the build directory.
    pub(super) linked_paths: Vec<PathBuf>,
    #[serde(default)]
    platforms: serde_json::Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct Built {
    pub(super) name: String,
    /// From the target directory.
    pub(super) path: PathBuf,
}

#[derive(Debug, Deserialize)]
pub(super) struct Binary {
    #[serde(rename = "package-id")]
    pub(super) package_id: String,
    #[serde(rename = "binary-path")]
    pub(super) path: PathBuf,
}

impl Build {
    /// Where build scripts work and test programs are: Cargo's `build.build-dir`.
    pub(super) fn build_directory(&self) -> &Path {
        self.build_directory.as_deref().unwrap_or(&self.target_directory)
    }

    /// Where the toolchain has its own shared libraries: those of macros, and of crates built with `prefer-dynamic`.
    pub(super) fn toolchain_libraries(&self) -> Vec<PathBuf> {
        let host = self.platforms.get("host").into_iter();
        let targets = self.platforms.get("targets").and_then(serde_json::Value::as_array);
        let all = host.chain(targets.into_iter().flatten());
        all.filter_map(|platform| platform.pointer("/libdir/path")?.as_str()).map(PathBuf::from).collect()
    }
}

/// What `cargo metadata` tells.
#[derive(Debug, Deserialize)]
pub(super) struct Packages {
    pub(super) workspace_root: PathBuf,
    workspace_members: Vec<String>,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    manifest_path: PathBuf,
}

impl Packages {
    /// The directories of the workspace's packages, by their ids.
    pub(super) fn members(&self) -> BTreeMap<&str, &Path> {
        let members = self.packages.iter().filter(|package| self.workspace_members.contains(&package.id));
        members.filter_map(|package| Some((&*package.id, package.manifest_path.parent()?))).collect()
    }
}

impl Nextest {
    /// Looks where Cargo looks for its subcommands, then in `PATH`.
    pub(super) fn find() -> Result<Self, PackError> {
        let home = |name: &str| env::var_os(name).map(PathBuf::from);
        let cargo = home("CARGO_HOME").or_else(|| Some(home("HOME")?.join(".cargo")));
        let path = env::var_os("PATH").unwrap_or_default();
        let dirs = cargo.map(|home| home.join("bin")).into_iter().chain(env::split_paths(&path));
        let mut programs = dirs.map(|dir| dir.join("cargo-nextest")).filter(|program| program.is_file());
        let remedy = "install it with `cargo install cargo-nextest`, it also runs the tests elsewhere";
        let path = programs.next().ok_or(PackError::NoProgram { program: "cargo-nextest", remedy })?;
        Ok(Self { path })
    }

    /// Builds the tests in `dir` and lists the programs.
    pub(super) async fn list(
        &self,
        dir: &Path,
        args: &[String],
        shutdown: &Shutdown,
    ) -> Result<Answer<Listing>, Error> {
        let mut command = Command::new(&self.path);
        command.args(["nextest", "list", "--list-type", "binaries-only", "--message-format", "json"]);
        answer(command.args(args), dir, "cargo nextest list", shutdown).await
    }

    /// Lists the packages in `dir`, as nextest wants to know them.
    pub(super) async fn packages(&self, dir: &Path, shutdown: &Shutdown) -> Result<Answer<Packages>, Error> {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args(["metadata", "--format-version", "1", "--all-features"]);
        answer(&mut command, dir, "cargo metadata", shutdown).await
    }
}

async fn answer<T: DeserializeOwned>(
    command: &mut Command,
    dir: &Path,
    name: &str,
    shutdown: &Shutdown,
) -> Result<Answer<T>, Error> {
    command.current_dir(dir).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let run = async {
        command.output().await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PackError::NoProgram { program: "cargo", remedy: "install Rust" },
            _ => PackError::io(Path::new(name), error),
        })
    };
    let output = interruptible(shutdown, run).await?;
    if !output.status.success() {
        return Err(PackError::Failed { command: name.to_owned() }.into());
    }
    let content = serde_json::from_slice(&output.stdout)
        .map_err(|source| PackError::Answer { command: name.to_owned(), source })?;
    Ok(Answer { text: output.stdout, content })
}
