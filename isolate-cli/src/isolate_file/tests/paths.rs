use super::*;

fn with_variables(text: &str, variables: &Variables) -> Result<Evaluated, IsolateFileError> {
    evaluate(&load_from(&[("/src/test/a.isolate", text)])?, variables)
}

fn product_dir() -> Variables {
    let mut variables = variables(&[("bits", "64")]);
    variables.path.insert("PRODUCT_DIR".into(), "/src/out/Release".into());
    variables.extra.insert("version".into(), "1.2".into());
    variables
}

#[test]
fn path_variables_are_relative_to_the_file_and_widen_the_root() {
    let text = "{'variables': {
        'command': ['<(PRODUCT_DIR)/unit_tests<(EXECUTABLE_SUFFIX)', '--bits=<(bits)', '--v=<(version)'],
        'files': ['<(PRODUCT_DIR)/unit_tests', '<(PRODUCT_DIR)/data-<(version)/', 'local/'],
    }}";
    let evaluated = with_variables(text, &product_dir()).unwrap();
    assert_eq!(evaluated.command, ["../out/Release/unit_tests", "--bits=64", "--v=1.2"]);
    assert_eq!(
        input_paths(&evaluated),
        ["/src/out/Release/data-1.2/", "/src/out/Release/unit_tests", "/src/test/local/"]
    );
    assert_eq!(evaluated.root, Path::new("/src"));
    assert_eq!(evaluated.relative_cwd.unwrap().as_str(), "test");
}

#[test]
fn configuration_variables_are_not_put_into_files() {
    let error = with_variables("{'variables': {'files': ['lib<(bits)/']}}", &product_dir()).unwrap_err();
    assert!(matches!(&error.problem, Problem::UnknownVariable { name, .. } if name == "bits"), "{error}");
}

#[test]
fn an_unknown_variable_is_named_with_its_place_and_the_likely_one() {
    let text = "{'variables': {\n'files': ['<(PRODUCT_DRI)/a']}}";
    let error = with_variables(text, &product_dir()).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "/src/test/a.isolate:2:11: variable `PRODUCT_DRI` was not given (did you mean `PRODUCT_DIR`?): add --path-variable or "
        ),
        "{error}"
    );
}

#[test]
fn what_is_put_in_is_not_looked_at_again_and_odd_brackets_stay() {
    let mut variables = product_dir();
    variables.extra.insert("loop".into(), "<(loop)".into());
    let text = "{'variables': {'command': ['<(loop)', '<(', '<(a b)', '$(version)']}}";
    assert_eq!(with_variables(text, &variables).unwrap().command, ["<(loop)", "<(", "<(a b)", "$(version)"]);
}

#[test]
fn paths_above_the_file_deepen_the_root_only_as_far_as_needed() {
    let text = "{'variables': {'command': ['x'], 'files': ['../../etc/a', 'b', './c/']}}";
    let evaluated = evaluate_text(text, &[]);
    assert_eq!(evaluated.root, Path::new("/"));
    assert_eq!(evaluated.relative_cwd.unwrap().as_str(), "src/test");

    let flat = evaluate_text("{'variables': {'command': ['x'], 'files': ['b', 'c/']}}", &[]);
    assert_eq!((flat.root.as_path(), flat.relative_cwd), (Path::new("/src/test"), None));
}

#[test]
fn a_path_listed_twice_is_taken_once() {
    let evaluated = evaluate_text("{'variables': {'files': ['a', './a', 'b/../a']}}", &[]);
    assert_eq!(input_paths(&evaluated), ["/src/test/a"]);
}

#[test]
fn names_of_variables_are_checked() {
    assert!(Variables::check_name("_a1").is_ok());
    for bad in ["", "1a", "a-b", "ä", "a b"] {
        assert!(Variables::check_name(bad).is_err(), "{bad}");
    }
}
