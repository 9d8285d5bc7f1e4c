//! Comparing what is expected with what is seen.

use std::fmt::Debug;
use tonic::{Code, Status};

/// The rule holds, or it does not.
pub(super) type Outcome<T = ()> = Result<T, Mismatch>;

/// What was expected, and what was seen instead.
#[derive(Clone, Debug)]
pub(super) struct Mismatch {
    pub(super) expected: String,
    pub(super) seen: String,
}

/// Fails unless it holds.
pub(super) fn that(holds: bool, expected: impl Into<String>, seen: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(Mismatch { expected: expected.into(), seen: seen.into() }) }
}

/// Fails unless both are the same.
pub(super) fn same<T: PartialEq + Debug>(what: &str, expected: &T, seen: &T) -> Outcome {
    that(expected == seen, format!("{what} {}", short(expected)), short(seen))
}

/// Fails unless both are the same bytes.
pub(super) fn same_bytes(what: &str, expected: &[u8], seen: &[u8]) -> Outcome {
    if expected == seen {
        return Ok(());
    }
    let differs =
        expected.iter().zip(seen).position(|(a, b)| a != b).unwrap_or(expected.len().min(seen.len()));
    let seen = format!("{} bytes that differ from byte {differs} on", seen.len());
    that(false, format!("{what} of {} bytes", expected.len()), seen)
}

/// The answer of a call that has to succeed.
pub(super) fn ok<T>(what: &str, answer: Result<T, Status>) -> Outcome<T> {
    answer.map_err(|status| Mismatch { expected: format!("{what}: OK"), seen: describe(&status) })
}

/// Fails unless a call was refused with one of these codes.
pub(super) fn refused<T: Debug>(what: &str, codes: &[Code], answer: Result<T, Status>) -> Outcome {
    let names: Vec<_> = codes.iter().map(|code| name(*code)).collect();
    let expected = format!("{what}: {}", names.join(" or "));
    match answer {
        Ok(answer) => that(false, expected, format!("OK, {}", short(&answer))),
        Err(status) => that(codes.contains(&status.code()), expected, describe(&status)),
    }
}

/// A status as the specification writes it.
pub(super) fn describe(status: &Status) -> String {
    format!("{}: {}", name(status.code()), status.message())
}

/// A code as the specification writes it.
pub(super) fn name(code: Code) -> String {
    let words = format!("{code:?}");
    let mut name = String::new();
    for letter in words.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    if name == "OK" { name } else { name.replace("O_K", "OK") }
}

/// Something in few enough words for one line.
pub(super) fn short(value: &impl Debug) -> String {
    const MOST: usize = 200;
    let text = format!("{value:?}");
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
