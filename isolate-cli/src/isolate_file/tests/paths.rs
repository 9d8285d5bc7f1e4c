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
fn a_path_variable_wins_in_commands_too() {
    let mut variables = product_dir();
    variables.config.insert("PRODUCT_DIR".into(), "linux".into());
    let text = "{'variables': {'command': ['<(PRODUCT_DIR)/x']}}";
    assert_eq!(with_variables(text, &variables).unwrap().command, ["../out/Release/x"]);
}

#[test]
fn what_begins_with_an_extra_variable_is_relative_to_its_file() {
    let files = [
        ("/src/test/a.isolate", "{'includes': ['../other/b.isolate'], 'variables': {'command': ['x']}}"),
        ("/src/other/b.isolate", "{'variables': {'files': ['<(version)/b', '<(PRODUCT_DIR)/c']}}"),
    ];
    let evaluated = evaluate(&load_from(&files).unwrap(), &product_dir()).unwrap();
    assert_eq!(input_paths(&evaluated), ["/src/other/1.2/b", "/src/out/Release/c"]);
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

/// Seen with luci-py's client/isolate_format.py.
#[test]
fn the_root_follows_from_the_paths_as_they_are_written() {
    let root = |files: &str, path: &[(&str, &str)]| {
        let path = path.iter().map(|(name, dir)| ((*name).to_owned(), PathBuf::from(dir))).collect();
        let variables = Variables { path, ..Variables::default() };
        let text = format!("{{'variables': {{'command': ['x'], 'files': [{files}]}}}}");
        with_variables(&text, &variables).unwrap().root.display().to_string()
    };
    for (files, expected) in [
        ("'a', 'b/../c', './'", "/src/test"),
        ("'../test/a'", "/src"),
        ("'../test/'", "/src"),
        ("'../../src/test/a', '../b'", "/"),
        ("'b/../../c'", "/src"),
        ("'../../../../a'", "/"),
    ] {
        assert_eq!(root(files, &[]), expected, "{files}");
    }
    assert_eq!(root("'a'", &[("OUT", "/src/test/out")]), "/src/test");
    assert_eq!(root("'a'", &[("OUT", "/src/out")]), "/src");
    assert_eq!(root("'a'", &[("DEPTH", "/src")]), "/src");
    assert_eq!(root("'a'", &[("DEPTH", "/")]), "/src", "one level is not counted");
    assert_eq!(root("'<(DEPTH)/src/test/a'", &[("DEPTH", "/")]), "/");
}

#[test]
fn the_root_follows_from_included_paths_seen_from_where_the_command_starts() {
    let root = |command_in: &str, included: &str| {
        let (here, there) = if command_in == "test" { ("'x'", "") } else { ("", "'x'") };
        let own = format!(
            "{{'includes': ['../other/b.isolate'], 'variables': {{'command': [{here}], 'files': ['a']}}}}"
        );
        let included = format!("{{'variables': {{'command': [{there}], 'files': ['{included}']}}}}");
        let files = [("/src/test/a.isolate", &*own), ("/src/other/b.isolate", &*included)];
        evaluate_all(&files, &[]).unwrap().root.display().to_string()
    };
    assert_eq!(root("test", "b"), "/src");
    // `../other/../../up`: only the first one counts, and what is then outside makes it higher.
    assert_eq!(root("test", "../b"), "/src");
    assert_eq!(root("test", "../../up"), "/");
    assert_eq!(root("other", "../other/b"), "/src");
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
