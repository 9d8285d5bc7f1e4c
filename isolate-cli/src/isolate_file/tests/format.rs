//! The canonical form keeps meaning and comments.

use super::*;
use cas::isolated::ReadOnly;
use proptest::prelude::*;

fn format(text: &str) -> String {
    formatted(text).map_err(|error| error.value.to_string()).unwrap()
}

#[test]
fn a_file_is_written_in_one_way_and_keeps_its_comments() {
    let text = "\
# Copyright

# About
{ # open
    \"conditions\": [ # which
      [ # why
       'OS==\"linux\" or OS==\\'mac\\' and bits == 64', { 'variables': {'read_only': 2}, }, # odd
      ], # case
    ],
  'variables': {'files': [
      # First.
      'b', # is b
      ('long'  # one
       '_name'), 'a'
      # Last.
  ], 'command': ['x']}, # end
  # below
} # closed
# bottom
";
    let expected = "\
# Copyright
# About
{
  'variables': {
    'command': [
      'x',
    ],
    'files': [
      # First.
      'b',  # is b
      'long_name',  # one
      'a',
      # Last.
    ],
  },  # end
  # open
  'conditions': [
    # which
    # why
    ['OS==\"linux\" or (OS==\"mac\" and bits==64)', {
      'variables': {
        'read_only': 2,
      },
    }],  # odd  # case
  ],
  # below
}  # closed
# bottom
";
    assert_eq!(format(text), expected);
    assert_eq!(format(expected), expected);
    assert_eq!(
        format("{'variables':{'files':[]},\n#c\n}"),
        "{\n  'variables': {\n    'files': [],\n  },\n  #c\n}\n"
    );
    assert_eq!(format("{}"), "{}\n");
    assert!(formatted("{'variables': {'file': []}}").is_err());
}

fn any_block() -> impl Strategy<Value = Block> {
    let texts = || proptest::collection::vec("[a-z#'\"\\\\\n]{1,6}", 0..4);
    let placed = |texts: Vec<String>| -> Vec<Placed<String>> {
        texts.into_iter().map(|text| Placed::new(text, Position::START)).collect()
    };
    let read_only = proptest::option::of((0..3u64).prop_map(|number| ReadOnly::from_number(number).unwrap()));
    (texts(), proptest::collection::vec("[a-z#'\"/]{1,6}", 0..4), read_only).prop_map(
        move |(command, files, read_only)| Block {
            command: placed(command),
            files: placed(files),
            read_only,
        },
    )
}

fn any_document() -> impl Strategy<Value = Document> {
    let condition = "a==[0-9]( or b==[0-9]){0,2}( and c==\"[a-z']{0,3}\"){0,2}";
    let condition = condition.prop_map(|text| Condition::parse(&text).unwrap());
    let includes = proptest::collection::vec(
        "[a-z.][a-z/.'\"]{0,5}".prop_map(|text| Placed::new(text, Position::START)),
        0..3,
    );
    let block = || prop_oneof![1 => Just(Block::default()), 3 => any_block()];
    (includes, block(), proptest::collection::vec((condition, block()), 0..3))
        .prop_map(|(includes, variables, conditions)| Document { includes, variables, conditions })
}

proptest! {
    #[test]
    fn what_programs_write_is_canonical_already(document in any_document()) {
        let text = document.to_string();
        prop_assert_eq!(format(&text), text.clone());
        prop_assert_eq!(Document::parse(&text).unwrap(), document);
    }

    /// Comments anywhere between tokens are all still there, once, and nothing else changes.
    #[test]
    fn comments_anywhere_stay(document in any_document(), at in proptest::collection::vec(any::<prop::sample::Index>(), 1..5)) {
        let mut text = document.to_string();
        for (number, at) in at.iter().enumerate() {
            let ends: Vec<usize> = text.match_indices(",\n").map(|(at, _)| at + 1)
                .chain(text.match_indices("[\n").map(|(at, _)| at + 1))
                .chain([0]).collect();
            let place = ends[at.index(ends.len())];
            text.insert_str(place, &format!(" # comment {number}.\n"));
        }
        let formatted = format(&text);
        for number in 0..at.len() {
            prop_assert_eq!(formatted.matches(&format!("# comment {number}.")).count(), 1, "{}", formatted);
        }
        prop_assert_eq!(Document::parse(&formatted).unwrap(), document);
        prop_assert_eq!(format(&formatted), formatted);
    }
}
