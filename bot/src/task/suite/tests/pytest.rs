//! pytest, from PyPI in an environment of its own.

use super::{Bench, PATIENCE, SHORT, assert_verdicts, crashed, setup};
use crate::{
    attempt::{CommandExit, Ending},
    suite::{Driver, TestVerdict},
};
use TestVerdict::{Failed, Passed, Skipped, TimedOut, Unknown};
use std::fs;

pub(super) fn bench(arguments: &[&str]) -> Bench {
    let python = setup("suites", "pytest").join("bin/python");
    let arguments = [&["-m", "pytest", "-p", "no:cacheprovider"], arguments].concat();
    let mut bench = Bench::new(Driver::Pytest, python, &arguments);
    bench.hang = &["test_suite.py::test_hangs"];
    fs::write(bench.path("in/test_suite.py"), include_str!("suite.py")).unwrap();
    let log = bench.path("tmp/suite.log").display().to_string();
    bench.command.environment.insert("SUITE_LOG".into(), log);
    bench
}

#[tokio::test]
async fn every_test_has_its_verdict_whatever_the_others_do() {
    let bench = bench(&["--maxfail=1", "-q"]);
    let told = bench.run_all().await;
    let expected = [
        ("passes", Passed),
        ("fails", Failed),
        ("skips", Skipped),
        ("is_expected_to_fail", Skipped),
        ("needs_what_is_broken", Failed),
        ("leaves_a_mess", Failed),
        ("param[a b]", Passed),
        ("param[new\\nline]", Passed),
        ("param[\\xe9[x]::y]", Passed),
        ("param[\\udc80]", Passed),
        ("aborts", crashed("signal 6 (SIGABRT)")),
        ("exits", crashed("exit code 0")),
        ("exits_politely", Failed),
        ("stops_the_session", Failed),
        ("is_killed", crashed("signal 9 (SIGKILL)")),
        ("segfaults", crashed("signal 11 (SIGSEGV)")),
        ("hangs", TimedOut),
        ("forks", Passed),
        ("passes_last", Passed),
    ];
    let named = expected.map(|(name, verdict)| (format!("test_suite.py::test_{name}"), verdict));
    let mut expected: Vec<_> = named.iter().map(|(name, verdict)| (name.as_str(), verdict.clone())).collect();
    expected.push(("test_suite.py::TestClass::test_method", Passed));
    assert_verdicts(&told, &expected);
    assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(1))));
    let report = |name: &str| {
        let index = told.listed.iter().position(|test| test.name.ends_with(name)).unwrap();
        told.report(index)
    };
    let text = |name| String::from_utf8_lossy(&report(name).tail).into_owned();
    assert!(report("_fails").message.contains("AssertionError: one is two"), "{:?}", report("_fails"));
    assert!(text("_fails").contains("said by test_fails") && text("_fails").contains("assert 1 == 2"));
    assert!(report("_broken").message.starts_with("in its setup: "), "{:?}", report("_broken"));
    assert!(report("_mess").message.starts_with("in its teardown: "), "{:?}", report("_mess"));
    assert!(report("_fail").message.contains("expected failure: known"));
    assert!(report("_aborts").message.starts_with("in its call, "), "{:?}", report("_aborts"));
    assert!(text("_aborts").contains("Fatal Python error: Aborted"), "{}", text("_aborts"));
    assert!(report("_hangs").duration >= SHORT);
    let method = told.listed.iter().find(|test| test.name.ends_with("test_method")).unwrap();
    assert_eq!(method.group.as_deref(), Some("test_suite.py::TestClass"));
    assert!(method.file.as_deref() == Some("test_suite.py") && method.line > Some(60), "{method:?}");
}

