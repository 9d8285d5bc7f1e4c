//! The programs of `cargo nextest list --message-format json --list-type binaries-only`, found in an input that has
//! parts of the building machine's tree: a path is looked for by ever shorter ends of it.

use crate::{
    drivers::{Base, DriverError},
    executor::Command,
};
use proto::RelPath;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// What is used of the list. Its format has no version; unknown fields are left alone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct List {
    rust_build_meta: Meta,
    rust_binaries: BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Meta {
    target_directory: PathBuf,
    #[serde(default)]
    base_output_directories: Vec<PathBuf>,
    #[serde(default)]
    build_script_out_dirs: BTreeMap<String, PathBuf>,
    #[serde(default)]
    non_test_binaries: BTreeMap<String, Vec<Program>>,
}

#[derive(Debug, Deserialize)]
struct Program {
    name: String,
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    binary_id: String,
    package_id: String,
    binary_path: PathBuf,
}

/// One of the programs.
#[derive(Debug)]
pub(super) struct Binary {
    pub(super) id: String,
    pub(super) command: Command,
}

/// Reads the list in the input, and finds its programs there.
pub(super) fn read(base: &Base, list: &RelPath) -> Result<Vec<Binary>, DriverError> {
    let refuse = |reason| DriverError::Setup { reason };
    let bytes = std::fs::read(base.input.join(list))
        .map_err(|error| refuse(format!("the list of test programs, {list}, cannot be read: {error}")))?;
    let list: List = serde_json::from_slice(&bytes).map_err(|error| {
        let remedy = "make it with `cargo nextest list --message-format json --list-type binaries-only`";
        refuse(format!("{list} is no list of test programs: {error}; {remedy}"))
    })?;
    list.rust_binaries.values().map(|entry| binary(base, &list.rust_build_meta, entry)).collect()
}

fn binary(base: &Base, meta: &Meta, entry: &Entry) -> Result<Binary, DriverError> {
    let id = entry.binary_id.clone();
    let program = find(&base.input, &entry.binary_path, Path::is_file).ok_or_else(|| {
        let path = entry.binary_path.display();
        DriverError::Setup { reason: format!("the program of {id} is not in the input, by no end of {path}") }
    })?;
    // Paths of packages stand in their ids, between the scheme and the version.
    let package = entry.package_id.split_once("file://").map_or("", |(_, rest)| rest);
    let package = package.split('#').next().unwrap_or(package);
    let directory = find(&base.input, Path::new(package), Path::is_dir);
    let directory = directory.unwrap_or_else(|| base.command.directory.clone());
    let mut command = Command { program, directory: directory.clone(), ..base.command.clone() };
    let text = |path: &Path| path.display().to_string();
    let mut set = |name: String, value: String| command.environment.insert(name, value);
    set("CARGO_MANIFEST_DIR".into(), text(&directory));
    let in_target = |path: &Path| find(&base.input, &meta.target_directory.join(path), Path::exists);
    if let Some(out) = meta.build_script_out_dirs.get(&entry.package_id).and_then(|path| in_target(path)) {
        set("OUT_DIR".into(), text(&out));
    }
    for program in meta.non_test_binaries.get(&entry.package_id).into_iter().flatten() {
        if let Some(path) = in_target(&program.path) {
            set(format!("NEXTEST_BIN_EXE_{}", program.name), text(&path));
            set(format!("CARGO_BIN_EXE_{}", program.name), text(&path));
        }
    }
    let mut libraries: Vec<String> = Vec::new();
    for output in &meta.base_output_directories {
        libraries.extend(
            [output.join("deps"), output.clone()]
                .iter()
                .filter_map(|path| in_target(path))
                .map(|path| text(&path)),
        );
    }
    libraries.extend(command.environment.remove("LD_LIBRARY_PATH"));
    command.environment.insert("LD_LIBRARY_PATH".into(), libraries.join(":"));
    Ok(Binary { id, command })
}

/// Where the longest end of `path` lies below `root`.
fn find(root: &Path, path: &Path, is_it: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let names: Vec<&OsStr> = path.iter().filter(|name| *name != OsStr::new("/")).collect();
    (0..names.len())
        .map(|skipped| root.join(names[skipped..].iter().collect::<PathBuf>()))
        .find(|path| is_it(path))
}
