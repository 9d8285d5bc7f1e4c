//! Models without ctest.

use super::{judge::judge, *};
use crate::drivers::{Event, Left, single::Ending};

const MODEL: &str = r#"{"kind":"ctestInfo","version":{"major":1,"minor":0},"tests":[
 {"name":"use","command":["/bin/true"],"properties":[{"name":"FIXTURES_REQUIRED","value":["db"]},
   {"name":"ENVIRONMENT","value":["A=1","B=2"]},
   {"name":"ENVIRONMENT_MODIFICATION","value":["A=path_list_prepend:0","B=unset:","C=set:x","PATH=path_list_append:/z","H=reset:"]}]},
 {"name":"fill","command":["/bin/true"],"properties":[{"name":"FIXTURES_SETUP","value":["db"]},{"name":"DEPENDS","value":["create"]},{"name":"FIXTURES_REQUIRED","value":["net"]}]},
 {"name":"create","command":["/bin/true"],"properties":[{"name":"FIXTURES_SETUP","value":["db"]}]},
 {"name":"net","command":["/bin/true"],"properties":[{"name":"FIXTURES_SETUP","value":"net"},{"name":"TIMEOUT","value":2.5},{"name":"RUN_SERIAL","value":true}]},
 {"name":"drop","command":["/bin/true"],"properties":[{"name":"FIXTURES_CLEANUP","value":["db"]},{"name":"TIMEOUT","value":"0"}]},
 {"name":"gone","properties":[{"name":"DISABLED","value":true}]}]}"#;

#[test]
fn what_sets_up_comes_first_in_its_order() {
    let model = Model::parse(MODEL.as_bytes()).unwrap();
    assert_eq!(needed(&model, "use"), ["create", "net", "fill"]);
    assert_eq!(needed(&model, "drop"), ["create", "net", "fill"]);
    assert_eq!(needed(&model, "net"), [""; 0]);
}

fn needed(model: &Model, name: &str) -> Vec<String> {
    let tests = model.needed(&model.find(name).unwrap());
    tests.iter().map(|test| test.name.clone()).collect()
}

/// Of tests by their names, and what each depends on.
fn chain(tests: &[(&str, &[&str])]) -> Model {
    let test = |(name, depends): &(&str, &[&str])| serde_json::json!({ "name": name, "properties": [{ "name": "DEPENDS", "value": depends }] });
    let document = serde_json::json!({ "tests": tests.iter().map(test).collect::<Vec<_>>() });
    Model::parse(document.to_string().as_bytes()).unwrap()
}

#[test]
fn what_a_test_depends_on_comes_first_and_is_in_its_group() {
    let model =
        chain(&[("alone", &["nobody"]), ("run", &["build"]), ("stop", &["run", "build"]), ("build", &[])]);
    assert_eq!(needed(&model, "run"), ["build"]);
    assert_eq!(needed(&model, "stop"), ["build", "run"]);
    assert_eq!(needed(&model, "alone"), [""; 0]);
    let together = Some("test run".to_owned());
    assert_eq!(group::groups(&model), [None, together.clone(), together.clone(), together]);
    let circle = chain(&[("a", &["b"]), ("b", &["a"])]);
    assert_eq!(needed(&circle, "a"), ["b"], "CTest refuses it, and we come to an end");
}

#[test]
fn a_chain_may_be_long() {
    let names: Vec<String> = (0..50_000).map(|place| place.to_string()).collect();
    let before: Vec<Vec<&str>> = (0..names.len())
        .map(|place| place.checked_sub(1).map(|one| names[one].as_str()).into_iter().collect())
        .collect();
    let tests: Vec<(&str, &[&str])> =
        names.iter().zip(&before).map(|(name, before)| (name.as_str(), before.as_slice())).collect();
    let model = chain(&tests);
    assert_eq!(needed(&model, "49999").len(), 49_999);
    assert!(group::groups(&model).iter().all(|group| group.as_deref() == Some("test 0")));
}

#[test]
fn what_uses_a_fixture_is_not_needed_to_clear_it_away_and_what_is_disabled_is_not_needed_at_all() {
    let document = r#"{"tests":[
     {"name":"up","properties":[{"name":"FIXTURES_SETUP","value":["db"]}]},
     {"name":"never","properties":[{"name":"FIXTURES_SETUP","value":["db"]},{"name":"DISABLED","value":true}]},
     {"name":"use","properties":[{"name":"FIXTURES_REQUIRED","value":["db"]},{"name":"DEPENDS","value":["up","never"]}]},
     {"name":"down","properties":[{"name":"FIXTURES_CLEANUP","value":["db"]},{"name":"DEPENDS","value":["use","up"]}]},
     {"name":"after","properties":[{"name":"DEPENDS","value":["use"]}]}]}"#;
    let model = Model::parse(document.as_bytes()).unwrap();
    for (name, expected) in [("use", vec!["up"]), ("down", vec!["up"]), ("after", vec!["up", "use"])] {
        assert_eq!(needed(&model, name), expected, "{name}");
    }
    let groups = group::groups(&model);
    assert!(groups.iter().all(|group| group.as_deref() == Some("fixture db")), "{groups:?}");
}

#[test]
fn what_ran_for_another_test_is_told_once() {
    let output = b"\n  last words\n".to_vec();
    let run = TestRun { output, ..TestRun::of(TestVerdict::Failed, "it ended with exit code 1") };
    let mut done = Done::for_another(run.clone());
    assert_eq!((done.tell(), done.tell()), (Some(run.clone()), None));
    let failure = done.failure("up").unwrap();
    assert_eq!(failure, "up: it ended with exit code 1; its output ends with: last words");
    assert_eq!(Done::for_itself(run).tell(), None);
    assert_eq!(Done::for_itself(TestRun::of(TestVerdict::Skipped, "no gpu")).failure("up"), None);
}

