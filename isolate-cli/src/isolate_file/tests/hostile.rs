use super::*;
use cas::isolated::ReadOnly;
use proptest::{prelude::*, string::string_regex};

#[test]
fn brackets_without_end_are_refused_without_using_the_stack() {
    for bracket in ["[", "(", "{'a':"] {
        let error = Document::parse(&bracket.repeat(200_000)).unwrap_err();
        assert!(matches!(error.value, Problem::TooDeep { .. }), "{:?}", error.value);
    }
    let problem = Condition::parse(&"(".repeat(200_000)).unwrap_err();
    assert!(problem.to_string().contains("parentheses are open"));
}

#[test]
fn long_chains_in_a_condition_are_fine() {
    let chain = vec!["a==1"; 10_000].join(" or ");
    assert!(Condition::parse(&chain).unwrap().holds(&variables(&[("a", "1")]).config));
}

#[test]
fn includes_are_bounded_in_depth_and_number() {
    let endless = |path: &Path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Ok(format!("{{'includes': ['{name}x.isolate']}}"))
    };
    let deep = load(Path::new("/a.isolate"), &endless).unwrap_err();
    assert!(matches!(deep.problem, Problem::TooManyIncludes { .. }), "{deep}");
    // Each file includes two others: two to the power of the depth.
    let doubling = |path: &Path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let end = name.len() > 20;
        Ok(if end { "{}".into() } else { format!("{{'includes': ['{name}0.isolate', '{name}1.isolate']}}") })
    };
    let many = load(Path::new("/a.isolate"), &doubling).unwrap_err();
    assert!(matches!(many.problem, Problem::TooManyIncludes { limit: 10_000, .. }), "{many}");
}

fn placed(value: String) -> Placed<String> {
    Placed::new(value, Position::START)
}

fn texts(pattern: &str) -> impl Strategy<Value = Vec<Placed<String>>> + use<> {
    prop::collection::vec(string_regex(pattern).unwrap().prop_map(placed), 0..4)
}

fn block() -> impl Strategy<Value = Block> {
    let read_only = prop::option::of((0..3u64).prop_map(|number| ReadOnly::from_number(number).unwrap()));
    (texts("(?s).{0,20}"), texts("[a-z<()' \"/.\u{1}\né]{1,20}"), read_only)
        .prop_map(|(command, files, read_only)| Block { command, files, read_only })
}

fn condition() -> impl Strategy<Value = Condition> {
    let value =
        prop_oneof![any::<i64>().prop_map(ConfigValue::Int), "(?s).{0,10}".prop_map(ConfigValue::Text)];
    let leaf =
        ("[A-Z_][A-Z0-9_]{0,5}", value).prop_map(|(variable, value)| Condition::Equals { variable, value });
    leaf.prop_recursive(4, 20, 3, |inner| {
        let parts = prop::collection::vec(inner, 2..4);
        (parts, any::<bool>()).prop_map(|(parts, all)| match all {
            true => Condition::All(parts),
            false => Condition::Any(parts),
        })
    })
}

fn document() -> impl Strategy<Value = Document> {
    let conditions = prop::collection::vec((condition(), block()), 0..3);
    (texts("[a-z.][a-z/.]{0,10}"), block(), conditions)
        .prop_map(|(includes, variables, conditions)| Document { includes, variables, conditions })
}

proptest! {
    #[test]
    fn a_written_document_reads_as_the_same(document in document()) {
        let text = document.to_string();
        let back = Document::parse(&text);
        prop_assert!(back.is_ok(), "{}\n{:?}", text, back);
        let back = back.unwrap();
        prop_assert_eq!(&back, &document);
        prop_assert_eq!(back.to_string(), text);
    }

    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        let _ = Document::parse(&text);
        let _ = Condition::parse(&text);
    }

    #[test]
    fn no_damaged_description_panics(document in document(), cut in any::<prop::sample::Index>(), insert in "[\\[\\](){}'\",:=#\\\\]") {
        let mut text = document.to_string();
        let at = (0..=cut.index(text.len() + 1)).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        text.insert_str(at, &insert);
        if let Err(error) = Document::parse(&text) {
            let lines = u32::try_from(text.split('\n').count()).unwrap();
            prop_assert!(error.at.line <= lines);
        }
        let _ = Document::parse(&text[..at]);
    }

    #[test]
    fn evaluation_keeps_every_input_below_the_root(document in document(), os in "[a-z]{1,3}") {
        let mut document = document;
        document.includes.clear();
        let text = document.to_string();
        let mut names = std::collections::BTreeSet::new();
        document.conditions.iter().for_each(|(condition, _)| condition.collect_variables(&mut names));
        let config: Vec<_> = names.iter().map(|name| (*name, os.as_str())).collect();
        if let Ok(evaluated) = evaluate_all(&[("/src/test/a.isolate", &text)], &config) {
            for input in &evaluated.inputs {
                prop_assert!(input.path.starts_with(&evaluated.root));
            }
        }
    }
}
