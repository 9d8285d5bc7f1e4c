//! Tests that Bazel 4.2.3 built with `shard_count`, run on bots by the driver bazel from their runfiles alone.

use crate::{bazel_workspace::Bazel, support::finished};
use serde_json::Value;
use std::{fs, path::Path};
use tests::{Finished, System};

const FILES: [(&str, &str); 6] = [
    ("shards/BUILD", include_str!("shards/BUILD")),
    ("shards/words.txt", include_str!("shards/words.txt")),
    ("shards/sh.sh", include_str!("shards/sh.sh")),
    ("shards/part.py", include_str!("shards/part.py")),
    ("shards/py.py", include_str!("shards/py.py")),
    ("shards/cc.cc", include_str!("shards/cc.cc")),
];

/// The tests, as Bazel built them, archived as `docs/testing.md` says. The digests of `//shards:sh`, `:py` and `:cc`.
async fn archived(system: &System) -> [String; 3] {
    let bazel = Bazel::new("0", 1).await;
    for (name, text) in FILES {
        bazel.write(name, text);
    }
    let tested = bazel.run(&["test", "//shards:all"]).await.expect(0);
    assert!(tested.stdout.contains("3 tests pass") || tested.stderr.contains("3 tests pass"), "{tested:?}");
    let mut digests = Vec::new();
    for name in ["sh", "py", "cc"] {
        let tree = format!("shards/{name}.runfiles");
        let mut command = system.command("isolate");
        command.args(["archive", "--root"]).arg(bazel.outputs());
        command.args([&tree, "--relative-cwd", &format!("{tree}/__main__"), "--blacklist", ".*MANIFEST"]);
        command.args(["--", &format!("./shards/{name}")]);
        let archived = finished(&mut command).await.expect(0);
        digests.push(archived.stdout.split_whitespace().next().unwrap().to_owned());
    }
    digests.try_into().unwrap()
}

/// Runs a test in four parts on the bots of the system; how it ended, and its report.
async fn run(system: &System, digest: &str, name: &str, args: &[&str]) -> (Finished, Value) {
    let report = system.path().join(format!("{name}.json"));
    let mut command = system.command("swarm");
    command.args(["run", digest, "--driver", "bazel", "--partitions", "4", "--retries", "0", "--name", name]);
    command.arg("--output-dir").arg(system.path().join(name)).arg("--json").arg(&report).args(args);
    let finished = finished(&mut command).await;
    assert!(report.exists(), "{finished:?}");
    let text = fs::read_to_string(&report).unwrap();
    (finished, serde_json::from_str(&text).unwrap())
}

/// What became of the parts, in order, and why.
fn outcomes(report: &Value) -> Vec<(String, String)> {
    let test = |test: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let message = test["problems"].get(0).map(|problem| text(&problem["message"])).unwrap_or_default();
        (text(&test["id"]), text(&test["outcome"]), message)
    };
    let mut tests: Vec<_> = report["tests"].as_array().unwrap().iter().map(test).collect();
    tests.sort();
    let ids: Vec<&str> = tests.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(ids, ["0/4", "1/4", "2/4", "3/4"]);
    tests.into_iter().map(|(_, outcome, message)| (outcome, message)).collect()
}

/// The text of every file of this name below `dir`, with the part that it belongs to, sorted.
fn files(dir: &Path, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.file_name().unwrap() == name {
                let part =
                    path.iter().find_map(|part| part.to_str().filter(|part| part.starts_with("shard_")));
                found.push(format!("{}: {}", part.unwrap(), fs::read_to_string(&path).unwrap().trim_end()));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn shards_of_bazels_tests_are_shared_out_and_their_faults_named() {
    let system = System::start(2).await;
    let [sh, py, cc] = archived(&system).await;
    let seen: Vec<_> = (0..4).map(|shard| format!("shard_{}_of_4: shard {shard}", shard + 1)).collect();
    for (digest, name) in [(&sh, "sh"), (&py, "py"), (&cc, "cc")] {
        let (finished, report) = run(&system, digest, name, &[]).await;
        finished.expect(0);
        assert!(outcomes(&report).iter().all(|(outcome, _)| outcome == "passed"), "{name}: {report:#}");
        assert_eq!(report["unverified"], serde_json::json!([name]));
        assert_eq!(files(&system.path().join(name), "seen"), seen, "undeclared outputs of {name}");
    }
    let written = files(&system.path().join("sh"), "test.xml");
    assert!(written.len() == 4 && written[2].contains("testcase name='part2'"), "{written:?}");

    let (finished, report) = run(&system, &sh, "sh-fault", &["--env", "FAULT=fault"]).await;
    finished.expect(1);
    let outcomes_of_sh = outcomes(&report);
    assert_eq!(outcomes_of_sh[0].0, "passed", "{report:#}");
    for (place, outcome, message) in [
        (1, "crashed", "signal 11 (SIGSEGV)"),
        (2, "crashed", "exit code 0"),
        (3, "failed", "has not touched TEST_SHARD_STATUS_FILE"),
    ] {
        let (found, why) = &outcomes_of_sh[place];
        assert!(found == outcome && why.contains(message), "{place}: {report:#}");
    }
    // With all that the driver gives to a part.
    let shard = report["tests"][0]["shard"].as_str().unwrap();
    for (part, code, words) in [
        ("0/4", 0, "0/4 passed"),
        ("1/4", 1, "1/4 crashed: signal 11"),
        ("3/4", 1, "has not touched TEST_SHARD"),
    ] {
        let again = system.run("swarm", ["reproduce", shard, "--test", part]).await.expect(code);
        assert!(again.stderr.contains(words), "{part}: {again:?}");
    }
    let (finished, report) = run(&system, &cc, "cc-fault", &["--env", "FAULT=fault"]).await;
    finished.expect(1);
    let found: Vec<_> = outcomes(&report).into_iter().map(|(outcome, _)| outcome).collect();
    assert_eq!(found, ["passed", "crashed", "crashed", "passed"], "{report:#}");
}
