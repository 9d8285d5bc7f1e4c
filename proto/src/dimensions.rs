//! What bots are, what shards ask of them, and whether the two fit.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// Limits of the original Swarming (keys of 64 and values of 256 bytes, 16 values a key), with twice its 32 keys: its
/// users' dimensions stay valid.
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 256;
const MAX_VALUES: usize = 16;
const MAX_KEYS: usize = 64;

fn check_key(key: &str) -> Result<(), DimensionError> {
    let first = |c: char| c.is_ascii_alphabetic() || matches!(c, '-' | '_' | '.');
    let valid =
        key.len() <= MAX_KEY && key.starts_with(first) && key.chars().all(|c| first(c) || c.is_ascii_digit());
    if valid { Ok(()) } else { Err(DimensionError::Key { given: key.to_owned() }) }
}

fn check_value(key: &str, value: &str) -> Result<(), DimensionError> {
    let valid = !value.is_empty()
        && value.len() <= MAX_VALUE
        && value.trim() == value
        && !value.contains('|')
        && !value.contains(char::is_control);
    if valid { Ok(()) } else { Err(DimensionError::Value { key: key.to_owned(), given: value.to_owned() }) }
}

/// A bot's description of itself: each key with all of its values. Sorted lists: every call of a bot brings one, most of
/// them are equal to what it said before and forgotten, and lists are made and compared in a fraction of the time of trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dimensions(Vec<(String, Vec<String>)>);

impl Dimensions {
    /// Adds one value to a key.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), DimensionError> {
        check_key(key)?;
        check_value(key, value)?;
        let too_many = || DimensionError::TooMany { key: key.to_owned() };
        match self.place(key) {
            Ok(at) => {
                let values = &mut self.0[at].1;
                let Err(place) = values.binary_search_by(|known| known.as_str().cmp(value)) else {
                    return Ok(());
                };
                if values.len() >= MAX_VALUES {
                    return Err(too_many());
                }
                values.insert(place, value.to_owned());
            }
            Err(_) if self.0.len() >= MAX_KEYS => return Err(too_many()),
            Err(at) => self.0.insert(at, (key.to_owned(), vec![value.to_owned()])),
        }
        Ok(())
    }

    /// Replaces all values of a key.
    pub fn set<'a>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), DimensionError> {
        if let Ok(at) = self.place(key) {
            self.0.remove(at);
        }
        values.into_iter().try_for_each(|value| self.insert(key, value))
    }

    /// The values of a key, sorted, if the bot has it.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.place(key).ok().map(|at| self.0[at].1.as_slice())
    }

    /// Keys and their values, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    /// Whether one requirement holds.
    pub fn satisfies(&self, requirement: &Requirement) -> bool {
        let values = self.get(&requirement.key).unwrap_or_default();
        values.iter().any(|value| requirement.any_of.contains(value))
    }

    /// Where a key is, or where it would be.
    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(key))
    }
}

impl From<&Dimensions> for Vec<crate::v1::Dimension> {
    fn from(dimensions: &Dimensions) -> Self {
        let wire = |(key, values): (&str, &[String])| crate::v1::Dimension {
            key: key.to_owned(),
            values: values.to_vec(),
        };
        dimensions.iter().map(wire).collect()
    }
}

impl TryFrom<&[crate::v1::Dimension]> for Dimensions {
    type Error = DimensionError;

    fn try_from(wire: &[crate::v1::Dimension]) -> Result<Self, DimensionError> {
        let mut dimensions = Self::default();
        for dimension in wire {
            dimension.values.iter().try_for_each(|value| dimensions.insert(&dimension.key, value))?;
        }
        Ok(dimensions)
    }
}

/// What a shard asks of a bot under one key: at least one of these values. Text form `k=v1|v2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    key: String,
    any_of: BTreeSet<String>,
}

impl Requirement {
    /// Checks key and values.
    pub fn new<'a>(key: &str, any_of: impl IntoIterator<Item = &'a str>) -> Result<Self, DimensionError> {
        check_key(key)?;
        let any_of: BTreeSet<String> = any_of.into_iter().map(str::to_owned).collect();
        any_of.iter().try_for_each(|value| check_value(key, value))?;
        if any_of.is_empty() {
            return Err(DimensionError::Value { key: key.to_owned(), given: String::new() });
        }
        if any_of.len() > MAX_VALUES {
            return Err(DimensionError::TooMany { key: key.to_owned() });
        }
        Ok(Self { key: key.to_owned(), any_of })
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The values, one of which the bot must have.
    pub fn any_of(&self) -> &BTreeSet<String> {
        &self.any_of
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<&str> = self.any_of.iter().map(String::as_str).collect();
        write!(f, "{}={}", self.key, values.join("|"))
    }
}

impl FromStr for Requirement {
    type Err = DimensionError;

    fn from_str(text: &str) -> Result<Self, DimensionError> {
        let (key, values) =
            text.split_once('=').ok_or_else(|| DimensionError::Syntax { given: text.to_owned() })?;
        Self::new(key, values.split('|'))
    }
}

impl From<&Requirement> for crate::v1::Requirement {
    fn from(requirement: &Requirement) -> Self {
        Self { key: requirement.key.clone(), any_of: requirement.any_of.iter().cloned().collect() }
    }
}

/// All that a shard asks of a bot, sorted: equal requirements are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirements(BTreeSet<Requirement>);

impl Requirements {
    /// Adds one.
    pub fn insert(&mut self, requirement: Requirement) -> Result<(), DimensionError> {
        if self.0.len() >= MAX_KEYS && !self.0.contains(&requirement) {
            return Err(DimensionError::TooMany { key: requirement.key });
        }
        self.0.insert(requirement);
        Ok(())
    }

