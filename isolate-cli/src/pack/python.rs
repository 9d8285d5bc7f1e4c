//! A virtual environment with a suite: the interpreter, its library, what is installed, and a launcher that makes it one
//! environment again wherever it lies.

use super::{
    Closure, PackError, Recipe,
    beside::{Beside, quoted},
    closure,
    fixtures::fixtures,
    interpreter::Interpreter,
    is_elf,
};
use crate::Error;
use runtime::Shutdown;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Gives each shard its part of what pytest has collected.
const PLUGIN: &str = r#""""Gives pytest its part of the tests in a shard. Written by `isolate pack python`."""

import os

import pytest

TOTAL = int(os.environ.get("SHARD_TOTAL", "1"))
INDEX = int(os.environ.get("SHARD_INDEX", "0"))
collected = 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    global collected
    collected = len(items)
    if TOTAL > 1:
        others = [item for at, item in enumerate(items) if at % TOTAL != INDEX]
        items[:] = items[INDEX::TOTAL]
        config.hook.pytest_deselected(items=others)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    # More shards than tests are no mistake.
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and TOTAL > 1 and collected > 0:
        session.exitstatus = pytest.ExitCode.OK
"#;

/// What of the standard library stays at home: what other entries hold, and what only builds and tests of Python itself need.
const NOT_PACKED: [&str; 4] = ["site-packages", "dist-packages", "__pycache__", "test"];

/// What pytest reads in the directories above tests, as far up as the description is.
const SETTINGS: [&str; 6] =
    ["pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "conftest.py"];

/// What of what is packed, and what other machines have.
#[derive(Clone, Debug, Default)]
pub struct PythonOptions {
    /// The suite, and what it needs besides.
    pub paths: Vec<PathBuf>,
    /// Arguments of the interpreter.
    pub args: Vec<String>,
    /// Directories whose libraries every machine has.
    pub base: Vec<PathBuf>,
    /// Where to look for libraries first.
    pub library_path: Vec<PathBuf>,
}

/// What was packed.
#[derive(Clone, Debug)]
pub struct PythonPacked {
    /// The text of the description.
    pub description: String,
    /// `3.11.7`.
    pub version: String,
    /// How many libraries came along that are neither Python's nor part of a package.
    pub libraries: u64,
    /// Libraries that were found nowhere, and a file that needs each; perhaps nobody loads them.
    pub missing: BTreeMap<String, PathBuf>,
}

/// Makes a description, to be written to `output`, of the environment `venv` and a suite. All paths are real ones.
pub async fn pack_python(
    venv: &Path,
    output: &Path,
    options: &PythonOptions,
    shutdown: &Shutdown,
) -> Result<PythonPacked, Error> {
    let interpreter = Interpreter::of(venv, shutdown).await?;
    let beside = Beside::create(output)?;
    beside.write("isolate_shards.py", PLUGIN.as_bytes())?;
    let mut recipe = Recipe::new(output.parent().unwrap_or(Path::new("/")));
    recipe.directory(beside.path());
    recipe.file(&interpreter.executable);
    for dir in interpreter.standard_library() {
        for entry in entries(dir)? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            // `config-3.11-x86_64-linux-gnu` has the interpreter once more, to be linked.
            if !NOT_PACKED.contains(&&*name) && !name.starts_with("config-") {
                recipe.any(&entry);
            }
        }
    }
    for dir in interpreter.packages() {
        refuse_in_place(dir)?;
        recipe.directory(dir);
    }
    for data in ["share", "etc"].map(|name| venv.join(name)) {
        if data.is_dir() {
            recipe.directory(&data);
        }
    }
    suite(&mut recipe, venv, output, &beside, &options.paths)?;
    let Closure { libraries, search, missing, .. } = libraries(&interpreter, options)?;
    libraries.iter().for_each(|library| recipe.file(library));
    let launcher = beside.launcher(&launcher(&beside, venv, &interpreter, &search))?;
    let program = recipe.program(&launcher);
    recipe.command([program].into_iter().chain(options.args.iter().cloned()));
    let (description, libraries) = (recipe.into_text(), libraries.len() as u64);
    Ok(PythonPacked { description, version: interpreter.version, libraries, missing })
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, PackError> {
    let list =
        || -> std::io::Result<Vec<PathBuf>> { fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect() };
    list().map_err(|error| PackError::io(dir, error))
}

/// Files as they are; of directories what version control would keep, without the environment. With them go the settings of
/// pytest that hold there.
fn suite(
    recipe: &mut Recipe,
    venv: &Path,
    output: &Path,
    beside: &Beside,
    paths: &[PathBuf],
) -> Result<(), Error> {
    let mut without = BTreeSet::from([venv.to_owned(), beside.path().to_owned()]);
    without.extend(["isolate", "isolated", "isolated.state"].map(|kind| output.with_extension(kind)));
    for path in paths {
        let home = output.parent().unwrap_or(Path::new("/"));
        let above = path.ancestors().skip(1).take_while(|dir| dir.starts_with(home));
        let settings = above.flat_map(|dir| SETTINGS.map(|name| dir.join(name)));
        settings.filter(|file| file.is_file()).for_each(|file| recipe.file(&file));
        if !path.is_dir() {
            recipe.file(path);
            continue;
        }
        for file in fixtures(path, &without)? {
            let path = Path::new(&file);
            if file.ends_with('/') { recipe.directory(path) } else { recipe.file(path) }
        }
    }
    Ok(())
}

/// A package that is installed in place is not there: a file says where its sources are on this machine.
fn refuse_in_place(packages: &Path) -> Result<(), PackError> {
    for path in entries(packages)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let points_away = |text: String| {
            text.lines().map(str::trim).any(|line| line.starts_with('/') && !line.starts_with("/#"))
        };
        let is_pth = name.ends_with(".pth");
        let in_place =
            name.starts_with("__editable__") || is_pth && fs::read_to_string(&path).is_ok_and(points_away);
        if in_place {
            let reason =
                "means a package that is installed in place (`pip install -e`): install it without `-e`";
            return Err(PackError::Unfit { path, reason });
        }
    }
    Ok(())
}

