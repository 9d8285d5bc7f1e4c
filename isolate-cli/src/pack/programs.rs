//! The part of a launcher by which all test programs of a workspace are one, to those who ask as they would ask a test
//! program of Rust: the bots' driver libtest, and people who look at one test.
//!
//! `--list` lists the tests of all, `--exact 'PROGRAM TEST'` runs that one; PROGRAM is what nextest calls it. Everything else on
//! the command line goes to the program as it is. A test that is not there gives "0 passed", as with one program.

use super::{
    beside::{Beside, quoted},
    nextest::{Build, Listing, Packages},
};
use std::path::Path;

/// Text for a shell, in which `here` is the directory of `beside`.
pub(super) fn shell(listing: &Listing, packages: &Packages, beside: &Beside) -> String {
    let ids: Vec<&str> = listing.binaries.keys().map(String::as_str).collect();
    let members = packages.members();
    let cases: String = listing
        .binaries
        .iter()
        .map(|(id, binary)| {
            let dir = members.get(&*binary.package_id).copied().unwrap_or(&packages.workspace_root);
            let variables = variables(&listing.build, &binary.package_id, beside);
            let (dir, program) = (beside.reaching(dir), beside.reaching(&binary.path));
            let id = quoted(id);
            format!(
                "    {id})\n        cd {dir}\n        export CARGO_MANIFEST_DIR=\"$PWD\"\n        exec {variables}{program} \"$@\" ;;\n"
            )
        })
        .collect();
    let ids = quoted(&ids.join(" "));
    format!(
        r#"
# As one test program of Rust: `--list`, and `--exact 'PROGRAM TEST'`.
program() {{
    id=$1
    shift
    case $id in
{cases}    esac
}}
programs={ids}
asked= id=
for word do
    case $word in
    --) break ;;
    --list) asked=list ;;
    --exact) asked=${{asked:-one}} ;;
    esac
done
if [ "$asked" = list ]; then
    for id in $programs; do
        told=$(program "$id" "$@")
        [ -z "$told" ] || printf '%s\n' "$told" | sed "s|^|$id |"
    done
    exit
elif [ "$asked" = one ]; then
    for word do
        shift
        case $word in
        *' '*) case " $programs " in *" ${{word%% *}} "*) id=${{word%% *}} word=${{word#* }} ;; esac ;;
        esac
        set -- "$@" "$word"
    done
    if [ -n "$id" ]; then program "$id" "$@"; fi
    echo "none of the programs has this test: name it as --list does, 'PROGRAM TEST'" >&2
    echo 'running 0 tests'
    echo 'test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s'
    exit
fi
"#
    )
}

/// What the tests of a package find in the environment besides: `env` with assignments, whose names may be none of a shell's.
fn variables(build: &Build, package: &str, beside: &Beside) -> String {
    let mut words = Vec::new();
    let mut set = |name: &str, path: &Path| words.push(format!("{}={}", quoted(name), beside.reaching(path)));
    if let Some(out) = build.build_script_out_dirs.get(package) {
        set("OUT_DIR", &build.build_directory().join(out));
    }
    for built in build.non_test_binaries.get(package).into_iter().flatten() {
        let path = build.target_directory.join(&built.path);
        set(&format!("CARGO_BIN_EXE_{}", built.name), &path);
        set(&format!("NEXTEST_BIN_EXE_{}", built.name), &path);
    }
    if words.is_empty() { String::new() } else { format!("env {} ", words.join(" ")) }
}
