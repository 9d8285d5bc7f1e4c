//! `isolate run` of descriptions, with no server, and the directories that it keeps between runs.
#![expect(clippy::unwrap_used, reason = "tests may, also in their helpers")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output},
};

struct Bench {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl Bench {
    /// A description whose command runs `script`.
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::write(root.join("t.sh"), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(root.join("t.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("data"), "some data\n").unwrap();
        fs::write(root.join("other"), "not an input").unwrap();
        let text = "{'variables': {'files': ['t.sh', 'data']}, 'conditions': [\n\
                    ['OS==\"linux\"', {'variables': {'command': ['./t.sh', 'for linux']}}]]}\n";
        fs::write(root.join("t.isolate"), text).unwrap();
        Self { _dir: dir, root }
    }

    /// There is no server at this address.
    fn isolate(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isolate"));
        command.args(args).current_dir(&self.root).env("ISOSWARM_CAS", "http://127.0.0.1:1");
        command.env("XDG_CACHE_HOME", self.root.join(".cache")).output().unwrap()
    }

    /// The exit code, and what came on stdout and stderr.
    fn told(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.isolate(args);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

const LINUX: [&str; 5] = ["run", "-i", "t.isolate", "--config-variable", "OS=linux"];

#[test]
fn a_description_is_run_in_a_copy_of_its_inputs_without_a_server() {
    let bench = Bench::new("cat data; ls; echo \"$@\"; echo out > ${ISOLATED_OUTDIR}/result; exit 3");
    let more = ["--output-dir", "results", "--", "and${EXECUTABLE_SUFFIX} more"];
    let (code, out, error) = bench.told(&[&LINUX[..], &more].concat());
    assert_eq!((code, out.as_str()), (3, "some data\ndata\nt.sh\nfor linux and more\n"), "{error}");
    assert_eq!(fs::read_to_string(bench.root.join("results/result")).unwrap(), "out\n");

    // A saved one needs no variables, and sees what changed.
    let (code, ..) = bench.told(&[&LINUX[..], &["-s", "t.isolated"]].concat());
    assert_eq!(code, 3);
    fs::write(bench.root.join("data"), "changed\n").unwrap();
    let (code, out, error) = bench.told(&["run", "-s", "t.isolated"]);
    assert_eq!((code, out.as_str()), (3, "changed\ndata\nt.sh\nfor linux\n"), "{error}");
}

#[test]
fn what_a_command_leaves_behind_is_killed_before_the_copy_goes_away() {
    let bench = Bench::new("setsid sh -c 'sleep 600 & sleep 601' & echo $! > ${ISOLATED_OUTDIR}/pid");
    let (code, _, error) = bench.told(&[&LINUX[..], &["--output-dir", "results"]].concat());
    assert!(code == 0 && error.contains("the command left processes behind"), "{code}: {error}");
    let pid = fs::read_to_string(bench.root.join("results/pid")).unwrap();
    assert!(!PathBuf::from("/proc").join(pid.trim()).exists(), "it is gone");
}

#[test]
fn what_cannot_be_run_is_told_with_the_remedy() {
    let bench = Bench::new("true");
    let (code, _, error) = bench.told(&["run", "-i", "t.isolate"]);
    assert!(code == 2 && error.contains("OS"), "{error}");
    let (code, _, error) = bench.told(&["run", "-s", "gone.isolated"]);
    assert!(
        code == 2 && error.contains("gone.isolated.state: no such file: name an .isolate file with -i"),
        "{error}"
    );
    let (code, _, error) = bench.told(&["run"]);
    assert!(code == 2 && error.contains("  <DIGEST>"), "{error}");
    let digest = format!("blake3:{}/12", "0".repeat(64));
    let (code, _, error) = bench.told(&["run", &digest, "-i", "t.isolate"]);
    assert!(code == 2 && error.contains("cannot be used with"), "{error}");
    let overlapping = ["--named-cache", "a=x", "--named-cache", "b=x/y"];
    let (code, _, error) = bench.told(&[&LINUX[..], &overlapping].concat());
    assert!(code == 2 && error.contains("neither may be in the other"), "{error}");
}

#[test]
fn named_caches_are_kept_between_runs_and_given_up_by_the_limits() {
    let bench = Bench::new("cat deps/log; echo again >> deps/log");
    let cached = ["--named-cache", "deps_of_t=deps"];
    let run = |more: &[&str]| {
        let (code, out, error) = bench.told(&[&LINUX[..], &cached, more].concat());
        assert_eq!(code, 0, "{error}");
        out
    };
    assert_eq!([run(&[]), run(&[]), run(&[])], ["", "again\n", "again\nagain\n"]);
    let kept = bench.root.join(".cache/isoswarm/named");
    assert!(kept.join("caches/deps_of_t/tree/log").is_file());
    assert_eq!(fs::read_dir(kept.join("work")).unwrap().count(), 0, "the copy is gone");
    let (code, out, _) = bench.told(&[&LINUX[..], &["--named-cache", "other=deps"]].concat());
    assert_eq!((code, out.as_str()), (0, ""), "another name is another cache");
    assert_eq!(run(&["--cache-min-free-space", "1000000TiB"]), "", "no disk has as much");
    let (code, _, error) = bench.told(&[&LINUX[..], &["--named-cache", "n=data"]].concat());
    assert!(
        code == 2 && error.contains("the cache n cannot be at data: the input has data there"),
        "{error}"
    );
}

#[test]
fn the_cache_gives_up_what_is_over_its_limits() {
    let bench = Bench::new("true");
    let blobs = || {
        let count = |shard: fs::DirEntry| fs::read_dir(shard.path()).unwrap().count();
        let shards = fs::read_dir(bench.root.join(".cache/isoswarm/blobs/blobs")).unwrap();
        shards.map(|shard| count(shard.unwrap())).sum::<usize>()
    };
    assert_eq!(bench.told(&LINUX).0, 0);
    assert_eq!(blobs(), 3, "two files and the manifest");
    fs::write(bench.root.join("data"), "changed").unwrap();
    let tight = ["--cache-max-items", "3", "--cache-max-age", "10m"];
    assert_eq!(bench.told(&[&LINUX[..], &tight].concat()).0, 0);
    assert!(blobs() <= 4, "what the run used stays while it goes on, and what came before goes");
}
