//! Items of a step: parsed, put into the words of a shard's command, and left out of answers.

use super::field::{FieldError, InField, text};
use crate::queue::{FanOut, Items, StepSpec};
use proto::{Cut, limits, v1};
use std::num::NonZeroU32;
use v1::fan_out::{Policy, items::Cut as WireCut};

/// The word in whose place items are put.
const PLACE: &str = "{items}";

/// Items of one shard go to a bot in one message, and all at once to a program: Linux takes 2 MiB, with the environment.
const MOST_BYTES_PER_SHARD: usize = 512 * 1024;

/// About what a step's items take, and all else that it has.
pub(super) fn sizes(step: &v1::StepSpec) -> (usize, usize) {
    use prost::Message as _;
    let policy = step.fan_out.as_ref().and_then(|fan_out| fan_out.policy.as_ref());
    let Some(Policy::Items(wire)) = policy else { return (0, step.encoded_len()) };
    let items = wire.items.iter().map(|item| item.len() + limits::ITEM_OVERHEAD).sum();
    (items, step.encoded_len().saturating_sub(wire.encoded_len()))
}

pub(super) fn parse_items(wire: &v1::fan_out::Items, step: &v1::StepSpec) -> Result<Items, FieldError> {
    let count =
        |field, count| NonZeroU32::new(count).ok_or_else(|| FieldError::new(field, "must be at least 1"));
    let cut = match wire.cut {
        Some(WireCut::PerShard(most)) => Cut::PerShard(count("per_shard", most)?),
        Some(WireCut::Shards(shards)) => Cut::Shards(count("shards", shards)?),
        None => {
            let problem = "is missing: say how many items a shard gets, or how many shards there are to be";
            return Err(FieldError::new("cut", problem));
        }
    };
    if wire.items.len() > limits::MAX_ITEMS_PER_STEP {
        let problem =
            format!("are more than {}: put them into a file of the input", limits::MAX_ITEMS_PER_STEP);
        return Err(FieldError::new("items", problem));
    }
    let items = wire.items.iter().enumerate().map(|(number, item)| parse_item(number, item));
    let items = Items::new(items.collect::<Result<_, _>>()?, cut).in_field("items")?;
    let large = (0..items.shards()).find(|shard| items.bytes(*shard) > MOST_BYTES_PER_SHARD);
    if let Some(shard) = large {
        let problem = format!(
            "give shard {shard} more than {MOST_BYTES_PER_SHARD} bytes of words: give a shard fewer of them, or put \
             them into a file of the input"
        );
        return Err(FieldError::new("items", problem));
    }
    if step.command.iter().chain(&step.extra_args).filter(|word| *word == PLACE).count() > 1 {
        return Err(FieldError::new(
            "items",
            format!("have several places: write `{PLACE}` once, or not at all"),
        ));
    }
    Ok(items)
}

fn parse_item(number: usize, item: &str) -> Result<Box<str>, FieldError> {
    let field = || format!("items[{number}]");
    if item.is_empty() {
        return Err(FieldError::new(&field(), "is empty"));
    }
    // Its field is named only when it is wrong: there are many.
    match text("", item, limits::MAX_ITEM_BYTES) {
        Ok(item) => Ok(item.into_boxed_str()),
        Err(_) => text(&field(), item, limits::MAX_ITEM_BYTES).map(String::into_boxed_str),
    }
}

pub(super) fn items_to_wire(items: &Items) -> v1::fan_out::Items {
    let all = items.all().iter().map(ToString::to_string).collect();
    v1::fan_out::Items { items: all, count: 0, ..outline(items) }
}

/// How many there are and how they are divided.
pub(super) fn outline(items: &Items) -> v1::fan_out::Items {
    let cut = match items.cut() {
        Cut::PerShard(most) => WireCut::PerShard(most.get()),
        Cut::Shards(shards) => WireCut::Shards(shards.get()),
    };
    v1::fan_out::Items { items: Vec::new(), cut: Some(cut), count: items.count() }
}

/// The command of a shard and the words behind it, with its items.
pub(super) fn words(step: &StepSpec, shard: u32) -> (Vec<String>, Vec<String>) {
    let (command, extra_args) = (&step.command, &step.extra_args);
    let FanOut::Items(items) = &step.fan_out else { return (command.clone(), extra_args.clone()) };
    let own = || items.of(shard).iter().map(ToString::to_string);
    let put = |words: &[String]| {
        let mut all = Vec::with_capacity(words.len());
        for word in words {
            if word == PLACE { all.extend(own()) } else { all.push(word.clone()) }
        }
        all
    };
    let (command, mut extra_args) = (put(command), put(extra_args));
    if step.command.iter().chain(&step.extra_args).all(|word| word != PLACE) {
        extra_args.extend(own());
    }
    (command, extra_args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::step;

    fn words_of(command: &[&str], extra: &[&str], shard: u32) -> String {
        let all = ["a", "b c", "d"].map(Into::into).into();
        let items = Items::new(all, Cut::PerShard(NonZeroU32::new(2).unwrap())).unwrap();
        let texts = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let fan_out = FanOut::Items(items);
        let step = StepSpec { command: texts(command), extra_args: texts(extra), fan_out, ..step(1, &[]) };
        let (command, extra_args) = words(&step, shard);
        format!("{} / {}", command.join(" "), extra_args.join(" "))
    }

    #[test]
    fn items_stand_behind_all_words_or_where_they_belong() {
        assert_eq!(words_of(&["x"], &["-v"], 0), "x / -v a b c");
        assert_eq!(words_of(&[], &[], 1), " / d");
        assert_eq!(words_of(&["x", "{items}", "-o"], &["-v"], 0), "x a b c -o / -v");
        assert_eq!(words_of(&["x"], &["{items}", "-v"], 1), "x / d -v");
        assert_eq!(
            words_of(&["x"], &["--all={items}"], 1),
            "x / --all={items} d",
            "a part of a word is no place"
        );
    }

    #[test]
    fn items_that_no_command_can_be_given_are_refused_by_number() {
        let refused = |items: Vec<String>, cut| {
            let wire = v1::fan_out::Items { items, cut, count: 0 };
            let extra_args = vec!["{items}".into(); 2];
            parse_items(&wire, &v1::StepSpec { extra_args, ..Default::default() }).unwrap_err().to_string()
        };
        let one = Some(WireCut::PerShard(1));
        let texts = |items: &[&str]| items.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(refused(texts(&["a", "", "b"]), one), "items[1]: is empty");
        assert_eq!(refused(texts(&["a", "b\0"]), one), "items[1]: contains control characters");
        assert_eq!(refused(vec!["x".repeat(4097)], one), "items[0]: is longer than 4096 bytes");
        assert_eq!(refused(vec![], one), "items: are missing: give at least one");
        assert_eq!(refused(texts(&["a"]), Some(WireCut::PerShard(0))), "per_shard: must be at least 1");
        assert_eq!(refused(texts(&["a"]), Some(WireCut::Shards(0))), "shards: must be at least 1");
        assert!(refused(texts(&["a"]), None).starts_with("cut: is missing"));
        assert!(refused(vec!["x".into(); 200_001], one).starts_with("items: are more than 200000"));
        let large = refused(vec!["x".repeat(4000); 150], Some(WireCut::PerShard(140)));
        assert!(large.starts_with("items: give shard 0 more than 524288 bytes"), "{large}");
        assert!(refused(texts(&["a"]), one).starts_with("items: have several places"));
    }
}
