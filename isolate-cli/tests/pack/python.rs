//! `isolate pack python` on an environment that is made here, run where nothing of it was.

use super::Bench;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Says where everything comes from, also in a process that it starts.
const SUITE: &str = r#"
import json, os, subprocess, sys
import installed, helper
paths = [sys.executable, sys.prefix, sys.base_prefix, os.__file__, json.__file__, installed.__file__, helper.__file__]
here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
root = sys.argv[1]
print([path for path in paths if not os.path.realpath(path).startswith(root + "/")])
print(open(os.path.join(os.path.dirname(__file__), "data.txt")).read())
child = "import installed, sys; print(sys.prefix)"
assert subprocess.check_output([sys.executable, "-I", "-c", child], text=True).strip() == sys.prefix
print(installed.VALUE, os.environ["VIRTUAL_ENV"] == sys.prefix)
"#;

fn bench() -> Bench {
    let bench = Bench::empty();
    let venv = bench.path("proj/.venv");
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(venv).status().unwrap();
    assert!(made.success());
    for (path, text) in [
        ("tests/suite.py", SUITE),
        ("tests/helper.py", ""),
        ("tests/data.txt", "some data"),
        (".gitignore", ".venv\n*.log\n"),
        ("tests/noise.log", ""),
    ] {
        fs::create_dir_all(bench.path("proj/tests")).unwrap();
        fs::write(bench.path("proj").join(path), text).unwrap();
    }
    fs::write(packages(&bench).join("installed.py"), "VALUE = 42\n").unwrap();
    bench
}

fn packages(bench: &Bench) -> PathBuf {
    let mut lib = fs::read_dir(bench.path("proj/.venv/lib")).unwrap();
    lib.next().unwrap().unwrap().path().join("site-packages")
}

fn pack(bench: &Bench) {
    let packed =
        bench.isolate_in("proj", &["pack", "python", "-o", "t.isolate", ".", "--", "tests/suite.py"]);
    assert!(packed.status.success(), "{packed:?}");
    assert!(String::from_utf8(packed.stderr).unwrap().contains("packed Python 3."));
}

fn digest(bench: &Bench) -> String {
    let checked = bench.isolate_in("proj", &["check", "-i", "t.isolate"]);
    assert!(checked.status.success(), "{checked:?}");
    String::from_utf8(checked.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// As a bot would: with next to nothing in the environment.
fn run(cwd: &Path, args: &[&str]) -> String {
    let mut command = Command::new(cwd.join("t.pack/run"));
    command.args(args).env_clear().env("PATH", "/usr/bin:/bin").current_dir(cwd);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn interpreter_library_and_packages_are_those_that_were_packed_wherever_they_lie() {
    let bench = bench();
    pack(&bench);
    let copy = bench.path("copy");
    let laid_out = bench.isolate_in("proj", &["remap", "-i", "t.isolate", "-o", copy.to_str().unwrap()]);
    assert!(laid_out.status.success(), "{laid_out:?}");
    fs::remove_dir_all(bench.path("proj")).unwrap();
    let moved = bench.path("moved here");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&copy, &moved).unwrap();
    // The lowest directory above the project and the interpreter is the root.
    let suffix = bench.root.join("proj");
    let cwd = suffix.ancestors().map(|above| moved.join(suffix.strip_prefix(above).unwrap()));
    let cwd = cwd.filter(|cwd| cwd.join("t.pack/run").is_file()).last().unwrap();
    assert!(!cwd.join("tests/noise.log").exists() && !cwd.join(".venv/bin/python").exists());
    for _ in 0..2 {
        let told = run(&cwd, &["tests/suite.py", moved.to_str().unwrap()]);
        assert_eq!(told, "[]\nsome data\n42 True\n");
    }
}

#[test]
fn the_digest_stays_whatever_was_compiled_meanwhile() {
    let bench = bench();
    pack(&bench);
    let before = digest(&bench);
    let python = bench.path("proj/.venv/bin/python");
    let mut compile = Command::new(python);
    compile.args(["-c", "import installed, tests.helper"]).current_dir(bench.path("proj"));
    compile.env_remove("PYTHONDONTWRITEBYTECODE");
    assert!(compile.status().unwrap().success());
    assert!(bench.path("proj/tests/__pycache__").exists());
    pack(&bench);
    assert_eq!(digest(&bench), before);
}

#[test]
fn settings_above_the_suite_come_along() {
    let bench = bench();
    for file in ["pyproject.toml", "tests/conftest.py", "README.md", "../setup.cfg"] {
        fs::write(bench.path("proj").join(file), "").unwrap();
    }
    fs::create_dir(bench.path("proj/tests/deep")).unwrap();
    fs::write(bench.path("proj/tests/deep/test_it.py"), "").unwrap();
    let args = ["pack", "python", "-o", "t.isolate", "tests/deep/", "--", "-m", "pytest"];
    let packed = bench.isolate_in("proj", &args);
    assert!(packed.status.success(), "{packed:?}");
    let description = fs::read_to_string(bench.path("proj/t.isolate")).unwrap();
    for there in ["'pyproject.toml'", "'tests/conftest.py'", "'tests/deep/test_it.py'"] {
        assert!(description.contains(there), "{there}: {description}");
    }
    for not in ["README", "setup.cfg", "suite.py"] {
        assert!(!description.contains(not), "{not}: {description}");
    }
}

#[test]
fn what_cannot_be_packed_is_told_with_the_remedy() {
    let bench = bench();
    let told = || {
        let args = ["pack", "python", "-o", "t.isolate", "tests", "--", "tests/suite.py"];
        let output = bench.isolate_in("proj", &args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let pth = packages(&bench).join("mine.pth");
    fs::write(&pth, format!("{}\n", bench.root.display())).unwrap();
    assert!(told().contains("mine.pth: means a package that is installed in place"), "{}", told());
    fs::remove_file(pth).unwrap();
    let config = bench.path("proj/.venv/pyvenv.cfg");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("packages = false", "packages = true")).unwrap();
    assert!(told().contains("make it without --system-site-packages"), "{}", told());
    fs::remove_file(&config).unwrap();
    assert!(told().contains("is no virtual environment: make one"), "{}", told());
}
