//! Recipes for what was built, on programs that are built here.

use super::Bench;
use std::{fs, path::Path, process::Command};

/// `bin/prog` needs `lib/libone.so`, found relative to itself; that needs `far/libtwo.so`, which nothing finds by itself.
fn bench() -> Bench {
    let bench = Bench::empty();
    for (path, text) in [
        ("two.c", "int two(void) { return 2; }\n"),
        ("one.c", "int two(void); int one(void) { return two() - 1; }\n"),
        (
            "prog.c",
            "#include <stdio.h>\nint one(void);\nint main(int n, char **a) { printf(\"%d %s\\n\", one(), a[n - 1]); }\n",
        ),
    ] {
        fs::write(bench.path(path), text).unwrap();
    }
    for made in ["bin", "lib", "far"] {
        fs::create_dir(bench.path(made)).unwrap();
    }
    cc(&bench, &["-shared", "-fPIC", "two.c", "-o", "far/libtwo.so.1"]);
    std::os::unix::fs::symlink("libtwo.so.1", bench.path("far/libtwo.so")).unwrap();
    cc(&bench, &["-shared", "-fPIC", "one.c", "-o", "lib/libone.so", "-Lfar", "-ltwo"]);
    let rpath = "-Wl,-rpath,$ORIGIN/../lib,--allow-shlib-undefined";
    cc(&bench, &["prog.c", "-o", "bin/prog", "-Llib", "-lone", rpath]);
    bench
}

