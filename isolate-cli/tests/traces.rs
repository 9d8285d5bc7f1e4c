//! `isolate trace` on commands that make it hard: they fork, move, link and change directories, and use names that are
//! not what one expects.
#![expect(clippy::unwrap_used, reason = "tests may, also in their helpers")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    process::{Command, Output},
};
use tempfile::TempDir;

struct Bench(TempDir);

impl Bench {
    fn new(files: &[&str]) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for file in files {
            fs::create_dir_all(bench.path(file).parent().unwrap()).unwrap();
            fs::write(bench.path(file), file).unwrap();
        }
        bench
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(path)
    }

    fn isolate(&self, args: &[&str]) -> Output {
        let mut isolate = Command::new(env!("CARGO_BIN_EXE_isolate"));
        isolate.args(args).current_dir(self.path("")).env("XDG_CACHE_HOME", self.path(".cache"));
        isolate.output().unwrap()
    }

    /// Traces a script; what it used, and what was said.
    fn traced(&self, program: &str, script: &str) -> (serde_json::Value, String) {
        let args = ["trace", "-o", "t.isolate", "--dump-json", "t.json", "--", program, "-c", script];
        let output = self.isolate(&args);
        let said = String::from_utf8(output.stderr).unwrap();
        let report = fs::read(self.path("t.json")).unwrap();
        (serde_json::from_slice(&report).unwrap(), said)
    }
}

#[test]
fn processes_are_followed_wherever_they_go() {
    let bench = Bench::new(&["d/a", "d/b", "d/sub/r", "e/f", "e/g", "moved", "linked", "touched", "left"]);
    let script = r#"
import os, time
os.chdir('d')
open('a')
other = os.open('../e', os.O_RDONLY)
os.open('f', os.O_RDONLY, dir_fd=other)
# A daemon outlives the one that started it.
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.3)
        os.chdir('sub')
        open('r')
        open('../b')
    os._exit(0)
os.chdir('..')
os.rename('moved', 'new')
open('new')
os.link('linked', 'e/link')
os.utime('touched')
os.fchdir(other)
os.rename('link', 'again')
"#;
    let (report, said) = bench.traced("python3", script);
    let expected = ["d/", "e/f", "linked", "moved", "touched"];
    assert_eq!(report["inputs"], serde_json::json!(expected), "{said}");
    assert_eq!(
        (&report["exit_code"], &report["used_files"], &report["description"]),
        (&0.into(), &7.into(), &"t.isolate".into())
    );
}

#[test]
fn names_that_cannot_be_packaged_are_told_and_left_out() {
    let bench =
        Bench::new(&["d/with space", "d/it's", "d/é", "d/wild*", "d/back\\slash", "d/<(X)", "e/<(Y)", "e/f"]);
    let bytes = bench.path("d").join(OsStr::from_bytes(b"\xff\xfe"));
    fs::write(bytes, "").unwrap();
    let (report, said) = bench.traced("sh", "cat d/* e/*");
    // A whole directory needs no names.
    assert_eq!(report["inputs"], serde_json::json!(["d/it's", "d/wild*", "d/with space", "d/é", "e/"]));
    assert_eq!(
        said.matches("is used and left out: its name cannot be packaged, rename it").count(),
        3,
        "{said}"
    );
    let checked = bench.isolate(&["check", "-i", "t.isolate"]);
    assert!(checked.status.success(), "{checked:?}");

    let output = bench.isolate(&["trace", "-o", "v.isolate", "--", "bash", "-c", "cat <(pwd)"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("put the command into a script"), "{said}");
}

#[test]
fn the_commands_code_is_handed_on_also_when_a_signal_ended_it() {
    let bench = Bench::new(&["a"]);
    for (script, code) in [("cat a; exit 7", 7), ("cat a; kill -9 $$", 137), ("cat a; kill -TERM $$", 143)] {
        let (report, said) = bench.traced("sh", script);
        assert_eq!(
            (&report["exit_code"], &report["inputs"]),
            (&code.into(), &serde_json::json!(["a"])),
            "{said}"
        );
        assert!(said.contains("the command failed"), "{said}");
    }
}
