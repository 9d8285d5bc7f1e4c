use super::*;

const A: &str = "/src/test/a.isolate";

#[test]
fn an_earlier_condition_wins_and_any_condition_beats_the_unconditional_block() {
    let text = "{
        'variables': {'command': ['global'], 'files': ['g'], 'read_only': 0},
        'conditions': [
            ['a==1', {'variables': {'command': ['first'], 'files': ['f']}}],
            ['b==1', {'variables': {'command': ['second'], 'files': ['s', 'g'], 'read_only': 2}}],
        ],
    }";
    let both = evaluate_text(text, &[("a", "1"), ("b", "1")]);
    assert_eq!(both.command, ["first"]);
    assert_eq!(both.read_only.number(), 2);
    assert_eq!(input_paths(&both), ["/src/test/f", "/src/test/g", "/src/test/s"]);
    assert_eq!(evaluate_text(text, &[("a", "0"), ("b", "1")]).command, ["second"]);
    let none = evaluate_text(text, &[("a", "0"), ("b", "0")]);
    assert_eq!((none.command, none.read_only.number()), (vec!["global".to_owned()], 0));
}

#[test]
fn read_only_files_are_the_default() {
    assert_eq!(evaluate_text("{}", &[]).read_only.number(), 1);
}

#[test]
fn the_including_file_wins_over_includes_and_the_last_include_over_earlier_ones() {
    let files = [
        (A, "{'includes': ['../x/one.isolate', 'two.isolate'], 'variables': {'files': ['a']}}"),
        ("/src/x/one.isolate", "{'variables': {'command': ['one'], 'files': ['o'], 'read_only': 0}}"),
        ("/src/test/two.isolate", "{'variables': {'command': ['two'], 'files': ['t']}}"),
    ];
    let merged = evaluate_all(&files, &[]).unwrap();
    assert_eq!(merged.command, ["two"]);
    assert_eq!(merged.read_only.number(), 0);
    assert_eq!(input_paths(&merged), ["/src/test/a", "/src/test/t", "/src/x/o"]);
}

#[test]
fn a_condition_beats_what_always_holds_across_files_too() {
    let files = [
        (A, "{'includes': ['one.isolate', 'two.isolate'], 'variables': {'read_only': 0}}"),
        (
            "/src/test/one.isolate",
            "{'conditions': [['OS==\"linux\"', {'variables': {'command': ['linux'], 'read_only': 2}}]]}",
        ),
        ("/src/test/two.isolate", "{'variables': {'command': ['any']}}"),
    ];
    let linux = evaluate_all(&files, &[("OS", "linux")]).unwrap();
    assert_eq!((linux.command, linux.read_only.number()), (vec!["linux".to_owned()], 2));
    let other = evaluate_all(&files, &[("OS", "mac")]).unwrap();
    assert_eq!((other.command, other.read_only.number()), (vec!["any".to_owned()], 0));
}

#[test]
fn a_command_in_the_including_file_strips_those_of_its_includes_even_if_its_condition_does_not_hold() {
    let files = [
        (
            A,
            "{'includes': ['b.isolate'],
              'conditions': [['x==1', {'variables': {'command': ['mine']}}]]}",
        ),
        ("/src/test/b.isolate", "{'includes': ['c.isolate']}"),
        ("/src/test/c.isolate", "{'variables': {'command': ['deep'], 'files': ['c']}}"),
    ];
    assert_eq!(evaluate_all(&files, &[("x", "1")]).unwrap().command, ["mine"]);
    let without = evaluate_all(&files, &[("x", "0")]).unwrap();
    assert!(without.command.is_empty());
    assert_eq!(input_paths(&without), ["/src/test/c"]);
}

#[test]
fn the_command_starts_in_the_directory_of_the_file_that_has_it() {
    let files = [
        (A, "{'includes': ['../other/b.isolate'], 'variables': {'files': ['a']}}"),
        ("/src/other/b.isolate", "{'variables': {'command': ['run'], 'files': ['data/']}}"),
    ];
    let merged = evaluate_all(&files, &[]).unwrap();
    assert_eq!(merged.root, Path::new("/src"));
    assert_eq!(merged.relative_cwd.as_ref().unwrap().as_str(), "other");
    assert_eq!(input_paths(&merged), ["/src/other/data/", "/src/test/a"]);
}

#[test]
fn includes_that_are_missing_or_circular_are_refused_where_they_are_named() {
    let missing = evaluate_all(&[(A, "{'includes': [\n'b.isolate']}")], &[]).unwrap_err();
    let message =
        "/src/test/a.isolate:2:1: `b.isolate` is refused: no such file: create it, or correct the path";
    assert_eq!(missing.to_string(), message);
    let circle =
        [(A, "{'includes': ['b.isolate']}"), ("/src/test/b.isolate", "{'includes': ['../test/a.isolate']}")];
    let error = evaluate_all(&circle, &[]).unwrap_err();
    assert!(matches!(error.problem, Problem::IncludesItself { .. }), "{error}");
    assert_eq!(error.file, Path::new("/src/test/b.isolate"));
}

#[test]
fn the_same_file_may_be_included_on_two_ways() {
    let files = [
        (A, "{'includes': ['b.isolate', 'c.isolate']}"),
        ("/src/test/b.isolate", "{'includes': ['d.isolate']}"),
        ("/src/test/c.isolate", "{'includes': ['d.isolate']}"),
        ("/src/test/d.isolate", "{'variables': {'files': ['d']}}"),
    ];
    assert_eq!(input_paths(&evaluate_all(&files, &[]).unwrap()), ["/src/test/d"]);
}
