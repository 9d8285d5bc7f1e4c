//! In which order the pending shards of a pool are taken, and between whom they are shared. An operator's choice: it is
//! read when the scheduler starts, is in no record, and changes nothing but which shard comes next.

use proto::Requirements;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The dimension that says which pool a shard is in: one that asks for exactly one value of it.
const POOL_KEY: &str = "pool";

/// What is to hold for the shards of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Which of a user's shards comes next.
    pub order: Order,
    /// Who takes turns.
    pub share_by: ShareBy,
}

/// Which shard of a line comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// That of the oldest run.
    #[default]
    Fifo,
    /// That of the newest run; now and then that of the oldest.
    Lifo,
}

/// By what runs form lines, which take turns.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum ShareBy {
    /// By their user.
    #[default]
    User,
    /// By their first tag that begins with this, `KEY:`. Runs without one form a line together.
    Tag(String),
}

/// Not what shares can be made by.
#[derive(Debug, thiserror::Error)]
#[error("`{given}` is not what pools can be shared by: write `user`, or `tag:KEY` for the values of a tag")]
pub struct NoShareBy {
    given: String,
}

impl TryFrom<String> for ShareBy {
    type Error = NoShareBy;

    fn try_from(text: String) -> Result<Self, NoShareBy> {
        match text.strip_prefix("tag:") {
            Some(key) if !key.is_empty() && !key.contains(':') => Ok(Self::Tag(format!("{key}:"))),
            None if text == "user" => Ok(Self::User),
            _ => Err(NoShareBy { given: text }),
        }
    }
}

impl ShareBy {
    /// The name of the line that a run stands in.
    pub(crate) fn line<'a>(&'a self, user: &'a str, tags: &'a [String]) -> &'a str {
        match self {
            Self::User => user,
            Self::Tag(prefix) => tags.iter().find(|tag| tag.starts_with(prefix)).unwrap_or(prefix),
        }
    }
}

/// All pools that an operator speaks of, by name. Whoever is in none of these is in one with the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Pools {
    named: BTreeMap<String, Pool>,
    other: Pool,
}

impl Pools {
    /// Those of the configuration.
    pub(crate) fn new(named: BTreeMap<String, Pool>) -> Self {
        Self { named, other: Pool::default() }
    }

    /// The one that a shard is in which asks for this.
    pub(crate) fn of(&self, requirements: &Requirements) -> &Pool {
        let asked = requirements.iter().filter(|one| one.key() == POOL_KEY && one.any_of().len() == 1);
        let named = asked.flat_map(|one| one.any_of()).find_map(|name| self.named.get(name));
        named.unwrap_or(&self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(text: &str) -> Result<BTreeMap<String, Pool>, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_pool_is_what_its_section_says_and_otherwise_as_always() {
        let named = pools("[ci]\norder = \"lifo\"\nshare_by = \"tag:team\"\n[slow]\n").unwrap();
        assert_eq!(named["ci"], Pool { order: Order::Lifo, share_by: ShareBy::Tag("team:".into()) });
        assert_eq!(named["slow"], Pool::default());
        for (wrong, expected) in [
            ("[ci]\norder = \"filo\"", "`fifo` or `lifo`"),
            ("[ci]\nshare_by = \"team\"", "write `user`, or `tag:KEY`"),
            ("[ci]\nshare_by = \"tag:\"", "write `user`, or `tag:KEY`"),
            ("[ci]\nordre = \"fifo\"", "ordre"),
        ] {
            let error = pools(wrong).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_shard_is_in_the_one_pool_that_it_asks_for() {
        let pools = Pools::new(pools("[ci]\norder = \"lifo\"").unwrap());
        let order = |asked: &[&str]| {
            let mut requirements = Requirements::default();
            asked.iter().for_each(|one| requirements.insert(one.parse().unwrap()).unwrap());
            pools.of(&requirements).order
        };
        assert_eq!(order(&["os=Linux", "pool=ci"]), Order::Lifo);
        assert_eq!(order(&["pool=ci|other"]), Order::Fifo, "it is in either");
        assert_eq!(order(&["pool=other"]), Order::Fifo);
        assert_eq!(order(&["os=ci"]), Order::Fifo);
    }

    #[test]
    fn lines_are_made_by_user_or_by_the_value_of_a_tag() {
        let tags = ["branch:main".to_owned(), "team:web".to_owned(), "team:late".to_owned()];
        let by = |text: &str| ShareBy::try_from(text.to_owned()).unwrap();
        assert_eq!(by("user").line("ann", &tags), "ann");
        assert_eq!(by("tag:team").line("ann", &tags), "team:web");
        assert_eq!(by("tag:team").line("ann", &tags[..1]), "team:", "who leaves it out gains nothing");
        assert_eq!(by("tag:te").line("ann", &tags), "te:");
    }
}
