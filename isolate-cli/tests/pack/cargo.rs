//! `isolate pack cargo` on a workspace that needs all that tests may need, run where nothing of it was built.

use super::Bench;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const FILES: [(&str, &str); 12] = [
    ("Cargo.toml", "[workspace]\nmembers = [\"prog\", \"sub/mac\"]\nresolver = \"3\"\n"),
    (".gitignore", "/target\n*.log\n"),
    (".config/nextest.toml", "[profile.quick]\nretries = 1\n"),
    ("prog/Cargo.toml", "[package]\nname = \"prog\"\nedition = \"2024\"\nversion = \"1.2.3\"\n"),
    ("prog/src/main.rs", "fn main() { print!(\"hello\") }\n"),
    (
        "prog/build.rs",
        "fn main() { std::fs::write(std::env::var(\"OUT_DIR\").unwrap() + \"/made.txt\", \"made\").unwrap() }\n",
    ),
    ("prog/tests/data/one.txt", "one"),
    ("prog/tests/data/.hidden", "hidden"),
    ("prog/noise.log", "ignored"),
    (
        "prog/tests/all.rs",
        r#"
        use std::{env::var, fs, path::Path};
        fn read(path: &str) -> String { fs::read_to_string(path).unwrap() }
        #[test] fn data_is_there() {
            assert_eq!(read("tests/data/one.txt") + &read("tests/data/.hidden"), "onehidden");
            assert_eq!(read(&(var("CARGO_MANIFEST_DIR").unwrap() + "/tests/data/one.txt")), "one");
            assert!(!Path::new("noise.log").exists());
            assert!(Path::new(&var("INSTA_WORKSPACE_ROOT").unwrap()).join("prog/tests/all.rs").exists());
        }
        #[test] fn the_program_is_there() {
            let program = var("CARGO_BIN_EXE_prog").unwrap();
            assert_eq!(std::process::Command::new(program).output().unwrap().stdout, b"hello");
        }
        #[test] fn what_the_build_script_made_is_there() {
            assert_eq!(read(&(var("OUT_DIR").unwrap() + "/made.txt")), "made");
        }
        #[test] fn extra_data_is_there() { assert_eq!(read("../shared/extra.txt"), "extra") }
        "#,
    ),
    (
        "sub/mac/Cargo.toml",
        "[package]\nname = \"mac\"\nedition = \"2024\"\nversion = \"0.1.0\"\n[lib]\nproc-macro = true\n",
    ),
    (
        "sub/mac/src/lib.rs",
        "/// Nothing.\n#[proc_macro] pub fn mac(_: proc_macro::TokenStream) -> proc_macro::TokenStream { Default::default() }\n\
         #[test] fn macros_are_linked_to_the_toolchains_libraries() {}\n",
    ),
];

fn bench() -> Bench {
    let bench = Bench::empty();
    for (path, text) in FILES.iter().chain(&[("shared/extra.txt", "extra")]) {
        let path = bench.path("ws").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    bench
}

/// Packs, lays out elsewhere and takes away what was packed; the copy.
fn packed(bench: &Bench, args: &[&str]) -> (PathBuf, String) {
    let base = ["pack", "cargo", "-o", "ws/tests.isolate", "ws", "--data", "ws/shared"];
    let packed = bench.isolate(&[&base[..], args].concat());
    let told = String::from_utf8(packed.stderr).unwrap();
    assert!(packed.status.success(), "{told}");
    let copy = bench.root.join("copy");
    let laid_out = bench.isolate(&["remap", "-i", "ws/tests.isolate", "-o", copy.to_str().unwrap()]);
    assert!(laid_out.status.success(), "{laid_out:?}");
    fs::remove_dir_all(bench.root.join("ws")).unwrap();
    (copy, told)
}

/// What was packed, as a bot would run it: with next to nothing in the environment, and no Cargo.
fn launcher(copy: &Path, env: &[(&str, &str)], args: &[&str]) -> Command {
    let mut command = Command::new(copy.join("tests.pack/run"));
    command.args(args).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", copy);
    command.envs(env.iter().copied()).current_dir(copy);
    command
}

/// Runs it to its end.
fn run(copy: &Path, env: &[(&str, &str)], args: &[&str]) -> (i32, String) {
    let output = launcher(copy, env, args).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn tests_find_their_data_programs_libraries_and_environment_elsewhere() {
    let bench = bench();
    let (copy, told) = packed(&bench, &[]);
    assert!(told.contains("packed 3 programs with tests and 1 shared object"), "{told}");
    assert!(!told.contains("warning: "), "{told}");
    let (code, told) = run(&copy, &[], &[]);
    assert!(code == 0 && told.contains("5 tests run: 5 passed"), "{told}");
    assert!(copy.join("tests.pack/out/default/tests.xml").is_file());

    let (code, told) = run(&copy, &[], &["-E", "binary(all) & test(=data_is_there)"]);
    assert!(code == 0 && told.contains("1 test run: 1 passed"), "{told}");
    let outdir = copy.join("outputs");
    let shards: Vec<String> = (0..6)
        .map(|index| {
            let outdir = outdir.join(index.to_string());
            let env = [("SHARD_INDEX", index.to_string()), ("ISOLATED_OUTDIR", outdir.display().to_string())];
            let mut env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, &**value)).collect();
            env.push(("SHARD_TOTAL", "6"));
            let (code, told) = run(&copy, &env, &[]);
            assert_eq!(code, 0, "{told}");
            fs::read_to_string(outdir.join("default/tests.xml")).unwrap()
        })
        .collect();
    let tests: usize = shards.iter().map(|report| report.matches("<testcase ").count()).sum();
    assert_eq!(tests, 5, "each test is in one shard, one shard has none");
    let (code, _) = run(&copy, &[], &["no-such-test"]);
    assert_ne!(code, 0, "a wrong name is no success");
}