fn cc(bench: &Bench, args: &[&str]) {
    let output = Command::new("cc").args(args).current_dir(&bench.root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_program_runs_elsewhere_with_the_libraries_that_were_found() {
    let bench = bench();
    let packed = bench.isolate(&[
        "pack",
        "elf",
        "bin/prog",
        "-o",
        "bin/p.isolate",
        "--library-path",
        "far",
        "--",
        "word",
    ]);
    assert!(packed.status.success(), "{packed:?}");
    let description = fs::read_to_string(bench.root.join("bin/p.isolate")).unwrap();
    let expected = "{\n  'variables': {\n    'command': [\n      'env',\n      'LD_LIBRARY_PATH=../far',\n      './prog',\n      'word',\n    ],\n    'files': [\n      '../far/libtwo.so',\n      '../lib/libone.so',\n      'prog',\n    ],\n  },\n}\n";
    assert_eq!(description, expected);

    let copy = tempfile::tempdir().unwrap();
    let target = copy.path().join("tree");
    let laid_out = bench.isolate(&["remap", "-i", "bin/p.isolate", "-o", target.to_str().unwrap()]);
    assert!(laid_out.status.success(), "{laid_out:?}");
    // Nothing is left where it was built.
    for gone in ["far", "lib", "bin"] {
        fs::remove_dir_all(bench.root.join(gone)).unwrap();
    }
    assert!(target.join("far/libtwo.so.1").is_file(), "the link's target comes along");
    let output = Command::new("env")
        .args(["LD_LIBRARY_PATH=../far", "./prog", "word"])
        .current_dir(target.join("bin"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1 word\n");
}

#[test]
fn libraries_of_the_base_stay_where_they_are() {
    let bench = bench();
    let far = bench.root.join("far");
    let args = [
        "pack",
        "elf",
        "bin/prog",
        "-o",
        "p.isolate",
        "--library-path",
        "far",
        "--base",
        "/lib",
        "--base",
        "/usr",
    ];
    let packed = bench.isolate(&[&args[..], &["--base", far.to_str().unwrap()]].concat());
    assert!(packed.status.success(), "{packed:?}");
    let description = fs::read_to_string(bench.root.join("p.isolate")).unwrap();
    assert!(!description.contains("libtwo") && !description.contains("LD_LIBRARY_PATH"), "{description}");
    assert!(description.contains("'lib/libone.so'") && description.contains("'bin/prog'"), "{description}");
}

#[test]
fn what_is_missing_or_no_program_is_named_with_the_remedy() {
    let bench = bench();
    let (code, error) = bench.told(&["pack", "elf", "bin/prog", "-o", "p.isolate"]);
    assert!(
        code == 2 && error.contains("add their directories with --library-path: libtwo.so (for "),
        "{error}"
    );
    let (code, error) = bench.told(&["pack", "elf", "one.c", "-o", "p.isolate"]);
    assert!(code == 2 && error.contains("one.c is not an ELF program"), "{error}");
    let (code, error) = bench.told(&["pack", "elf", "gone", "-o", "p.isolate"]);
    assert!(code == 2 && error.contains("gone: no such program"), "{error}");
    assert!(!Path::new(&bench.root.join("p.isolate")).exists());
}

/// A plugin that is loaded by name at run time, and the library that only it needs.
#[test]
fn plugins_come_along_with_what_they_need() {
    let bench = bench();
    fs::write(bench.path("plugin.cc"), "int two(); struct P { int v; P() : v(two() * 21) {} } p;\nextern \"C\" int answer() { return p.v; }\n").unwrap();
    let main = "#include <dlfcn.h>\n#include <iostream>\nint main() {\n  void *p = dlopen(\"plugins/answer.so\", RTLD_NOW);\n  if (!p) { std::cerr << dlerror() << std::endl; return 1; }\n  std::cout << reinterpret_cast<int (*)()>(dlsym(p, \"answer\"))() << std::endl;\n}\n";
    fs::write(bench.path("main.cc"), main).unwrap();
    fs::write(bench.path("two.cc"), "int two() { return 2; }\n").unwrap();
    fs::create_dir(bench.path("plugins")).unwrap();
    let cxx = |args: &[&str]| {
        let output = Command::new("c++").args(args).current_dir(&bench.root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    cxx(&["-shared", "-fPIC", "two.cc", "-o", "far/libtwo++.so"]);
    cxx(&[
        "-shared",
        "-fPIC",
        "plugin.cc",
        "-o",
        "plugins/answer.so",
        "-Lfar",
        "-ltwo++",
        "-Wl,-rpath,$ORIGIN/../far",
    ]);
    cxx(&["main.cc", "-o", "main"]);
    let packed =
        bench.isolate(&["pack", "elf", "main", "-o", "p.isolate", "--data", "plugins/answer.so", "--json"]);
    assert!(packed.status.success(), "{packed:?}");
    let report = String::from_utf8(packed.stdout).unwrap();
    assert!(
        report.contains("\"description\": \"p.isolate\"") && report.contains("\"far/libtwo++.so\""),
        "{report}"
    );
    let copy = bench.path("copy");
    let laid_out = bench.isolate(&["remap", "-i", "p.isolate", "-o", copy.to_str().unwrap()]);
    assert!(laid_out.status.success(), "{laid_out:?}");
    for gone in ["far", "plugins", "main"] {
        fs::rename(bench.path(gone), bench.path(&format!("away-{gone}"))).unwrap();
    }
    let output = Command::new("./main").current_dir(&copy).output().unwrap();
    assert_eq!((&*output.stdout, output.status.code()), (&b"42\n"[..], Some(0)), "{output:?}");
}

#[test]
fn programs_without_libraries_and_for_other_machines() {
    let bench = bench();
    fs::write(bench.path("plain.c"), "int main(void) { return 0; }\n").unwrap();
    cc(&bench, &["-static", "plain.c", "-o", "static"]);
    let packed = bench.isolate(&["pack", "elf", "static", "-o", "s.isolate"]);
    let told = String::from_utf8(packed.stderr).unwrap();
    assert!(packed.status.success() && told.contains("packed the program with 0 shared objects"), "{told}");

    // The library beside it is for another machine: as the dynamic linker does, it is passed over.
    let library = fs::read(bench.path("lib/libone.so")).unwrap();
    let for_arm = |bytes: &[u8]| [&bytes[..18], &[183, 0], &bytes[20..]].concat();
    fs::write(bench.path("lib/libone.so"), for_arm(&library)).unwrap();
    let (code, error) = bench.told(&["pack", "elf", "bin/prog", "-o", "p.isolate"]);
    assert!(code == 2 && error.contains("--library-path: libone.so (for "), "{error}");
    // A program for it finds that, and nothing of this machine.
    let program = fs::read(bench.path("bin/prog")).unwrap();
    fs::write(bench.path("bin/prog"), for_arm(&program)).unwrap();
    let (code, error) = bench.told(&["pack", "elf", "bin/prog", "-o", "p.isolate"]);
    assert!(code == 2 && error.contains("libc.so.6 (for ") && !error.contains("libone.so (for"), "{error}");
}

#[test]
fn a_dynamic_linker_of_ones_own_is_told() {
    let bench = bench();
    fs::write(bench.path("plain.c"), "int main(void) { return 0; }\n").unwrap();
    cc(&bench, &["plain.c", "-o", "prog", "-Wl,--dynamic-linker,/opt/ld.so"]);
    let (code, told) = bench.told(&["pack", "elf", "prog", "-o", "p.isolate"]);
    assert!(code == 0 && told.contains("warning: /opt/ld.so starts the program"), "{told}");
}
