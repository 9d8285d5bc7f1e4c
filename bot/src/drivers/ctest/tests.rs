//! Models without ctest.

use super::*;

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
    let prologue = |name| {
        let tests = model.prologue(&model.find(name).unwrap());
        tests.iter().map(|test| test.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(prologue("use"), ["create", "net", "fill"]);
    assert_eq!(prologue("drop"), ["create", "net", "fill"]);
    assert_eq!(prologue("net"), [""; 0]);
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
    let document = format!(r#"{{"tests":[{{"name":"t","command":["x"],"properties":[{properties}]}}]}}"#);
    let test = Model::parse(document.as_bytes()).unwrap().find("t").unwrap();
    let left = Left { exit: CommandExit::Code(code), stopped: false, results: Vec::new() };
    Some(judge(&test, &Ending { left: &left, head: output, tail: output })?.0)
}

#[test]
fn a_test_is_judged_by_its_properties() {
    use TestVerdict::{Failed, Passed, Skipped};
    let will_fail = r#"{"name":"WILL_FAIL","value":true}"#;
    let skip = r#"{"name":"SKIP_RETURN_CODE","value":77}"#;
    let pass = r#"{"name":"PASS_REGULAR_EXPRESSION","value":["all (good|fine)"]}"#;
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
