//! An error in words, with what caused it: results and logs carry text, not chains.

use std::error::Error;

/// `error: cause: cause of the cause`. What a message already contains is not said twice.
pub(crate) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