#[test]
fn properties_are_understood_in_all_their_types() {
    let model = Model::parse(MODEL.as_bytes()).unwrap();
    let of = |name| model.find(name).unwrap();
    assert_eq!(of("net").properties.timeout, Some(Duration::from_millis(2500)));
    assert_eq!((of("drop").properties.timeout, of("use").properties.timeout), (None, Some(TIMEOUT)));
    assert!(
        of("net").properties.exclusive && of("gone").properties.disabled && of("gone").command.is_empty()
    );
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut environment = [("PATH", "/a"), ("H", "home")].map(pair).into();
    of("use").properties.apply_environment(&mut environment);
    let expected = [("A", "0:1"), ("C", "x"), ("H", "home"), ("PATH", "/a:/z")];
    assert_eq!(environment, expected.map(pair).into());
}

fn judged(properties: &str, output: &str, code: i32) -> Option<TestVerdict> {
    judged_of(properties, output, CommandExit::Code(code), None)
}

/// `file` is what is left of the one for a premature exit.
fn judged_of(properties: &str, output: &str, exit: CommandExit, file: Option<&str>) -> Option<TestVerdict> {
    let document = format!(r#"{{"tests":[{{"name":"t","command":["x"],"properties":[{properties}]}}]}}"#);
    let test = Model::parse(document.as_bytes()).unwrap().find("t").unwrap();
    let left = Left { exit, stopped: false, results: vec![file.map(|text| text.as_bytes().to_vec())] };
    Some(judge(&test, &Ending { left: &left, head: output, tail: "", is_whole: true })?.0)
}

const WILL_FAIL: &str = r#"{"name":"WILL_FAIL","value":true}"#;
const SKIP: &str = r#"{"name":"SKIP_RETURN_CODE","value":77}"#;
const PASS: &str = r#"{"name":"PASS_REGULAR_EXPRESSION","value":["all (good|fine)"]}"#;

#[test]
fn a_program_that_ended_in_the_middle_of_its_tests_has_crashed_unless_that_is_said_to_be_right() {
    let crashed = |code: i32| TestVerdict::Crashed { how: format!("exit code {code}") };
    for (properties, code, expected) in [
        ("", 0, crashed(0)),
        ("", 1, crashed(1)),
        (PASS, 0, crashed(0)),
        (SKIP, 77, TestVerdict::Skipped),
        // As CTest has it, which knows of no such file.
        (WILL_FAIL, 0, TestVerdict::Failed),
        (WILL_FAIL, 3, TestVerdict::Passed),
    ] {
        let judged = judged_of(properties, "all good", CommandExit::Code(code), Some("0"));
        assert_eq!(judged, Some(expected), "{properties} {code}");
    }
    assert_eq!(judged_of("", "", CommandExit::Signal(6), Some("0")), None);
}

#[test]
fn all_of_the_output_is_judged_and_what_is_too_long_is_red() {
    let test = |properties: &str| {
        let document = format!(r#"{{"tests":[{{"name":"t","command":["x"],"properties":[{properties}]}}]}}"#);
        Model::parse(document.as_bytes()).unwrap().find("t").unwrap()
    };
    let ended = |properties: &str, mebibytes: usize| {
        let mut reader = Single::whole("t", judge::of(test(properties), String::new()));
        let mut events = Vec::new();
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..mebibytes {
            reader.output(&piece, false, &mut events);
            events.clear();
        }
        reader.output(b"all good", false, &mut events);
        reader.output(&piece, false, &mut events);
        events.clear();
        let left = Left { exit: CommandExit::Code(0), stopped: false, results: vec![None] };
        reader.ended(&left, &mut events);
        let [Event::Finished(finished), Event::Judged] = events.as_slice() else { panic!("{events:?}") };
        (finished.verdict.clone(), finished.message.clone())
    };
    assert_eq!(ended(PASS, 8), (TestVerdict::Passed, String::new()));
    let anchored = r#"{"name":"FAIL_REGULAR_EXPRESSION","value":["^[^x]","[^x]$"]}"#;
    assert_eq!(ended(anchored, 8), (TestVerdict::Passed, String::new()));
    let (verdict, message) = ended(PASS, 64);
    assert_eq!(verdict, TestVerdict::Failed);
    assert!(message.contains("more than 64 MiB"), "{message}");
}

#[test]
fn a_test_is_judged_by_its_properties() {
    use TestVerdict::{Failed, Passed, Skipped};
    let (will_fail, skip, pass) = (WILL_FAIL, SKIP, PASS);
    let fail = r#"{"name":"FAIL_REGULAR_EXPRESSION","value":["ERROR"]}"#;
    let skips = r#"{"name":"SKIP_REGULAR_EXPRESSION","value":["no gpu"]}"#;
    for (properties, output, code, expected) in [
        ("", "", 0, Passed),
        ("", "", 3, Failed),
        (will_fail, "", 3, Passed),
        (will_fail, "", 0, Failed),
        (skip, "", 77, Skipped),
        (skip, "", 1, Failed),
        (pass, "all good", 5, Passed),
        (pass, "", 0, Failed),
        (fail, "an ERROR", 0, Failed),
        (&format!("{fail},{will_fail}"), "an ERROR", 0, Passed),
        (skips, "no gpu here", 1, Skipped),
    ] {
        assert_eq!(judged(properties, output, code), Some(expected), "{properties} {output} {code}");
    }
    let broken = r#"{"tests":[{"name":"t","properties":[{"name":"PASS_REGULAR_EXPRESSION","value":"(a"}]}]}"#;
    assert!(Model::parse(broken.as_bytes()).unwrap_err().contains("PASS_REGULAR_EXPRESSION of the test t"));
}
