use super::*;

fn files_of(text: &str) -> Vec<String> {
    let document = Document::parse(text).unwrap();
    document.variables.files.into_iter().map(|file| file.value).collect()
}

#[test]
fn strings_comments_commas_and_parentheses_are_pythons() {
    let text = r#"
        # A comment.
        {
          "variables": {  # another
            'files': [
              'a' "b"
              'c',
              ('d'
               'e'), 'it\'s', "\x41\102\u00e9", 'a\
b',
            ],
          },
        }
    "#;
    assert_eq!(files_of(text), ["abc", "de", "it's", "ABé", "ab"]);
    assert_eq!(files_of("{'variables': {'files': []}}"), Vec::<String>::new());
    assert_eq!(Document::parse("{}").unwrap(), Document::default());
}

#[test]
fn errors_name_file_line_and_column() {
    let text = "{\n  'variables': {\n    'file': ['a'],\n  },\n}";
    assert_eq!(
        error_of(text),
        "/src/test/a.isolate:3:5: unknown key `file`: did you mean `files`? (possible here: command, files, read_only)"
    );
}

#[test]
fn what_is_malformed_is_refused_with_a_remedy() {
    let refused = [
        ("", "1:1: expected `{`, found the end"),
        ("{'variables': {}", "1:17: expected `,` or `}`, found the end"),
        ("{} {}", "1:4: expected the end of the file, found `{`"),
        ("[]", "1:1: a description must be a dictionary: {...}, not a list"),
        (
            "{'variables': {'files': ['a}}",
            "1:26: this string is not closed before the end of the line: add the closing '",
        ),
        ("{'variables': {'files': ['a' b]}}", "1:30: expected `,` or `]`, found `b`"),
        ("{'variables': {'files': [('a', 'b')]}}", "tuples are not supported"),
        ("{'variables': {'files': ['''a''']}}", "triple quotes are not supported"),
        ("{'variables': {'files': ['\\x4']}}", "`\\x4` is not an escape"),
        ("{'variables': {'files': 'a'}}", "1:25: `files` must be a list of strings, not a string"),
        ("{'variables': {'files': [1]}}", "1:26: `files` must be a string, not a number"),
        ("{'variables': {'files': ['']}}", "1:26: `` is refused: it is empty"),
        ("{'variables': {'files': ['a\\\\b']}}", "write forward slashes"),
        ("{'variables': {'files': ['/etc/passwd']}}", "`/etc/passwd` is absolute: write it relative"),
        ("{'variables': {'read_only': 3}}", "`read_only` must be 0 (writable), 1 "),
        ("{'variables': {'read_only': '1'}}", "`read_only` must be 0"),
        ("{'variables': {'read_only': 007}}", "`007` is not a decimal integer"),
        ("{'variables': {'read_only': 99999999999999999999}}", "is not a decimal integer"),
        ("{'variables': {'read_only': True}}", "expected a value, found `True`"),
        (
            "{'variables': {},\n 'variables': {}}",
            "2:2: `variables` is set twice in this dictionary (first in line 1)",
        ),
        ("{'includes': ['/a.isolate']}", "`/a.isolate` is absolute"),
        ("{'target': []}", "unknown key `target`"),
        ("{variables: {}}", "1:2: expected a key in quotes, or `}`, found `variables`"),
        ("{'variables' = {}}", "1:14: unexpected character '='"),
        ("{'conditions': [['a==1', {}, {}]]}", "1:17: using 'else' is not supported"),
        ("{'conditions': [['a==1']]}", "a condition must be a list of an expression and a dictionary"),
        ("{'conditions': [['a==1', {'files': []}]]}", "unknown key `files` (possible here: variables)"),
        ("{'variables': {'isolate_dependency_tracked': []}}", "unknown key `isolate_dependency_tracked`"),
    ];
    for (text, message) in refused {
        let error = error_of(text);
        assert!(error.contains(message), "{text}\n gave: {error}\n not: {message}");
    }
}
