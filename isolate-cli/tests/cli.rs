//! The program as it is typed: help, messages and exit codes, as snapshots.
#![expect(clippy::unwrap_used, reason = "tests may, also in their helpers")]

use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

struct Bench(TempDir);

impl Bench {
    /// A directory with a small test in it, for programs to run in.
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        fs::create_dir(bench.path().join("data")).unwrap();
        for (path, content) in [("run.sh", "#!/bin/sh\n"), ("data/a", "a")] {
            fs::write(bench.path().join(path), content).unwrap();
        }
        bench
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn isolate_file(self, text: &str) -> Self {
        fs::write(self.path().join("a.isolate"), text).unwrap();
        self
    }

    /// What a command line prints, and its exit code.
    fn run(&self, line: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_isolate"))
            .args(line.split_whitespace())
            .current_dir(self.path())
            .env_clear()
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .env("ISOSWARM_CAS", "127.0.0.1:1")
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, err, code) = (text(output.stdout), text(output.stderr), output.status.code().unwrap());
        let real = fs::canonicalize(self.path()).unwrap();
        let told = format!("$ isolate {line}\n{out}{err}exit code {code}\n");
        told.replace(real.to_str().unwrap(), "[DIR]")
            .replace(runtime::exit::HELP, "[the table of exit codes]")
    }
}

#[test]
fn help() {
    let bench = Bench::new();
    for verb in [
        "",
        "archive ",
        "batcharchive ",
        "check ",
        "remap ",
        "run ",
        "download ",
        "show ",
        "diff ",
        "fmt ",
        "trace ",
        "watch ",
        "pack ",
        "pack cargo ",
        "pack elf ",
        "pack python ",
        "completions ",
        "man ",
    ] {
        let name = format!("help_{}", verb.trim_end());
        insta::assert_snapshot!(name.trim_end_matches('_'), bench.run(&format!("{verb}--help")));
    }
    assert!(bench.run("--help").contains("[the table of exit codes]"));
}

#[test]
fn command_lines_that_make_no_sense() {
    let bench = Bench::new();
    let lines = [
        "",
        "archive",
        "archive data -i a.isolate",
        "archive --config-variable OS=linux data",
        "archive -i a.isolate --config-variable 1a=b",
        "archive --function md5 data",
        "archive --isolated-version 1.7 data",
        "archive -s out/none.isolated",
        "archive -s none.isolated",
        "diff data run.sh",
        "check --trace-root . data",
        "fmt",
        "fmt gone.isolate",
        "trace -o data/a.isolate -- ./run.sh",
        "trace -o a.isolate --root data -- ./run.sh",
        "watch gone",
        "watch run.sh",
        "watch --status --stop",
        "batcharchive gone.gen.json",
        "completions cmd",
        "archive --read-only 3 data",
        "archive --relative-cwd ../x data",
        "archive --blacklist ( data",
        "archive --cas ftp://x:1 data",
        "archive --cas https://x:1 --ca-cert none.pem data",
        "archive --cas localhost data",
        "download blake3:abc/1 -o out",
        "download sha-256:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262 -o out",
        "show md5:00/0",
    ];
    insta::assert_snapshot!(lines.map(|line| bench.run(line)).join("\n"));
}

#[test]
fn inputs_that_cannot_be_packaged() {
    let bench = Bench::new();
    fs::create_dir(bench.path().join("full")).unwrap();
    fs::write(bench.path().join("full/file"), "").unwrap();
    let digest = format!("blake3:{}/9", "ab".repeat(32));
    let lines = [
        "archive gone".to_owned(),
        "archive ../x".to_owned(),
        "archive --root gone data".to_owned(),
        "archive --root run.sh data".to_owned(),
        "archive -i gone.isolate".to_owned(),
        format!("download {digest} -o full"),
        format!("run {digest} --output-dir full"),
        format!("run {digest} --outdir full"),
        format!("run {digest} -o full"),
    ];
    insta::assert_snapshot!(lines.map(|line| bench.run(&line)).join("\n"));
}

#[test]
fn descriptions_that_are_wrong() {
    let descriptions = [
        ("{\n  'variables': {\n    'file': ['a'],\n  },\n}\n", ""),
        ("{\n  'variables': {\n    'files': ['run.sh' 'data/']\n  }\n", ""),
        ("{'variables': {'files': ['data']}}", ""),
        ("{'variables': {'files': [\n'gone']}}", ""),
        ("{'variables': {'files': ['/etc/passwd']}}", ""),
        ("{'variables': {'files': ['<(PRODUCT_DRI)/x']}}", "--path-variable PRODUCT_DIR ."),
        ("{'conditions': [['OS!=\"linux\"', {}]]}", ""),
        ("{'conditions': [['OS==\"linux\" and bits==64', {}]]}", "--config-variable bits 64"),
        ("{'includes': ['b.isolate']}", ""),
        ("{'includes': ['a.isolate']}", ""),
    ];
    let told = descriptions.map(|(text, flags)| {
        let bench = Bench::new().isolate_file(text);
        format!("{text}\n{}", bench.run(&format!("archive -i a.isolate {flags}")))
    });
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_cas_that_cannot_be_reached() {
    let bench = Bench::new().isolate_file("{'variables': {'files': ['data/'], 'command': ['./x']}}");
    let digest = format!("sha-1:{}/9", "ab".repeat(20));
    for line in
        ["archive -i a.isolate".to_owned(), format!("show {digest}"), format!("download {digest} -o out")]
    {
        let told = bench.run(&line);
        assert!(
            told.contains(
                "error: cannot reach the CAS at 127.0.0.1:1: start it, or name another with --cas or ISOSWARM_CAS: "
            ),
            "{told}"
        );
        assert!(told.ends_with("exit code 4\n"), "{told}");
    }
    assert!(!bench.path().join("out").exists());
}

#[test]
fn the_environment_may_ask_to_leave_out_what_is_broken() {
    let bench = Bench::new();
    let output = Command::new(env!("CARGO_BIN_EXE_isolate"))
        .args(["archive", "--cas", "127.0.0.1:1", "--no-hash-cache", "gone"])
        .current_dir(bench.path())
        .env("ISOLATE_IGNORE_BROKEN_ITEMS", "1")
        .output()
        .unwrap();
    // Not a wrong command line, and not a missing input: it comes as far as the CAS.
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}
