//! Errors that name the field they are about.

use prost_types::Duration as WireDuration;
use std::{fmt, time::Duration};

/// Nobody means to wait longer than this: a longer time is a mistake of units.
pub(crate) const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A field of a message that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub(crate) struct FieldError {
    field: String,
    problem: String,
}

impl FieldError {
    /// `field` as in `steps[2].input`.
    pub(crate) fn new(field: &str, problem: impl fmt::Display) -> Self {
        Self { field: field.to_owned(), problem: problem.to_string() }
    }

    /// The same, seen from the message that contains this one as `outer`.
    pub(crate) fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

/// Puts the field's name before an error.
pub(crate) trait InField<T> {
    /// Names the field.
    fn in_field(self, field: &str) -> Result<T, FieldError>;
}

impl<T, E: fmt::Display> InField<T> for Result<T, E> {
    fn in_field(self, field: &str) -> Result<T, FieldError> {
        self.map_err(|error| FieldError::new(field, error))
    }
}

/// A text that is not too long and has no control characters.
pub(crate) fn text(field: &str, given: &str, most: usize) -> Result<String, FieldError> {
    if given.len() > most {
        return Err(FieldError::new(field, format!("is longer than {most} bytes")));
    }
    if given.contains(char::is_control) {
        return Err(FieldError::new(field, "contains control characters"));
    }
    Ok(given.to_owned())
}

/// A duration, or none when it is absent or zero.
pub(crate) fn duration(field: &str, given: Option<&WireDuration>) -> Result<Option<Duration>, FieldError> {
    let Some(given) = given else { return Ok(None) };
    let duration = Duration::try_from(*given);
    let duration = duration.map_err(|_| FieldError::new(field, "must not be negative"))?;
    if duration > LONGEST {
        return Err(FieldError::new(field, "is longer than 30 days"));
    }
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

/// As the wire has it. What does not fit is longer than the universe lasts.
pub(crate) fn to_wire(duration: Duration) -> WireDuration {
    WireDuration::try_from(duration).unwrap_or(WireDuration { seconds: i64::MAX, nanos: 0 })
}