    /// The requirements, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Requirement> {
        self.0.iter()
    }

    /// Whether a bot with these dimensions may run the shard.
    pub fn fit(&self, dimensions: &Dimensions) -> bool {
        self.unmet(dimensions).next().is_none()
    }

    /// The requirements that keep a bot with these dimensions away.
    pub fn unmet(&self, dimensions: &Dimensions) -> impl Iterator<Item = &Requirement> {
        self.0.iter().filter(|requirement| !dimensions.satisfies(requirement))
    }
}

impl From<&Requirements> for Vec<crate::v1::Requirement> {
    fn from(requirements: &Requirements) -> Self {
        requirements.iter().map(Into::into).collect()
    }
}

impl TryFrom<&[crate::v1::Requirement]> for Requirements {
    type Error = DimensionError;

    fn try_from(wire: &[crate::v1::Requirement]) -> Result<Self, DimensionError> {
        let mut requirements = Self::default();
        for one in wire {
            requirements.insert(Requirement::new(&one.key, one.any_of.iter().map(String::as_str))?)?;
        }
        Ok(requirements)
    }
}

/// Why a dimension or requirement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DimensionError {
    /// Not of the form `KEY=VALUE`.
    #[error("`{given}` is not a dimension: write KEY=VALUE or KEY=VALUE1|VALUE2")]
    Syntax {
        /// What was given.
        given: String,
    },
    /// A malformed key.
    #[error(
        "`{given}` is not a dimension key: up to 64 letters, digits, `-`, `_` and `.`, not starting with a digit"
    )]
    Key {
        /// What was given.
        given: String,
    },
    /// A malformed value.
    #[error(
        "`{given}` is not a value for dimension `{key}`: 1 to 256 bytes without `|` or control characters, no space at either end"
    )]
    Value {
        /// The key.
        key: String,
        /// What was given.
        given: String,
    },
    /// More keys or values than allowed.
    #[error("too many dimensions at `{key}`: at most 64 keys and 16 values for each")]
    TooMany {
        /// Where the limit was met.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(pairs: &[(&str, &str)]) -> Dimensions {
        let mut dimensions = Dimensions::default();
        for (key, value) in pairs {
            dimensions.insert(key, value).unwrap();
        }
        dimensions
    }

    fn asks(texts: &[&str]) -> Requirements {
        let mut requirements = Requirements::default();
        for text in texts {
            requirements.insert(text.parse().unwrap()).unwrap();
        }
        requirements
    }

    #[test]
    fn requirements_are_anded_and_their_values_ored() {
        let linux = bot(&[("os", "Linux"), ("os", "Debian-12"), ("pool", "ci")]);
        assert!(asks(&[]).fit(&linux));
        assert!(asks(&["os=Linux"]).fit(&linux));
        assert!(asks(&["os=Windows|Linux", "pool=ci"]).fit(&linux));
        assert!(asks(&["os=Linux", "os=Debian-12"]).fit(&linux));
        assert!(!asks(&["os=Linux", "os=Windows"]).fit(&linux));
        let unmet = asks(&["gpu=a|b", "pool=ci"]);
        assert_eq!(unmet.unmet(&linux).map(ToString::to_string).collect::<Vec<_>>(), ["gpu=a|b"]);
    }

    #[test]
    fn what_is_said_in_another_order_or_twice_is_the_same() {
        let said = bot(&[("os", "Linux"), ("pool", "ci"), ("os", "Debian-12")]);
        assert_eq!(said, bot(&[("pool", "ci"), ("os", "Debian-12"), ("os", "Linux"), ("os", "Linux")]));
        assert_eq!(said.get("os").unwrap(), ["Debian-12", "Linux"]);
        assert_eq!(said.get("o"), None);
        assert_eq!(said.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["os", "pool"]);
        let mut set = said.clone();
        set.set("os", ["Plan9"]).unwrap();
        assert_eq!(set, bot(&[("os", "Plan9"), ("pool", "ci")]));
        assert_ne!(set, said);
    }

    #[test]
    fn malformed_dimensions_are_refused() {
        for bad in ["os", "=x", "os=", "os= x", "1os=x", "os=a||b", "o s=x"] {
            assert!(bad.parse::<Requirement>().is_err(), "{bad}");
        }
        assert!(Dimensions::default().insert("os", "a|b").is_err());
    }

    #[test]
    fn what_is_too_much_leaves_no_trace() {
        let mut full = Dimensions::default();
        for at in 0..MAX_KEYS {
            full.insert(&format!("k{at}"), "v").unwrap();
        }
        for at in 1..MAX_VALUES {
            full.insert("k0", &format!("v{at}")).unwrap();
        }
        let before = full.clone();
        assert!(matches!(full.insert("other", "v"), Err(DimensionError::TooMany { .. })));
        assert!(matches!(full.insert("k0", "other"), Err(DimensionError::TooMany { .. })));
        full.insert("k0", "v").unwrap();
        assert_eq!(full, before);
    }

    #[test]
    fn the_wire_form_round_trips() {
        let dimensions = bot(&[("os", "Linux"), ("os", "Debian"), ("pool", "ci")]);
        let wire: Vec<crate::v1::Dimension> = (&dimensions).into();
        assert_eq!(Dimensions::try_from(&wire[..]).unwrap(), dimensions);
        let requirements = asks(&["os=b|a", "pool=ci"]);
        let wire: Vec<crate::v1::Requirement> = (&requirements).into();
        assert_eq!(Requirements::try_from(&wire[..]).unwrap(), requirements);
    }
}
