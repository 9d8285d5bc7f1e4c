//! The bytes of the original, and each of its rules.

use super::*;

/// What Python wrote for a tree of one file of 4000 `a`, a symlink and a name beyond ASCII.
#[test]
fn the_bytes_are_those_of_the_original() {
    let file = |size: usize, mode| Entry::File {
        digest: DigestFunction::Sha1.digest(&vec![b'a'; size]),
        mode: Some(mode),
    };
    let files = BTreeMap::from([
        (path("b/run.sh"), file(3, 0o750)),
        (path("a.txt"), file(4000, 0o640)),
        (path("link"), Entry::Symlink { target: "b/run.sh".into() }),
        (path("é\u{7f}\u{1f600}\"\t"), file(1, 0o640)),
    ]);
    let isolated = Isolated {
        command: vec!["python".into(), "ünit.py".into()],
        files,
        ..Isolated::new(DigestFunction::Sha1)
    };
    let [long, three, one] = [4000, 3, 1].map(|size| DigestFunction::Sha1.digest(&vec![b'a'; size]).hex());
    let files = format!(
        r#""files":{{"a.txt":{{"h":"{long}","m":416,"s":4000}},"b/run.sh":{{"h":"{three}","m":488,"s":3}},"link":{{"l":"b/run.sh"}},"\u00e9\u007f\ud83d\ude00\"\t":{{"h":"{one}","m":416,"s":1}}}}"#
    );
    let command = r#""command":["python","\u00fcnit.py"]"#;
    let expected =
        format!(r#"{{"algo":"sha-1",{command},{files},"read_only":1,"relative_cwd":".","version":"1.6"}}"#);
    assert_eq!(String::from_utf8(isolated.to_bytes()).unwrap(), expected);
    assert_eq!(parse(&expected).unwrap(), isolated);

    let second = Isolated { version: Version::V2, read_only: ReadOnly::Writable, ..isolated };
    let expected = format!(r#"{{"algo":"sha-1",{command},{files},"relative_cwd":".","version":"2.0"}}"#);
    assert_eq!(String::from_utf8(second.to_bytes()).unwrap(), expected);
    assert_eq!(parse(&expected).unwrap(), second);
}

#[test]
fn a_plain_set_of_files_says_nothing_of_a_command() {
    for (version, text) in [
        (Version::V1, r#"{"algo":"sha-512","files":{},"read_only":1,"version":"1.6"}"#),
        (Version::V2, r#"{"algo":"sha-512","files":{},"version":"2.0"}"#),
    ] {
        let isolated = Isolated { version, ..Isolated::new(DigestFunction::Sha512) };
        assert_eq!(String::from_utf8(isolated.to_bytes()).unwrap(), text);
    }
}

#[test]
fn older_versions_are_written_in_the_newest_of_their_major_one() {
    for (read, written) in [("1.0", "1.6"), ("1.5", "1.6"), ("1.6", "1.6"), ("2.0", "2.0")] {
        let isolated = parse(&format!(r#"{{"algo":"sha-1","version":"{read}"}}"#)).unwrap();
        assert!(
            String::from_utf8(isolated.to_bytes()).unwrap().contains(&format!(r#""version":"{written}""#))
        );
    }
}

#[test]
fn archives_of_small_files_are_read_and_written() {
    let text = format!(
        r#"{{"algo":"sha-1","files":{{".{SHA1}.tar":{{"h":"{SHA1}","s":3,"t":"tar"}}}},"read_only":0,"version":"1.6"}}"#
    );
    let isolated = parse(&text).unwrap();
    let digest = DigestFunction::Sha1.digest(b"abc");
    assert_eq!(isolated.files[&path(&format!(".{SHA1}.tar"))], Entry::Tar { digest, mode: None });
    assert_eq!(String::from_utf8(isolated.to_bytes()).unwrap(), text);
    assert!(refusal(&with_file("f", r#"{"l":"x","t":"tar"}"#)).contains("`f: t`"));
    let below = format!(r#"{{"files":{{"a":{{"h":"{SHA1}","s":3,"t":"tar"}},"a/b":{}}}}}"#, good_props());
    assert!(refusal(&below).contains("which is a tar archive"));
}

#[test]
fn the_separators_of_windows_are_turned() {
    let text = format!(
        r#"{{"files":{{"a\\b":{},"a\\link":{{"l":"..\\a\\b"}}}},"relative_cwd":"a\\c"}}"#,
        good_props()
    );
    let isolated = parse(&text).unwrap();
    assert_eq!(isolated.files.keys().map(RelPath::as_str).collect::<Vec<_>>(), ["a/b", "a/link"]);
    assert_eq!(isolated.files[&path("a/link")], Entry::Symlink { target: "../a/b".into() });
    assert_eq!(isolated.relative_cwd, Some(path("a/c")));
    for bad in [r"..\\x", r"\\x", r"\\\\server\\x", r"a\\..\\..\\x", r"a\\"] {
        assert!(refusal(&with_file(bad, &good_props())).contains("refused"), "{bad}");
    }
    assert!(refusal(&with_file("link", r#"{"l":"..\\x"}"#)).contains("leads out"));
    assert!(refusal(r#"{"relative_cwd":"..\\x"}"#).starts_with("`relative_cwd` is refused"));
    let twice = format!(r#"{{"files":{{"a/b":{0},"a\\b":{0}}}}}"#, good_props());
    assert!(refusal(&twice).contains("`a/b` is refused: it appears twice"));
}

proptest! {
    #[test]
    fn everything_is_ascii(isolated in any_isolated()) {
        prop_assert!(isolated.to_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)));
    }
}