/// The shared libraries of the interpreter and all extension modules, but for those that packages bring themselves.
fn libraries(interpreter: &Interpreter, options: &PythonOptions) -> Result<Closure, PackError> {
    let dirs: BTreeSet<&Path> = interpreter.standard_library().chain(interpreter.packages()).collect();
    let mut programs = vec![interpreter.executable.clone()];
    for dir in &dirs {
        shared_objects(dir, &mut programs)?;
    }
    let names: BTreeSet<String> = programs
        .iter()
        .filter_map(|program| Some(program.file_name()?.to_string_lossy().into_owned()))
        .collect();
    let mut library_path = options.library_path.clone();
    library_path.push(interpreter.base_prefix.join("lib"));
    let mut found = closure(&programs, &options.base, &library_path)?;
    let packed = |path: &Path| dirs.iter().any(|dir| path.starts_with(dir));
    found.libraries.retain(|library| !packed(library));
    found.search.retain(|dir| !packed(dir));
    found.missing.retain(|name, _| !names.contains(name));
    Ok(found)
}

/// ELF files that are named as libraries.
fn shared_objects(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), PackError> {
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for path in entries(&dir)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_symlink() || NOT_PACKED.contains(&&*name) {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else if (name.ends_with(".so") || name.contains(".so.")) && is_elf(&path) {
                found.push(path);
            }
        }
    }
    Ok(())
}

/// The file that makes a directory an environment names the interpreter's directory by its absolute path, so it is written
/// where it is used.
fn launcher(beside: &Beside, venv: &Path, interpreter: &Interpreter, search: &BTreeSet<PathBuf>) -> String {
    let bin = interpreter.executable.parent().unwrap_or(Path::new("/"));
    let name = quoted(&interpreter.executable.file_name().unwrap_or_default().to_string_lossy());
    let dirs: Vec<String> = search.iter().map(|dir| beside.reaching(dir)).collect();
    let search = match dirs.is_empty() {
        true => String::new(),
        false => {
            format!("export LD_LIBRARY_PATH={}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\n", dirs.join(":"))
        }
    };
    format!(
        r#"
# Arguments are those of the interpreter: -m pytest, -c CODE, FILE, ...
# Shards and the report, ${{ISOLATED_OUTDIR}}/tests.xml, are for pytest.

bin=$(cd {bin} && pwd)
mkdir -p {venv}/bin
venv=$(cd {venv} && pwd)
rm -f "$venv/pyvenv.cfg"
printf 'home = %s\ninclude-system-site-packages = false\nversion = %s\n' "$bin" {version} >"$venv/pyvenv.cfg"
ln -sf "$bin"/{name} "$venv/bin/python"
ln -sf python "$venv/bin/python3"
export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
{search}export PYTHONPATH="$here${{PYTHONPATH:+:$PYTHONPATH}}" PYTEST_PLUGINS=isolate_shards
if [ -n "${{ISOLATED_OUTDIR:-}}" ]; then
    export PYTEST_ADDOPTS="'--junitxml=$ISOLATED_OUTDIR/tests.xml' ${{PYTEST_ADDOPTS:-}}"
fi
exec "$venv/bin/python" "$@"
"#,
        bin = beside.reaching(bin),
        venv = beside.reaching(venv),
        version = quoted(&interpreter.version),
    )
}
