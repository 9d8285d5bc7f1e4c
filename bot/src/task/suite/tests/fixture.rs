//! Suites that are built once for all tests, beside the test's own program.

use proto::DigestFunction;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A program of GoogleTest with the tests `A.a`, `A.b` and `A.exits`, which ends it with exit code 0.
pub(super) fn small_gtest() -> PathBuf {
    let source = "#include <gtest/gtest.h>\n#include <cstdlib>\nTEST(A, a) {}\nTEST(A, b) {}\nTEST(A, exits) { exit(0); }\n";
    gtest("small.cc", source)
}

/// The program of GoogleTest that is made of `source`.
pub(super) fn gtest(name: &str, source: &str) -> PathBuf {
    let arguments = ["-O0", "-std=c++17", "-o", "OUT", "SOURCE", "-lgtest", "-lgtest_main", "-pthread"];
    let remedy = "install GoogleTest, on Debian and Ubuntu with: sudo apt-get install g++ libgtest-dev";
    built(name, source, "c++", &arguments, remedy)
}

/// The program that `compiler` makes of `source` with these arguments; `OUT` stands for where it goes, `SOURCE` for the
/// source. `remedy` says how to come by the compiler.
pub(super) fn built(name: &str, source: &str, compiler: &str, arguments: &[&str], remedy: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let directory = own.parent().unwrap().join("fixtures");
    let recipe = format!("{source}{compiler}{arguments:?}");
    let digest = DigestFunction::Blake3.digest(recipe.as_bytes()).hex();
    let program = directory.join(format!("{name}-{}", &digest[..12]));
    if program.exists() {
        return program;
    }
    fs::create_dir_all(&directory).unwrap();
    // Several tests may be building it.
    let scratch = tempfile::tempdir_in(&directory).unwrap();
    let extension = Path::new(name).extension().unwrap_or_default();
    let text = scratch.path().join("source").with_extension(extension);
    fs::write(&text, source).unwrap();
    let out = scratch.path().join("out");
    let path = |argument: &&str| match *argument {
        "OUT" => out.clone().into_os_string(),
        "SOURCE" => text.clone().into_os_string(),
        other => other.into(),
    };
    let output = Command::new(compiler).args(arguments.iter().map(path)).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {compiler}: {error}; {remedy}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cannot build {name}: {errors}\n{remedy}");
    fs::rename(&out, &program).unwrap();
    program
}