#[tokio::test]
async fn one_session_runs_all_batches_and_keeps_its_fixtures_up() {
    let bench = bench(&[]);
    let name = |name: &str| format!("test_suite.py::{name}");
    let (first, last) = (name("test_passes"), name("test_passes_last"));
    let told = bench.run(&[&[(0, &first)], &[(1, "gone.py::test_x"), (2, &last)], &[(3, &first)]]).await;
    assert_eq!([0, 2, 3].map(|index| told.report(index).verdict.clone()), [Passed, Passed, Passed]);
    assert_eq!(told.report(1).verdict, Unknown);
    assert_eq!((told.end.ending, told.end.message.as_str()), (Ending::Completed, ""));
    let log = fs::read_to_string(bench.path("tmp/suite.log")).unwrap();
    assert_eq!(log, "session up\nmodule up\nmodule down\nsession down\n");
    assert!(
        bench.log(&format!("{}.log", super::super::log::file_name(&first))).contains("said by test_passes")
    );
}

/// Two modules. What the tests of the first one share cannot be put away.
fn with_a_mess(scope: &str, mess: &str) -> Bench {
    let mut bench = bench(&[]);
    bench.hang = &["test_one.py::test_a"];
    let one = format!(
        "import os, time, pytest\n\n@pytest.fixture(scope='{scope}', autouse=True)\ndef mess():\n    yield\n    {mess}\n\n\
         def test_a():\n    time.sleep(0.3)\n"
    );
    fs::write(bench.path("in/test_one.py"), one).unwrap();
    fs::write(bench.path("in/test_two.py"), "def test_b():\n    pass\n").unwrap();
    bench
}

const A: (usize, &str) = (0, "test_one.py::test_a");
const B: (usize, &str) = (1, "test_two.py::test_b");

/// What goes wrong, what becomes of the test, and why.
fn messes() -> [(&'static str, TestVerdict, &'static str); 3] {
    [
        ("raise ValueError('in the way')", Failed, "ValueError: in the way"),
        ("os.abort()", crashed("signal 6 (SIGABRT)"), "signal 6 (SIGABRT)"),
        ("time.sleep(600)", TimedOut, "longer than"),
    ]
}

#[tokio::test]
async fn what_a_test_shares_is_put_away_as_a_part_of_it_when_what_comes_next_is_known() {
    let batches: [&[&[(usize, &str)]]; 2] = [&[&[A, B]], &[&[A], &[B]]];
    for (mess, verdict, why) in messes() {
        for batches in batches {
            let told = with_a_mess("module", mess).run(batches).await;
            let report = told.report(0);
            assert_eq!((&report.verdict, &told.report(1).verdict), (&verdict, &Passed), "{told:#?}");
            assert!(report.message.starts_with("in its teardown"), "{report:?}");
            assert!(report.message.contains(why), "{report:?}");
            let end = (told.end.ending, told.end.exit, told.end.message.as_str());
            assert_eq!(end, (Ending::Completed, Some(CommandExit::Code(1)), ""));
        }
    }
}

#[tokio::test]
async fn what_a_test_has_left_whose_end_was_told_is_told_of_it_and_not_of_the_next_one() {
    for (mess, _, why) in messes() {
        let told = Bench { late: true, ..with_a_mess("module", mess) }.run(&[&[A], &[B]]).await;
        assert_eq!((&told.report(0).verdict, &told.report(1).verdict), (&Passed, &Passed), "{told:#?}");
        assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(2))));
        for part in ["what test_one.py::test_a has left could not be put away: ", why] {
            assert!(told.end.message.contains(part), "{}", told.end.message);
        }
    }
}

#[tokio::test]
async fn what_the_session_has_shared_is_put_away_after_its_last_test() {
    let [raises, aborts, _] = messes();
    for (mess, verdict, why) in [raises, aborts] {
        let told = with_a_mess("session", mess).run(&[&[B], &[A]]).await;
        assert_eq!((&told.report(0).verdict, &told.report(1).verdict), (&verdict, &Passed), "{told:#?}");
        assert!(told.report(0).message.starts_with("in its teardown"), "{:?}", told.report(0));
        assert_eq!(told.end.message, "");
        let told = Bench { late: true, ..with_a_mess("session", mess) }.run(&[&[B], &[A]]).await;
        assert_eq!((&told.report(0).verdict, &told.report(1).verdict), (&Passed, &Passed), "{told:#?}");
        assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(2))));
        for part in ["what test_one.py::test_a has left", why] {
            assert!(told.end.message.contains(part), "{}", told.end.message);
        }
    }
}

