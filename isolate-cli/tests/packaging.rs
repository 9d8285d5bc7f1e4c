//! The verbs that need no server, as they are typed: formats, states, layouts, formatting, traces.
#![expect(clippy::unwrap_used, reason = "tests may, also in their helpers")]

use cas::isolated::{Entry, Isolated, ReadOnly, Version};
use proto::DigestFunction;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

struct Bench(TempDir);

/// What a command line came to.
#[derive(Debug)]
struct Told {
    out: String,
    err: String,
    code: i32,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for (path, content) in files {
            bench.write(path, content);
        }
        bench
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let mode = if content.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn isolate_in(&self, dir: &str, args: &[&str]) -> Told {
        let output = Command::new(env!("CARGO_BIN_EXE_isolate"))
            .args(args)
            .current_dir(self.path(dir))
            .env("XDG_CACHE_HOME", self.path(".cache"))
            .env("ISOSWARM_CAS", "127.0.0.1:1")
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Told { out: text(output.stdout), err: text(output.stderr), code: output.status.code().unwrap() }
    }

    fn isolate(&self, args: &[&str]) -> Told {
        self.isolate_in("", args)
    }

    fn succeed(&self, args: &[&str]) -> String {
        let told = self.isolate(args);
        assert_eq!(told.code, 0, "{args:?}: {told:?}");
        told.out
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                dirs.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

const SUITE: &[(&str, &str)] = &[
    ("src/test/run.sh", "#!/bin/sh\ncat data/a\n"),
    ("src/test/data/a", "a\n"),
    ("src/test/data/b", "b\n"),
    ("src/out/lib", "lib\n"),
    (
        "src/test/a.isolate",
        "{'variables': {'command': ['./run.sh', '<(v)'], 'files': ['run.sh', '<(OUT)/lib']},\n\
         'conditions': [['bits==64', {'variables': {'files': ['data/']}}]]}\n",
    ),
];

const VARIABLES: [&str; 6] =
    ["--config-variable", "bits=64", "--path-variable", "OUT=src/out", "--extra-variable", "v=1"];

/// The bytes were put together by hand from the rules of the format, the hashes by `sha1sum`.
#[test]
fn a_tree_has_the_manifest_that_the_original_made_of_it() {
    let bench = Bench::new(SUITE);
    symlink("data/a", bench.path("src/test/link")).unwrap();
    bench
        .write("src/test/b.isolate", "{'variables': {'command': ['./run.sh'], 'files': ['run.sh', 'link']}}");
    bench.succeed(&["check", "-i", "src/test/b.isolate", "-s", "b.isolated", "--function", "sha-1"]);
    let sha1 = |text: &str| DigestFunction::Sha1.digest(text.as_bytes()).hex();
    assert_eq!(sha1("a\n"), "3f786850e387550fdab836ed7e6dc881de23001b");
    let expected = format!(
        r#"{{"algo":"sha-1","command":["./run.sh"],"files":{{"data/a":{{"h":"3f786850e387550fdab836ed7e6dc881de23001b","m":416,"s":2}},"link":{{"l":"data/a"}},"run.sh":{{"h":"{}","m":488,"s":21}}}},"read_only":1,"relative_cwd":".","version":"1.6"}}"#,
        sha1("#!/bin/sh\ncat data/a\n")
    );
    assert_eq!(bench.read("b.isolated"), expected);
    bench.succeed(&["check", "-i", "src/test/b.isolate", "-s", "b.isolated", "--isolated-version", "2.0"]);
    let second = Isolated::parse(bench.read("b.isolated").as_bytes()).unwrap();
    assert_eq!((second.version, second.read_only), (Version::V2, ReadOnly::Writable));
    assert_eq!(second.files.len(), 3);
}

/// As luci-py's client/isolate_format.py (`determine_root_dir`) and client/isolated_format.py (`file_to_metadata`) make them, in
/// the last revision: there `read_only` changes no `m`.
#[test]
fn root_links_and_modes_are_those_of_the_original() {
    let bench = Bench::new(&[("src/test/data/a", "a\n"), ("src/test/sub/x", "x\n"), ("src/lib/x", "x\n")]);
    for (target, name) in [("./data/a", "dot"), ("sub/../data/a", "detour"), ("sub/", "slash")] {
        symlink(target, bench.path("src/test").join(name)).unwrap();
    }
    fs::set_permissions(bench.path("src/lib/x"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(bench.path("src/test/sub/x"), fs::Permissions::from_mode(0o1644)).unwrap();
    let sha1 = |text: &str| DigestFunction::Sha1.digest(text.as_bytes()).hex();
    let (a, x) = (sha1("a\n"), sha1("x\n"));
    let manifest = |files: &str, block: &str| {
        let text = format!("{{'variables': {{'command': ['x'], 'files': [{files}]{block}}}}}");
        bench.write("src/test/a.isolate", &text);
        bench.succeed(&[
            "check",
            "-i",
            "src/test/a.isolate",
            "-s",
            "a.isolated",
            "--namespace",
            "default-gzip",
        ]);
        bench.read("a.isolated")
    };
    let whole = |files: &str, read_only: u8, cwd: &str| {
        let end = format!(r#""read_only":{read_only},"relative_cwd":"{cwd}","version":"1.6"}}"#);
        format!(r#"{{"algo":"sha-1","command":["x"],"files":{{{files}}},{end}"#)
    };
    // The way up counts as it is written.
    let file = format!(r#"{{"h":"{a}","m":416,"s":2}}"#);
    let expected = whole(&format!(r#""test/data/a":{file}"#), 1, "test");
    assert_eq!(manifest("'../test/data/a'", ""), expected);
    assert_eq!(manifest("'data/a'", ""), whole(&format!(r#""data/a":{file}"#), 1, "."));
    // Links without detours; what they point to comes along.
    let links = r#""detour":{"l":"data/a"},"dot":{"l":"data/a"},"slash":{"l":"sub"}"#;
    let sub = format!(r#""sub/x":{{"h":"{x}","m":928,"s":2}}"#);
    let expected = whole(&format!(r#""data/a":{file},{links},{sub}"#), 1, ".");
    assert_eq!(manifest("'dot', 'detour', 'slash/'", ""), expected);
    // Set-user-ID, set-group-ID and sticky stay; read_only changes nothing of `m`.
    for read_only in 0..3 {
        let files = format!(r#""lib/x":{{"h":"{x}","m":3560,"s":2}},"test/{}"#, &sub[1..]);
        let block = format!(", 'read_only': {read_only}");
        assert_eq!(manifest("'../lib/x', 'sub/x'", &block), whole(&files, read_only, "test"));
    }
}

#[test]
fn every_function_packages_and_names_the_manifest() {
    let bench = Bench::new(SUITE);
    for function in DigestFunction::ALL {
        let line = bench.succeed(&["check", "src", "--function", function.name(), "-s", "x.isolated"]);
        let digest = function.digest(bench.read("x.isolated").as_bytes());
        assert_eq!(line, format!("{digest}  x\n"));
    }
}

#[test]
fn a_manifest_is_made_again_from_its_state_without_any_variables() {
    let bench = Bench::new(SUITE);
    let first = ["check", "-i", "src/test/a.isolate", "-s", "src/out/x.isolated"];
    let first = bench.succeed(&[&first[..], &VARIABLES].concat());
    assert!(
        bench
            .read("src/out/x.isolated.state")
            .contains(r#""isolate_file":"../test/a.isolate","path_variables":{"OUT":"../out"}"#)
    );
    // Nor the function.
    bench.succeed(
        &[&["check", "-i", "src/test/a.isolate", "-s", "1.isolated", "--function", "sha-1"], &VARIABLES[..]]
            .concat(),
    );
    assert!(bench.succeed(&["check", "-s", "1.isolated"]).starts_with("sha-1:"));
    assert!(bench.succeed(&["check", "-s", "1.isolated", "--function", "sha-256"]).starts_with("sha-256:"));
    // From anywhere.
    let told = bench.isolate_in("src/test", &["check", "-s", "../out/x.isolated"]);
    assert_eq!((told.out, told.code), (first.clone(), 0), "{}", told.err);
    // What is given anew counts.
    let again = bench.succeed(&[
        "check",
        "-i",
        "src/test/a.isolate",
        "-s",
        "src/out/x.isolated",
        "--config-variable",
        "bits",
        "32",
    ]);
    assert_ne!(again, first);
    let same = bench.succeed(&["check", "-s", "src/out/x.isolated"]);
    assert_eq!(same, again, "the new value was saved");
    // Another description has nothing to do with what was saved, and plain paths have no state.
    bench.write("src/test/b.isolate", "{'variables': {'files': ['<(OUT)/lib']}}");
    let other = bench.isolate(&["check", "-i", "src/test/b.isolate", "-s", "src/out/x.isolated"]);
    assert!(other.err.contains("variable `OUT` was not given"), "{other:?}");
    bench.succeed(&["check", "src", "-s", "src/out/x.isolated"]);
    assert!(!bench.path("src/out/x.isolated.state").exists());
    bench.write("src/out/x.isolated.state", "{}");
    let damaged = bench.isolate(&["check", "-s", "src/out/x.isolated"]);
    assert!(damaged.code == 2 && damaged.err.contains("remove it, and give -i FILE"), "{damaged:?}");
}

#[test]
fn only_a_part_of_the_tree_can_be_packaged() {
    let bench = Bench::new(SUITE);
    bench.succeed(
        &[
            &["check", "-i", "src/test/a.isolate", "-s", "x.isolated", "--subdir", "test/data"],
            &VARIABLES[..],
        ]
        .concat(),
    );
    let isolated = Isolated::parse(bench.read("x.isolated").as_bytes()).unwrap();
    let names: Vec<&str> = isolated.files.keys().map(|path| path.as_str()).collect();
    assert_eq!(names, ["test/data/a", "test/data/b"]);
    let part = |subdir: &str| {
        let args = ["check", "-i", "src/test/a.isolate", "--json", "--subdir", subdir];
        bench.isolate(&[&args[..], &VARIABLES].concat())
    };
    let told = part("<(OUT)");
    assert!(told.code == 0 && told.err.contains("checked 1 file"), "{told:?}");
    for (subdir, named) in [
        ("tset/data", "error: --subdir tset/data: no input is there"),
        ("<(NONE)", "error: --subdir <(NONE): variable `NONE` was not given: add --path-variable"),
        ("../x", "error: --subdir ../x: it is not below the root"),
        ("test/data/gone", "src/test/data/gone does not exist"),
    ] {
        let told = part(subdir);
        assert!(told.code == 2 && told.err.contains(named), "{subdir}: {told:?}");
    }
    // Without a description there are no variables.
    let told = bench.isolate(&["check", "src", "--subdir", "<(OUT)"]);
    assert!(told.code == 2 && told.err.contains("variable `OUT` was not given"), "{told:?}");
}

/// As Go's programs did it: any part of a path, and named files, too.
#[test]
fn a_filter_matches_any_part_of_a_path_and_what_is_named_itself() {
    let bench = Bench::new(&[
        ("src/a.pyc", "1"),
        ("src/run.log", "2"),
        ("src/d/deep_logs/x", "3"),
        ("src/d/b.log", "4"),
        ("src/d/keep", "5"),
        (
            "src/a.isolate",
            "{'variables': {'files': ['a.pyc', 'run.log', 'd/', 'd/deep_logs/', 'd/deep_logs/x']}}",
        ),
    ]);
    let left = |flags: &[&str]| {
        bench.succeed(&[&["check", "-i", "src/a.isolate", "-s", "a.isolated"][..], flags].concat());
        let isolated = Isolated::parse(bench.read("a.isolated").as_bytes()).unwrap();
        isolated.files.keys().map(|path| path.as_str().to_owned()).collect::<Vec<_>>()
    };
    let all = ["a.pyc", "d/b.log", "d/deep_logs/x", "d/keep", "run.log"];
    assert_eq!(left(&[]), all);
    assert_eq!(left(&["--blacklist", r"\.log$"]), all, "from the beginning only");
    assert_eq!(left(&["--ignored-path-filter-re", r"\.log$"]), ["a.pyc", "d/deep_logs/x", "d/keep"]);
    assert_eq!(left(&["-ignored-path-filter-re", r"\.pyc$"]), all[1..]);
    let both = ["--ignored-path-filter-re", "p_logs", "--ignored-path-filter-re", r"\.pyc$"];
    assert_eq!(left(&both), ["d/b.log", "d/keep", "run.log"]);
    let wrong = bench.isolate(&["check", "src", "--ignored-path-filter-re", "("]);
    assert!(wrong.code == 2 && wrong.err.contains("`(` is not a regular expression"), "{wrong:?}");
}

#[test]
fn a_layout_is_what_is_packaged_and_runs_with_no_server() {
    let bench = Bench::new(SUITE);
    let args = ["remap", "-i", "src/test/a.isolate", "-o", "laid/out"];
    fs::create_dir(bench.path("laid")).unwrap();
    assert_eq!(bench.succeed(&[&args[..], &VARIABLES].concat()), "laid/out\n");
    let laid_out = bench.path("laid/out");
    assert_eq!(files(&laid_out), ["out/lib", "test/data/a", "test/data/b", "test/run.sh"]);
    let output = Command::new("./run.sh").current_dir(laid_out.join("test")).output().unwrap();
    assert_eq!(output.stdout, b"a\n");
    let occupied = bench.isolate(&[&args[..], &VARIABLES].concat());
    assert!(
        occupied.code == 2 && occupied.err.contains("must be a new or an empty directory"),
        "{occupied:?}"
    );
    let told = bench.succeed(&["remap", "src/out"]);
    let temporary = Path::new(told.trim_end());
    assert_eq!(files(temporary), ["src/out/lib"]);
    fs::remove_dir_all(temporary).unwrap();
}

#[test]
fn manifests_in_files_are_shown_and_compared() {
    let bench = Bench::new(SUITE);
    bench.succeed(&["check", "src", "-s", "1.isolated", "--function", "sha-1", "--", "./x", "a b"]);
    fs::remove_file(bench.path("src/out/lib")).unwrap();
    bench.write("src/test/data/a", "longer\n");
    bench.write("src/test/data/b", "#!/bin/b\n");
    bench.write("src/new", "");
    bench.succeed(&["check", "src", "-s", "2.isolated", "--function", "sha-1"]);
    insta::assert_snapshot!("show", bench.succeed(&["show", "1.isolated"]));
    insta::assert_snapshot!("show_json", bench.succeed(&["show", "1.isolated", "--json"]));
    assert_eq!(bench.succeed(&["show", "--raw", "1.isolated"]), bench.read("1.isolated"));
    let different = bench.isolate(&["diff", "1.isolated", "2.isolated"]);
    assert_eq!(different.code, 1);
    insta::assert_snapshot!("diff", different.out);
    insta::assert_snapshot!("diff_json", bench.isolate(&["diff", "1.isolated", "2.isolated", "--json"]).out);
    let same = bench.isolate(&["diff", "2.isolated", "2.isolated"]);
    assert_eq!((same.code, &*same.out), (0, ""));
    let wrong = bench.isolate(&["diff", "2.isolated", "src/new"]);
    assert!(wrong.code == 2 && wrong.err.contains("src/new is not the manifest of a work item"), "{wrong:?}");
}

#[test]
fn descriptions_are_formatted_and_checked() {
    let bench = Bench::new(&[
        ("a.isolate", "# Mine\n{'variables':{'files':['b', # why\n'a']}}\n"),
        ("b.isolate", "{}\n"),
    ]);
    let check = bench.isolate(&["fmt", "--check", "a.isolate", "b.isolate"]);
    assert_eq!((check.code, &*check.out), (1, "a.isolate\n"));
    let told = bench.isolate(&["fmt", "a.isolate", "b.isolate"]);
    assert_eq!((told.code, &*told.out, &*told.err), (0, "", "formatted a.isolate\n"));
    let formatted =
        "# Mine\n{\n  'variables': {\n    'files': [\n      'b',  # why\n      'a',\n    ],\n  },\n}\n";
    assert_eq!(bench.read("a.isolate"), formatted);
    bench.succeed(&["fmt", "--check", "a.isolate", "b.isolate"]);
    let both = bench.isolate(&["fmt", "-", "--json"]);
    assert!(both.code == 2 && both.err.contains("its text goes to stdout, where --json prints"), "{both:?}");
    assert_eq!(both.out, "");
    bench.write("c.isolate", "{'files': []}");
    bench.write("a.isolate", "{\n}");
    let wrong = bench.isolate(&["fmt", "a.isolate", "c.isolate"]);
    assert!(wrong.code == 2 && wrong.err.contains("c.isolate:1:2: unknown key `files`"), "{wrong:?}");
    assert_eq!(bench.read("a.isolate"), "{\n}", "none is written when one is wrong");
}

#[test]
fn what_a_command_used_is_a_description_that_it_runs_from() {
    let bench = Bench::new(&[
        ("src/common/util.sh", "echo util\n"),
        ("src/common/other.sh", "no\n"),
        (
            "src/test/run.sh",
            "#!/bin/sh\n. ../common/util.sh\ncat data/*/1 link/2\n[ -f present ] && echo ok\necho x > made; cat made; echo y > old; cat old\n(cd data/sub && cat ./1) | ./tool\n",
        ),
        ("src/test/tool", "#!/bin/sh\ncat; echo \"tool $0\"\n"),
        ("src/test/present", ""),
        ("src/test/old", "from the last run\n"),
        ("src/test/unused", ""),
        ("src/test/data/sub/1", "1\n"),
        ("src/test/data/two/2", "2\n"),
        ("src/test/data/two/3", "3\n"),
        ("src/test/all/x", "1\n"),
    ]);
    symlink("data/two", bench.path("src/test/link")).unwrap();
    let told = bench.isolate_in("src/test", &["trace", "-o", "a.isolate", "--root", "..", "--", "./run.sh"]);
    assert_eq!((told.code, told.out.lines().last()), (0, Some("a.isolate")), "{told:?}");
    let expected = "{\n  'variables': {\n    'command': [\n      './run.sh',\n    ],\n    'files': [\n      '../common/util.sh',\n      'data/sub/1',\n      'data/two/2',\n      'link/2',\n      'present',\n      'run.sh',\n      'tool',\n    ],\n  },\n}\n";
    assert_eq!(bench.read("src/test/a.isolate"), expected);
    bench.succeed(&["fmt", "--check", "src/test/a.isolate"]);

    // In an empty directory it does the same.
    bench.succeed(&["remap", "-i", "src/test/a.isolate", "-o", "copy"]);
    let run = |dir: PathBuf| {
        String::from_utf8(Command::new("./run.sh").current_dir(dir).output().unwrap().stdout).unwrap()
    };
    let expected = "util\n1\n2\nok\nx\ny\n1\ntool ./tool\n";
    assert_eq!(run(bench.path("copy/test")), expected);
    assert_eq!(told.out.strip_suffix("a.isolate\n"), Some(expected));

    // A description that was written by hand, and is out of date.
    bench.write(
        "src/test/b.isolate",
        "{'variables': {'command': ['./run.sh'], 'files': ['run.sh', 'data/', 'unused', '../common/']}}",
    );
    let compared = bench.isolate(&["check", "-i", "src/test/b.isolate", "--trace"]);
    let lines: Vec<&str> = compared.out.lines().filter(|line| line.starts_with(['+', '-'])).collect();
    let expected = [
        "+ test/link",
        "+ test/present",
        "+ test/tool",
        "- common/other.sh",
        "- test/data/two/3",
        "- test/unused",
    ];
    assert_eq!((compared.code, lines), (1, expected.to_vec()), "{compared:?}");
    let whole = bench.isolate(&["check", "-i", "src/test/a.isolate", "--trace"]);
    assert_eq!(whole.code, 0, "{whole:?}");
}

#[test]
fn a_traced_command_hands_on_its_code_and_one_that_is_missing_is_told() {
    let bench = Bench::new(&[("fail.sh", "#!/bin/sh\nexit 3\n")]);
    let absolute = bench.path("fail.sh").display().to_string();
    let told = bench.isolate(&["trace", "-o", "a.isolate", "--", &absolute]);
    assert!(told.code == 3 && told.err.contains("the command failed"), "{told:?}");
    assert!(bench.read("a.isolate").contains("'./fail.sh'"), "the program is found in the copy");
    let told = bench.isolate(&["trace", "-o", "b.isolate", "--", "./gone"]);
    assert!(told.code == 2 && told.err.contains("could not start or follow `./gone`"), "{told:?}");
    let output = Command::new(env!("CARGO_BIN_EXE_isolate"))
        .args(["trace", "-o", "b.isolate", "--", "./fail.sh"])
        .current_dir(bench.path(""))
        .env("PATH", bench.path("none"))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && told.contains("strace is not installed: `apt-get"), "{told}");
    assert!(!bench.path("b.isolate").exists());
}

#[test]
fn completions_and_manuals_know_every_verb() {
    let bench = Bench::new(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let script = bench.succeed(&["completions", shell]);
        assert!(script.contains("batcharchive") && script.contains("isolated-version"), "{shell}");
    }
    assert!(bench.succeed(&["man"]).contains("batcharchive"));
    bench.succeed(&["man", "--output", "man1"]);
    let pages = files(&bench.path("man1"));
    assert_eq!(pages.len(), 15, "{pages:?}");
    assert!(bench.read("man1/isolate-trace.1").contains("strace"));
}

#[test]
fn what_a_batch_says_is_checked_before_anything_is_sent() {
    let bench = Bench::new(SUITE);
    let dir = bench.path("").display().to_string();
    for (text, named) in [
        ("{}".to_owned(), "missing field `version`"),
        (format!(r#"{{"version":2,"dir":"{dir}","args":[]}}"#), "`version` is 2"),
        (r#"{"version":1,"dir":"src","args":[]}"#.to_owned(), "not an absolute path"),
        (
            format!(r#"{{"version":1,"dir":"{dir}","args":["--nonsense"]}}"#),
            "unexpected argument '--nonsense'",
        ),
        (format!(r#"{{"version":1,"dir":"{dir}","args":["gone"]}}"#), "cannot reach"),
    ] {
        bench.write("a.isolated.gen.json", &text);
        let told = bench.isolate(&["batcharchive", "a.isolated.gen.json"]);
        let gone = named == "cannot reach";
        assert!(told.code != 0 && (gone || told.err.contains(named)), "{text}: {told:?}");
    }
    bench.write("a.isolated.gen.json", &format!(r#"{{"version":1,"dir":"{dir}","args":["src"]}}"#));
    bench.write("b.isolated.gen.json", &format!(r#"{{"version":1,"dir":"{dir}","args":["src"]}}"#));
    let told = bench.isolate(&["batcharchive", "a.isolated.gen.json", "b.isolated.gen.json"]);
    assert!(told.code == 2 && told.err.contains("as that of a.isolated.gen.json"), "{told:?}");
}

/// What is read-only is so where it is laid out; the manifest keeps the file's own permissions.
#[test]
fn permissions_are_the_files_own() {
    let bench = Bench::new(&[("d/f", "x")]);
    bench.succeed(&["check", "d", "--read-only", "2", "-s", "x.isolated"]);
    let isolated = Isolated::parse(bench.read("x.isolated").as_bytes()).unwrap();
    let Some(Entry::File { mode, .. }) = isolated.files.values().next() else { panic!("{isolated:?}") };
    assert_eq!((*mode, isolated.read_only), (Some(0o640), ReadOnly::FilesAndDirs));
}

#[test]
fn verbs_report_as_json() {
    let bench = Bench::new(SUITE);
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let checked = json(bench.succeed(&["check", "src/test", "--json"]));
    let laid_out = json(bench.succeed(&["remap", "src/test", "-o", "copy", "--json", "-s", "x.isolated"]));
    assert_eq!((&laid_out["directory"], &laid_out["packaged"]), (&"copy".into(), &checked));
    assert_eq!(checked["files"], 4);
    assert!(bench.read("x.isolated").contains(r#""algo":"blake3""#), "the manifest is written here, too");
    let formatted = bench.isolate(&["fmt", "--check", "--json", "src/test/a.isolate"]);
    assert_eq!(
        (formatted.code, json(formatted.out)),
        (1, serde_json::json!({"changed": ["src/test/a.isolate"]}))
    );
    bench.write("exit.isolate", "{'variables': {'command': ['sh', '-c', 'exit 9']}}");
    let run = bench.isolate(&["run", "-i", "exit.isolate", "--dump-json", "run.json"]);
    assert_eq!((run.code, &json(bench.read("run.json"))["exit_code"]), (9, &9.into()));
}

#[test]
fn what_is_left_out_is_named_and_flags_of_old_build_scripts_work() {
    let bench = Bench::new(SUITE);
    bench.write("loop.isolate", "{'variables': {'files': ['loop']}}");
    symlink("loop", bench.path("loop")).unwrap();
    let looping = bench.isolate(&["check", "-i", "loop.isolate"]);
    assert!(
        looping.code == 2 && looping.err.contains("loop: the symlink leads back to itself"),
        "{looping:?}"
    );
    symlink("nowhere", bench.path("src/out/dangling")).unwrap();
    let refused = bench.isolate(&["check", "src"]);
    let told = "src/out/dangling does not exist, or is a symlink that points to nothing (--ignore-broken-items leaves";
    assert!(refused.code == 2 && refused.err.contains(told), "{refused:?}");
    for flag in ["--ignore-broken-items", "--ignore_broken_items", "--allow-missing-file-dir"] {
        let told = bench.isolate(&[
            "check",
            "src",
            flag,
            "--ignored-path-filter-re",
            "src/test",
            "-r",
            "x.isolated",
        ]);
        assert!(
            told.code == 0 && told.err.contains("checked 1 file (4 B), left out 1 broken input"),
            "{told:?}"
        );
        let named =
            format!("warning: left out {}: it is not there", bench.path("src/out/dangling").display());
        assert!(told.err.contains(&named), "{told:?}");
    }
}

#[test]
fn old_flags_without_a_meaning_are_taken_and_told_in_one_line() {
    let bench = Bench::new(SUITE);
    let plain = bench.isolate(&["check", "src"]);
    let old = ["-v", "-v", "--no-log", "-l", "x.log", "--skip-refresh", "-max-concurrent-checks", "8"];
    let told = bench.isolate(&[&["check", "src"][..], &old].concat());
    assert_eq!((told.code, told.out), (0, plain.out));
    let note = "note: without effect here: --verbose, --log-file, --no-log, --skip-refresh, --max-concurrent-checks\n";
    assert_eq!(told.err, format!("{note}{}", plain.err));
    assert!(!bench.path("x.log").exists());
    let told = bench.isolate(&["-v", "check", "src", "-quiet"]);
    assert_eq!((told.code, &*told.err), (0, ""));
}

#[test]
fn a_namespace_says_how_blobs_are_named() {
    let bench = Bench::new(SUITE);
    for (namespace, function) in
        [("default", "sha-1:"), ("sha256-deflate", "sha-256:"), ("sha512-x", "sha-512:")]
    {
        let line = bench.succeed(&["check", "src", "--namespace", namespace]);
        assert!(line.starts_with(function), "{line}");
    }
    let both = bench.isolate(&["check", "src", "--namespace", "default", "--function", "blake3"]);
    assert!(both.code == 2 && both.err.contains("cannot be used with"), "{both:?}");
    let wrong = bench.isolate(&["check", "src", "--namespace", "a/b"]);
    assert!(wrong.code == 2 && wrong.err.contains("a namespace has letters"), "{wrong:?}");
}