/// As the driver libtest asks, and people who look at one test.
#[test]
fn all_programs_are_one_test_program_of_rust() {
    let bench = knowing();
    let (copy, _) = packed(&bench, &[]);
    let asked = |args: &[&str]| {
        let output = launcher(&copy, &[], args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = asked(&["--list", "--format", "terse"]);
    let tests: Vec<&str> = told.lines().collect();
    let expected = [
        "mac macros_are_linked_to_the_toolchains_libraries: test",
        "prog::all files: test",
        "prog::all programs: test",
    ];
    assert_eq!((code, &tests[..]), (0, &expected[..]));
    let (_, ignored) = asked(&["--list", "--format", "terse", "--ignored"]);
    assert_eq!(ignored, "");
    for test in tests.iter().map(|line| line.strip_suffix(": test").unwrap()) {
        let (code, told) = asked(&["--exact", test, "--nocapture", "--test-threads=1"]);
        assert!(code == 0 && told.contains("test result: ok. 1 passed; 0 failed"), "{test}: {told}");
    }
    for wrong in ["prog::all gone", "gone files"] {
        let (code, told) = asked(&[wrong, "--exact"]);
        assert!(code == 0 && told.contains("test result: ok. 0 passed; 0 failed"), "{wrong}: {told}");
    }
}

#[test]
fn packages_are_chosen() {
    let bench = bench();
    let (copy, told) = packed(&bench, &["--", "-p", "prog"]);
    assert!(told.contains("packed 2 programs with tests"), "{told}");
    assert!(!copy.join("sub").exists(), "packages that are not tested stay at home");
}

/// A workspace whose programs know, by `env!`, where they were built.
fn knowing() -> Bench {
    let bench = bench();
    let text = r#"
        use std::{fs, process::Command};
        #[test] fn files() {
            assert_eq!(fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/one.txt")).unwrap(), "one");
            assert_eq!(fs::read_to_string(concat!(env!("OUT_DIR"), "/made.txt")).unwrap(), "made");
            assert_eq!(fs::canonicalize(env!("CARGO_MANIFEST_DIR")).unwrap(), std::env::current_dir().unwrap());
        }
        #[test] fn programs() {
            let mut prog = Command::new(env!("CARGO_BIN_EXE_prog"));
            assert_eq!(prog.current_dir("/").output().unwrap().stdout, b"hello one");
        }
        "#;
    fs::write(bench.path("ws/prog/tests/all.rs"), text).unwrap();
    let main = "fn main() { print!(\"hello {}\", std::fs::read_to_string(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/tests/data/one.txt\")).unwrap()) }\n";
    fs::write(bench.path("ws/prog/src/main.rs"), main).unwrap();
    bench
}

/// Also when they change their directory, and in what they start.
#[test]
fn programs_that_know_where_they_were_built_find_it_elsewhere() {
    let bench = knowing();
    let (copy, told) = packed(&bench, &["--", "-p", "prog"]);
    assert!(!told.contains("warning: "), "{told}");
    for _ in ["the first time", "in the same copy again"] {
        let (code, told) = run(&copy, &[], &[]);
        assert!(code == 0 && told.contains("2 tests run: 2 passed"), "{told}");
    }
}

/// The one name begins with the other.
#[test]
fn the_target_directory_may_lie_beside_the_workspace() {
    let bench = knowing();
    fs::create_dir(bench.path("ws/.cargo")).unwrap();
    fs::write(bench.path("ws/.cargo/config.toml"), "[build]\ntarget-dir = \"../ws-target\"\n").unwrap();
    let (copy, told) = packed(&bench, &["--", "-p", "prog"]);
    fs::remove_dir_all(bench.path("ws-target")).unwrap();
    assert!(!told.contains("warning: "), "{told}");
    let (code, told) = run(&copy.join("ws"), &[], &[]);
    assert!(code == 0 && told.contains("2 tests run: 2 passed"), "{told}");
}

#[test]
fn what_cannot_be_packed_is_told_with_the_remedy() {
    let bench = bench();
    let (code, error) = bench.told(&["pack", "cargo", "-o", "t.isolate", "."]);
    assert!(
        code == 2 && error.contains("error: `cargo nextest list` failed: mend what it says above"),
        "{error}"
    );
    let (code, error) = bench.told(&["pack", "cargo", "-o", "t.isolate", "gone"]);
    assert!(code == 2 && error.contains("gone"), "{error}");
    let (code, error) = bench.told(&["pack", "cargo", "-o", "t.isolate", "ws", "--data", "gone"]);
    assert!(code == 2 && error.contains("gone: no such file or directory"), "{error}");
    fs::create_dir(bench.root.join("t.pack")).unwrap();
    let (code, error) = bench.told(&["pack", "cargo", "-o", "t.isolate", "ws"]);
    assert!(code == 2 && error.contains("t.pack: is in the way"), "{error}");
}
