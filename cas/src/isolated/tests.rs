mod formats;

use super::*;
use proptest::prelude::*;
use proto::{DigestFunction, RelPath};
use std::collections::BTreeMap;

const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn parse(text: &str) -> Result<Isolated, IsolatedError> {
    Isolated::parse(text.as_bytes())
}

/// What the parser says about a manifest, causes included.
fn refusal(text: &str) -> String {
    let error = parse(text).expect_err(text);
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A manifest of one file with these properties.
fn with_file(name: &str, props: &str) -> String {
    format!(r#"{{"algo":"sha-1","files":{{"{name}":{props}}},"version":"1.6"}}"#)
}

fn good_props() -> String {
    format!(r#"{{"h":"{SHA1}","s":3}}"#)
}

#[test]
fn a_manifest_of_the_original_is_read() {
    let text = format!(
        r#"{{"algo":"sha-1","command":["python","a.py"],"files":{{"a.py":{{"h":"{SHA1}","m":416,"s":3}},"b/link":{{"l":"../a.py"}}}},"includes":["{SHA1}"],"read_only":1,"relative_cwd":".","version":"1.6"}}"#
    );
    let isolated = parse(&text).unwrap();
    assert_eq!(isolated.function, DigestFunction::Sha1);
    assert_eq!(isolated.command, ["python", "a.py"]);
    let digest = DigestFunction::Sha1.digest(b"abc");
    assert_eq!(isolated.files[&path("a.py")], Entry::File { digest, mode: Some(0o640) });
    assert_eq!(isolated.files[&path("b/link")], Entry::Symlink { target: "../a.py".into() });
    assert_eq!(isolated.includes, [Include::Unsized { hash: SHA1.into() }]);
    assert_eq!((isolated.read_only, &isolated.relative_cwd), (ReadOnly::Files, &None));
    assert_eq!(isolated.total_bytes(), 3);
    assert_eq!(String::from_utf8(isolated.to_bytes()).unwrap(), text, "it is canonical already");
}

#[test]
fn what_is_not_said_has_its_original_meaning() {
    let isolated = parse("{}").unwrap();
    assert_eq!(isolated.function, DigestFunction::Sha1);
    assert_eq!(isolated.read_only, ReadOnly::Writable);
    assert_eq!((isolated.command.len(), isolated.files.len(), isolated.includes.len()), (0, 0, 0));
    assert_eq!(isolated.relative_cwd, None);
}

#[test]
fn the_versions_from_1_0_to_1_6_and_2_0_are_read() {
    for version in ["1.0", "1.3", "1.6", "2.0"] {
        assert!(parse(&format!(r#"{{"version":"{version}"}}"#)).is_ok(), "{version}");
    }
    for version in ["0.9", "1.7", "2.1", "3.0", "1", "1.6.2", "01.6", "+1.6", "", "1.-1"] {
        let refusal = refusal(&format!(r#"{{"version":"{version}"}}"#));
        assert!(refusal.starts_with("`version` is refused"), "{refusal}");
    }
    assert!(parse(r#"{"os":"linux","version":"1.3"}"#).is_ok());
    assert!(refusal(r#"{"os":"linux","version":"1.4"}"#).starts_with("`os` is refused"));
    assert!(parse(r#"{"read_only":2,"version":"1.6"}"#).is_ok());
    assert!(refusal(r#"{"read_only":1,"version":"2.0"}"#).starts_with("`read_only` is refused"));
}

#[test]
fn read_only_was_true_or_false_before_version_1_3() {
    for (text, read_only) in [
        (r#"{"read_only":true}"#, ReadOnly::Files),
        (r#"{"read_only":true,"version":"1.2"}"#, ReadOnly::Files),
        (r#"{"read_only":false,"version":"1.0"}"#, ReadOnly::Writable),
        (r#"{"read_only":2,"version":"1.2"}"#, ReadOnly::FilesAndDirs),
    ] {
        assert_eq!(parse(text).unwrap().read_only, read_only, "{text}");
    }
    for version in ["1.3", "1.6"] {
        let refusal = refusal(&format!(r#"{{"read_only":true,"version":"{version}"}}"#));
        assert!(refusal.contains("has a number there: 0, 1 or 2"), "{refusal}");
    }
}

#[test]
fn targets_that_would_be_read_otherwise_than_they_are_written_are_refused() {
    for (target, named) in [("a\\b", "it contains a backslash"), ("a\0b", "it contains a NUL")] {
        let files = BTreeMap::from([(path("link"), Entry::Symlink { target: target.into() })]);
        assert!(check_layout(&files).unwrap_err().to_string().ends_with(named));
    }
}

#[test]
fn what_is_not_unicode_is_refused() {
    let surrogate = r#"{"command":["\ud800"],"version":"1.6"}"#;
    assert!(matches!(parse(surrogate), Err(IsolatedError::Syntax(_))));
    for text in [&b"{\"command\":[\"a\xff\"]}"[..], b"{\"files\":{\"a\xff\":{\"l\":\"b\"}}}"] {
        assert!(matches!(Isolated::parse(text), Err(IsolatedError::Syntax(_))));
    }
}

#[test]
fn every_error_names_the_key() {
    let long = "a".repeat(40);
    for (text, named) in [
        (r#"{"unknown":1}"#.into(), "unknown"),
        (r#"{"algo":"md5"}"#.into(), "`algo`"),
        (r#"{"algo":1}"#.into(), "integer `1`, expected a string at line 1 column 9"),
        (r#"{"command":[]}"#.into(), "`command`"),
        (r#"{"command":["a\u0000b"]}"#.into(), "`command`"),
        (r#"{"command":"ls"}"#.into(), "expected a sequence"),
        (r#"{"includes":[]}"#.into(), "`includes`"),
        (r#"{"includes":["abc"]}"#.into(), "`includes`"),
        (format!(r#"{{"includes":["{SHA1}/x"]}}"#), "`includes`"),
        (format!(r#"{{"includes":["{SHA1}/+3"]}}"#), "`+3` is not a size"),
        (format!(r#"{{"includes":["{SHA1}/003"]}}"#), "`003` is not a size"),
        (format!(r#"{{"includes":["{SHA1}/"]}}"#), "`` is not a size"),
        (r#"{"read_only":3}"#.into(), "`read_only`"),
        (r#"{"read_only":-1}"#.into(), "expected 0, 1 or 2"),
        (r#"{"read_only":1.0}"#.into(), "expected 0, 1 or 2"),
        (r#"{"read_only":null}"#.into(), "null"),
        (r#"{"command":null}"#.into(), "null"),
        (r#"{"files":null}"#.into(), "null"),
        (with_file("f", &format!(r#"{{"h":"{SHA1}","s":3,"l":null}}"#)), "`f`"),
        (r#"{"relative_cwd":"../up"}"#.into(), "`relative_cwd` is refused: path `../up`"),
        (r#"{"relative_cwd":"/abs"}"#.into(), "`relative_cwd` is refused: path `/abs`"),
        (r#"{"version":"1.6","version":"1.6"}"#.into(), "duplicate field `version`"),
        (with_file("f", "{}"), "`f`"),
        (with_file("f", &format!(r#"{{"h":"{SHA1}"}}"#)), "`h` without `s`"),
        (with_file("f", &format!(r#"{{"h":"{SHA1}","s":3,"l":"x"}}"#)), "both `h` and `l`"),
        (with_file("f", r#"{"l":"x","s":3}"#), "`f`"),
        (with_file("f", r#"{"l":"x","m":3}"#), "`f`"),
        (with_file("f", &format!(r#"{{"h":"{SHA1}","s":-1}}"#)), "`f`"),
        (with_file("f", &format!(r#"{{"h":"{SHA1}","s":3.0}}"#)), "`f`"),
        (with_file("f", &format!(r#"{{"h":"{SHA1}","s":3,"m":65536}}"#)), "`f: m`"),
        (with_file("f", &format!(r#"{{"h":"{SHA1}","s":3,"x":1}}"#)), "`f`"),
        (with_file("f", &format!(r#"{{"h":"{SHA1}0","s":3}}"#)), "hash of `f`"),
        (with_file("f", &format!(r#"{{"h":"{}","s":3}}"#, SHA1.to_uppercase())), "hash of `f`"),
        (with_file("f", &format!(r#"{{"h":"{long}","s":0}}"#)), "hash of `f`"),
        (with_file("f", &format!(r#"{{"h":"{SHA1}","s":3,"t":"ar"}}"#)), "`f` of type `ar`"),
        (with_file("f", &format!(r#"{{"h":"{SHA1}","s":3,"t":"zip"}}"#)), "`f: t`"),
        (r#"{"files":{"a":{"l":"x"},"a":{"l":"y"}}}"#.into(), "`a` appears twice"),
        ("[]".into(), "expected an object"),
        (r#"["sha-1","1.6",["ls"],{},["abc"],1,".","linux"]"#.into(), "expected an object"),
        (with_file("f", &format!(r#"["{SHA1}",3,416,null,null]"#)), "expected an object"),
        (with_file("f", &format!(r#"["{SHA1}",3]"#)), "`f`"),
        ("".into(), "EOF"),
        (r#"{"version":"1.6"} trailing"#.into(), "trailing characters"),
    ] {
        let refusal = refusal(&text);
        assert!(refusal.contains(named), "{text}\nsays: {refusal}\nwithout: {named}");
    }
    assert!(parse(&with_file("f", &format!(r#"{{"h":"{SHA1}","s":3,"t":"basic"}}"#))).is_ok());
}

#[test]
fn paths_that_leave_the_tree_are_refused() {
    for bad in ["/etc/passwd", "../x", "a/../../x", "a/..", "a//b", "a/", ".", "", r"a\u0000"] {
        let refusal = refusal(&with_file(bad, &good_props()));
        assert!(refusal.contains("refused"), "{bad}: {refusal}");
    }
}

#[test]
fn nothing_lies_below_a_file_or_a_symlink() {
    let props = good_props();
    for (upper, kind) in [(&*props, "file"), (r#"{"l":"x"}"#, "symlink")] {
        let text = format!(r#"{{"files":{{"d/a":{upper},"d/a-b":{props},"d/a/b/c":{props}}}}}"#);
        assert!(refusal(&text).contains(&format!("`d/a/b/c` lies below `d/a`, which is a {kind}")));
    }
}

#[test]
fn symlinks_that_lead_out_are_refused_also_through_each_other() {
    for target in ["/etc", "..", "../..", "x/../../..", "", "a/../../b", r"a\u0000b"] {
        let text = with_file("link", &format!(r#"{{"l":"{target}"}}"#));
        assert!(refusal(&text).contains("symlink `link`"), "{target}");
    }
    let links = |links: &[(&str, &str)]| {
        let files: Vec<_> =
            links.iter().map(|(path, target)| format!(r#""{path}":{{"l":"{target}"}}"#)).collect();
        format!(r#"{{"files":{{{}}}}}"#, files.join(","))
    };
    assert!(parse(&links(&[("d/up", ".."), ("d/e/a", "../../x/y"), ("here", ".")])).is_ok());
    // `d/up` is the root, so that `d/up/..` is out, which the text alone does not show.
    assert!(refusal(&links(&[("d/up", ".."), ("z", "d/up/../etc")])).contains("leads out"));
    assert!(refusal(&links(&[("a", "b"), ("b", "a")])).contains("leads back"));
}

#[test]
fn symlinks_that_would_take_days_to_follow_are_refused() {
    // Each goes to the next one by many detours.
    let detours = "d/../".repeat(800);
    let link = |target: String| Entry::Symlink { target };
    let mut files: BTreeMap<RelPath, Entry> =
        (0..39).map(|at| (path(&format!("x{at}")), link(format!("{detours}x{}", at + 1)))).collect();
    assert!(check_layout(&files).is_err());
    let straight = (0..100_000).map(|at| (path(&format!("{at}")), link("x38".into())));
    files = straight.chain([(path("x38"), link(format!("{detours}end")))]).collect();
    assert!(check_layout(&files).unwrap_err().to_string().contains("too entangled"));
    files.insert(path("x38"), link("some/where/else".into()));
    check_layout(&files).unwrap();
}

#[test]
fn sizes_that_nothing_has_are_refused_and_huge_ones_do_not_overflow() {
    let empty_but = format!(r#"{{"h":"{SHA1}","s":{}}}"#, u64::MAX);
    assert!(refusal(&with_file("f", &empty_but)).contains("the largest is"));
    let huge = format!(r#"{{"h":"{SHA1}","s":{}}}"#, i64::MAX);
    let text = format!(r#"{{"algo":"sha-1","files":{{"a":{huge},"b":{huge},"c":{huge}}}}}"#);
    assert_eq!(parse(&text).unwrap().total_bytes(), u64::MAX);
}

#[test]
fn later_manifests_add_what_the_earlier_ones_leave_open() {
    let document = |text: &str| Document::parse(text.as_bytes()).unwrap();
    let mut merged = document(r#"{"files":{"a":{"l":"1"}},"relative_cwd":"."}"#);
    merged.merge(document(r#"{"files":{"a":{"l":"2"},"b":{"l":"2"}},"command":["x"],"relative_cwd":"sub"}"#));
    merged.merge(document(r#"{"files":{"b":{"l":"3"}},"command":["y"],"read_only":2}"#));
    let isolated = Isolated::from(merged);
    assert_eq!(isolated.files[&path("a")], Entry::Symlink { target: "1".into() });
    assert_eq!(isolated.files[&path("b")], Entry::Symlink { target: "2".into() });
    assert_eq!(isolated.command, ["x"]);
    assert_eq!((isolated.relative_cwd, isolated.read_only), (None, ReadOnly::FilesAndDirs));
}

#[test]
fn includes_without_a_size_cannot_be_fetched_and_say_so() {
    let isolated = parse(&format!(r#"{{"includes":["{SHA1}","{SHA1}/3"]}}"#)).unwrap();
    let [by_hash, sized] = &isolated.includes[..] else { panic!("two includes") };
    assert!(by_hash.digest().unwrap_err().to_string().contains("HASH/SIZE"));
    assert_eq!(sized.digest().unwrap(), DigestFunction::Sha1.digest(b"abc"));
}

fn any_function() -> impl Strategy<Value = DigestFunction> {
    (0..DigestFunction::ALL.len()).prop_map(|at| DigestFunction::ALL[at])
}

fn any_entry(function: DigestFunction) -> impl Strategy<Value = Entry> {
    let content = || (any::<[u8; 4]>(), proptest::option::of(0..0o10000u32));
    let file = content().prop_map(move |(bytes, mode)| Entry::File { digest: function.digest(&bytes), mode });
    let tar = content().prop_map(move |(bytes, mode)| Entry::Tar { digest: function.digest(&bytes), mode });
    let name = "[a-zé\"\u{1}\n\u{7f}]{1,3}";
    // Some of these lead out, or are refused as they are.
    let odd = "(\\.\\./|\\./|/|[a-z]\\\\)?[a-z\u{1}]{1,2}(/|/\\.\\./|//)?[a-z]{0,2}";
    let target = prop_oneof![2 => name, 1 => odd];
    prop_oneof![4 => file, 1 => tar, 1 => target.prop_map(|target| Entry::Symlink { target })]
}

fn any_isolated() -> impl Strategy<Value = Isolated> {
    any_function().prop_flat_map(|function| {
        // Names of files and of directories differ, so that nothing lies below a file.
        let name = "([0-9]/){0,3}[a-zé \"]{1,5}".prop_map(|text| path(&text));
        let include = prop_oneof![
            any::<u64>().prop_map(move |seed| Include::Sized(function.digest(&seed.to_le_bytes()))),
            any::<u64>()
                .prop_map(move |seed| Include::Unsized { hash: function.digest(&seed.to_le_bytes()).hex() }),
        ];
        (
            proptest::collection::vec("\\PC{0,10}", 0..4),
            proptest::collection::btree_map(name, any_entry(function), 0..10),
            proptest::option::of("[a-z]{1,5}(/[a-z]{1,5}){0,2}".prop_map(|text| path(&text))),
            (0..3u64).prop_map(|number| ReadOnly::from_number(number).unwrap()),
            proptest::collection::vec(include, 0..3),
            (0..2usize).prop_map(|at| Version::ALL[at]),
        )
            .prop_map(move |(command, files, relative_cwd, read_only, includes, version)| Isolated {
                function,
                command,
                files,
                relative_cwd,
                // The second version cannot tell.
                read_only: if version == Version::V2 { ReadOnly::Writable } else { read_only },
                includes,
                version,
            })
    })
}

/// Leads back to itself, which the generator may come up with, or not.
fn is_looped(isolated: &Isolated) -> bool {
    check_layout(&isolated.files).is_err()
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(isolated in any_isolated()) {
        prop_assume!(!is_looped(&isolated));
        let bytes = isolated.to_bytes();
        let read = Isolated::parse(&bytes).unwrap();
        prop_assert_eq!(read.to_bytes(), bytes);
        prop_assert_eq!(read, isolated);
    }

    #[test]
    fn keys_are_sorted_and_nothing_is_padded(isolated in any_isolated()) {
        let text = String::from_utf8(isolated.to_bytes()).unwrap();
        let sorted: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        let dense = serde_json::to_string(&sorted).unwrap();
        let escape = |c: char| match c {
            ' '..='~' => c.to_string(),
            c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        };
        prop_assert_eq!(dense.chars().map(escape).collect::<String>(), text);
    }

    #[test]
    fn no_mutation_panics(isolated in any_isolated(), at: usize, byte: u8, cut: usize) {
        let mut bytes = isolated.to_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Isolated::parse(&bytes);
        bytes.truncate(cut % bytes.len());
        let _ = Isolated::parse(&bytes);
    }

    #[test]
    fn no_symlink_of_an_accepted_manifest_leaves_a_real_directory(
        links in proptest::collection::btree_map("[ab](/[ab]){0,2}", "(\\.\\.|\\.|[ab])(/(\\.\\.|[ab])){0,4}", 1..6),
    ) {
        // Takes in as many as go together.
        let mut files: BTreeMap<RelPath, Entry> = BTreeMap::new();
        for (at, target) in &links {
            files.insert(path(at), Entry::Symlink { target: target.clone() });
            if check_layout(&files).is_err() {
                files.remove(&path(at));
            }
        }
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().canonicalize().unwrap().join("r");
        for (at, entry) in &files {
            let Entry::Symlink { target } = entry else { continue };
            let at = inner.join(at.as_path());
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, at).unwrap();
        }
        for at in files.keys() {
            // Links may point to nothing; those that point to something stay inside.
            if let Ok(real) = inner.join(at.as_path()).canonicalize() {
                prop_assert!(real.starts_with(&inner), "{at} leads to {real:?}");
            }
        }
    }
}

#[test]
fn a_manifest_beyond_the_limit_is_refused_before_it_is_read() {
    let limit = proto::limits::MAX_MANIFEST_BYTES;
    let size = usize::try_from(limit + 1).unwrap();
    assert!(matches!(Isolated::parse(&vec![b' '; size]), Err(IsolatedError::TooLarge { .. })));
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!(r#"{{"files":{}{}}}"#, "{\"a\":".repeat(100_000), "}".repeat(100_000));
    assert!(parse(&deep).is_err());
    assert!(parse(&"[".repeat(1_000_000)).is_err());
}