#[tokio::test]
async fn a_test_that_comes_twice_in_a_row_is_set_up_twice() {
    let bench = bench(&[]);
    let suite = "import pytest\n\n@pytest.fixture\ndef fresh():\n    return []\n\n\
                 def test_a(fresh):\n    assert not fresh\n    fresh.append(1)\n";
    fs::write(bench.path("in/test_twice.py"), suite).unwrap();
    let name = "test_twice.py::test_a";
    let told = bench.run(&[&[(0, name)], &[(1, name)], &[(2, name)]]).await;
    assert_eq!([0, 1, 2].map(|index| told.report(index).verdict.clone()), [Passed, Passed, Passed]);
}

#[tokio::test]
async fn what_pytest_does_not_capture_is_in_the_logs_of_the_tests() {
    let bench = bench(&["-s"]);
    let test = |name: &str| {
        format!(
            "def test_{name}():\n    for n in range(300):\n        print('{name}', n, flush=n % 2 > 0)\n    assert {n}\n",
            n = i32::from(name == "a")
        )
    };
    let suite = format!("{}\n{}\n{}", test("a"), test("b"), test("c"));
    fs::write(bench.path("in/test_prints.py"), suite).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("test_prints.py::test_{name}"));
    let told = bench.run(&[&[(0, &a), (1, &b)], &[(2, &c)]]).await;
    assert_eq!([0, 1, 2].map(|index| told.report(index).verdict.clone()), [Passed, Failed, Failed]);
    for (test, own) in [(&a, "a "), (&b, "b "), (&c, "c ")] {
        let log = bench.log(&format!("{}.log", super::super::log::file_name(test)));
        for name in ["a ", "b ", "c "] {
            // pytest itself begins with the name of the file.
            let said =
                |line: &str| line.trim_start_matches("test_prints.py ").strip_prefix(name)?.parse().ok();
            let lines: Vec<u32> = log.lines().filter_map(said).collect();
            let expected = if name == own { (0..300).collect() } else { Vec::new() };
            assert_eq!(lines, expected, "{name} in {test}: {log}");
        }
    }
    assert!(String::from_utf8_lossy(&told.report(1).tail).contains("b 299\n"));
}

#[tokio::test]
async fn files_that_cannot_be_collected_are_named() {
    let bench = bench(&[]);
    fs::write(bench.path("in/test_broken.py"), "import nothing_of_this_name\n").unwrap();
    let told = bench.run_all().await;
    assert_eq!(told.end.ending, Ending::ClientError);
    for part in ["cannot collect 1 of its files", "test_broken.py", "nothing_of_this_name"] {
        assert!(told.end.message.contains(part), "{}", told.end.message);
    }
}

#[tokio::test]
async fn pytest_that_does_not_start_fails_the_attempt_and_says_why() {
    let bench = bench(&["--no-such-option"]);
    let told = bench.run_all().await;
    assert_eq!(told.end.ending, Ending::ClientError);
    assert!(told.end.message.contains("pytest ended with exit code 4"), "{}", told.end.message);
    let told = bench.run(&[&[(0, "test_suite.py::test_passes")]]).await;
    assert_eq!((told.end.ending, told.reports.len()), (Ending::ClientError, 0));
    assert!(told.end.message.contains("--no-such-option"), "{}", told.end.message);
    assert!(told.end.took < PATIENCE);
}

#[tokio::test]
async fn nothing_to_run_is_no_failure() {
    let told = bench(&[]).run(&[&[], &[]]).await;
    assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(0))));
}
