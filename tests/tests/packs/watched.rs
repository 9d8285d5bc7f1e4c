//! A test that was watched, and a program with a plugin, on a bot that has nothing else of them.

use crate::support::{archive, finished, isolate};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};
use tests::System;
use tokio::process::Command;

/// Files in a directory of their own; what begins as a script is one.
fn project(system: &System, files: &[(&str, &str)]) -> PathBuf {
    let dir = system.path().join("project");
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    dir
}

/// Takes the project away, and runs what was archived of it.
async fn run_from_digest(system: &System, dir: PathBuf, digest: &str) {
    fs::remove_dir_all(dir).unwrap();
    finished(system.command("swarm").args(["run", digest])).await.expect(0);
}

#[tokio::test]
async fn a_watched_test_runs_on_a_bot_from_what_it_was_seen_to_use() {
    let system = System::start(1).await;
    let script = "#!/bin/sh\nset -eu\ncd data\n[ \"$(cat a)\" = one ]\n[ \"$(../tool < ../more/b)\" = two ]\n[ ! -e c ]\n";
    let dir = project(
        &system,
        &[
            ("run.sh", script),
            ("tool", "#!/bin/sh\nexec cat\n"),
            ("data/a", "one"),
            ("more/b", "two"),
            ("data/unused", ""),
        ],
    );
    isolate(&system, &dir, ["trace", "-o", "t.isolate", "--", "./run.sh"]).await;
    let description = fs::read_to_string(dir.join("t.isolate")).unwrap();
    assert!(description.contains("'data/a'") && !description.contains("unused"), "{description}");
    let digest = archive(&system, &dir, "t.isolate").await;
    run_from_digest(&system, dir, &digest).await;
}

#[tokio::test]
async fn a_program_with_a_plugin_and_a_library_beside_it_runs_on_a_bot() {
    let system = System::start(1).await;
    let main = "#include <dlfcn.h>\nint six();\nint main() {\n  void *p = dlopen(\"plugins/seven.so\", RTLD_NOW);\n  if (!p) return 1;\n  return six() * reinterpret_cast<int (*)()>(dlsym(p, \"seven\"))() == 42 ? 0 : 2;\n}\n";
    let dir = project(
        &system,
        &[
            ("main.cc", main),
            ("six.cc", "#include <string>\nint six() { return std::string(\"sextet\").size(); }\n"),
            ("seven.cc", "int six(); extern \"C\" int seven() { return six() + 1; }\n"),
            ("lib/.keep", ""),
            ("plugins/.keep", ""),
        ],
    );
    for line in [
        "-shared -fPIC six.cc -o lib/libsix.so",
        "-shared -fPIC seven.cc -o plugins/seven.so -Llib -lsix -Wl,-rpath,$ORIGIN/../lib",
        "main.cc -o main -Llib -lsix -Wl,-rpath,$ORIGIN/lib",
    ] {
        let mut compile = Command::new("c++");
        finished(compile.args(line.split_whitespace()).current_dir(&dir)).await.expect(0);
    }
    isolate(&system, &dir, ["pack", "elf", "main", "-o", "t.isolate", "--data", "plugins/seven.so"]).await;
    let digest = archive(&system, &dir, "t.isolate").await;
    run_from_digest(&system, dir, &digest).await;
}
