//! Test programs of the Rust that builds this one.

use super::{Bench, PATIENCE, SHORT, assert_verdicts, crashed, fixture};
use crate::{
    attempt::{CommandExit, Ending},
    suite::{Driver, TestVerdict},
};
use TestVerdict::{Failed, Passed, Skipped, TimedOut, Unknown};
use std::{collections::HashSet, fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

fn program() -> PathBuf {
    let arguments = ["--test", "--edition=2021", "-o", "OUT", "SOURCE"];
    let remedy = "install Rust with rustup (https://rustup.rs)";
    fixture::built("libtest.rs", include_str!("suite.rs"), "rustc", &arguments, remedy)
}

pub(super) fn bench(arguments: &[&str]) -> Bench {
    let driver = Driver::Libtest;
    Bench { hang: &["hangs", "suite::bin/it hangs"], ..Bench::new(driver, program(), arguments) }
}

fn verdicts() -> Vec<(&'static str, TestVerdict)> {
    vec![
        ("inner::passes", Passed),
        ("inner::fails", Failed),
        ("imitates_a_summary", Failed),
        ("aborts", crashed("signal 6 (SIGABRT)")),
        ("exits", crashed("exit code 0")),
        ("exits_as_if_it_had_failed", crashed("exit code 101")),
        ("hangs", TimedOut),
        ("is_killed", crashed("signal 9 (SIGKILL)")),
        ("panics_as_it_should", Passed),
    ]
}

#[tokio::test]
async fn every_test_has_its_verdict_whatever_the_others_do() {
    let bench = bench(&["--nocapture"]);
    let told = bench.run_all().await;
    assert_verdicts(&told, &verdicts());
    let place = |name: &str| told.listed.iter().position(|test| test.name == name).unwrap();
    assert!(told.listed[place("ignored")].disabled);
    assert_eq!(told.listed[place("inner::passes")].group.as_deref(), Some("inner"));
    let fails = told.report(place("inner::fails"));
    assert!(fails.message.contains("panicked at") && fails.message.contains("one is two"), "{fails:?}");
    let aborts = String::from_utf8_lossy(&told.report(place("aborts")).tail).into_owned();
    assert!(aborts.contains("last words"), "{aborts}");
    assert!(told.report(place("hangs")).duration >= SHORT);
    let passes = super::super::log::file_name("inner::passes");
    assert!(bench.log(&format!("{passes}.log")).contains("said by passes"));
    assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(1))));
}

#[tokio::test]
async fn a_test_that_is_not_there_is_unknown_and_one_may_come_again() {
    let bench = bench(&[]);
    let told = bench.run(&[&[(0, "gone"), (1, "inner::passes")], &[(2, "inner::passes")], &[]]).await;
    assert_eq!((&told.report(0).verdict, &told.report(1).verdict), (&Unknown, &Passed));
    assert_eq!(told.report(2).verdict, Passed);
    assert!(told.report(0).message.contains("does not have it"));
}

/// What `isolate pack cargo` makes, in short.
#[tokio::test]
async fn a_launcher_speaks_for_several_programs() {
    let mut bench = bench(&[]);
    let launcher = format!(
        "#!/bin/sh\ncase \"$*\" in *--list*) '{0}' \"$@\" | sed 's|^|suite::bin/it |'; exit ;; esac\nfor word do shift; set -- \"$@\" \"${{word#suite::bin/it }}\"; done\nexec '{0}' \"$@\"\n",
        program().display()
    );
    let path = bench.path("in/run");
    fs::write(&path, launcher).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    bench.command.program = path;
    let told = bench.run_all().await;
    let names: Vec<_> =
        verdicts().into_iter().map(|(name, verdict)| (format!("suite::bin/it {name}"), verdict)).collect();
    let expected: Vec<_> = names.iter().map(|(name, verdict)| (name.as_str(), verdict.clone())).collect();
    assert_verdicts(&told, &expected);
    let groups: HashSet<_> = told.listed.iter().map(|test| test.group.as_deref().unwrap()).collect();
    assert_eq!(groups, HashSet::from(["suite::bin/it", "suite::bin/it inner"]));
}

#[tokio::test]
async fn a_program_that_does_not_list_or_start_fails_the_attempt_and_says_why() {
    let mut bench = bench(&[]);
    bench.command.program = "/bin/false".into();
    let told = bench.run_all().await;
    assert_eq!(told.end.ending, Ending::ClientError);
    assert!(told.end.message.contains("`/bin/false --list --format terse` ended with exit code 1"));
    bench.command.program = "/no/such/program".into();
    let told = bench.run(&[&[(0, "a")]]).await;
    assert_eq!(told.end.ending, Ending::ClientError);
    assert!(told.end.took < PATIENCE && told.end.message.contains("/no/such/program"));
}

#[tokio::test]
async fn filters_and_threads_of_the_step_are_not_those_of_a_test() {
    for threads in [&["--test-threads", "2"][..], &["--test-threads=2"]] {
        let bench = bench(&[threads, &["inner::fails"]].concat());
        let told = bench.run(&[&[(0, "inner::passes")]]).await;
        assert_eq!(told.report(0).verdict, Passed, "{told:?}");
    }
}

#[tokio::test]
async fn ignored_tests_run_when_the_step_says_so() {
    let bench = bench(&["--ignored"]);
    let told = bench.run_all().await;
    assert_verdicts(&told, &[("ignored", crashed("signal 6 (SIGABRT)"))]);
    assert_ne!(told.report(0).verdict, Skipped);
}
