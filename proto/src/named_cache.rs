//! Named caches: directories that a bot keeps between attempts and moves to where a command wants them.

use crate::{CacheName, IdError, PathError, RelPath, v1};
use std::{fmt, str::FromStr};

/// Most named caches of one step.
const MAX_CACHES: usize = 32;

/// A cache and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCache {
    /// Which one: the same name is the same cache.
    pub name: CacheName,
    /// From the root of the input.
    pub path: RelPath,
}

/// Why caches cannot be used so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamedCacheError {
    /// Not even two words.
    #[error("`{given}` is no named cache: write NAME=PATH")]
    Syntax {
        /// What was given.
        given: String,
    },
    /// The name is none.
    #[error(transparent)]
    Name(#[from] IdError),
    /// The path is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// More than anybody needs.
    #[error("there are {count} named caches, and {MAX_CACHES} is the most")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// One of them twice.
    #[error("the cache {name} is named twice")]
    Twice {
        /// Which one.
        name: CacheName,
    },
    /// Two of them in one place.
    #[error("the caches {first} and {second} cannot be at {} and {}: neither may be in the other", paths[0], paths[1])]
    Overlap {
        /// One of them.
        first: CacheName,
        /// The other.
        second: CacheName,
        /// Where they were to go.
        paths: Box<[RelPath; 2]>,
    },
}

impl NamedCache {
    /// Whether all of these can be in one tree.
    pub fn check(caches: &[Self]) -> Result<(), NamedCacheError> {
        if caches.len() > MAX_CACHES {
            return Err(NamedCacheError::TooMany { count: caches.len() });
        }
        for (at, first) in caches.iter().enumerate() {
            for second in &caches[at + 1..] {
                if first.name == second.name {
                    return Err(NamedCacheError::Twice { name: first.name.clone() });
                }
                let (one, other) = (first.path.as_path(), second.path.as_path());
                if one.starts_with(other) || other.starts_with(one) {
                    let paths = Box::new([first.path.clone(), second.path.clone()]);
                    let (first, second) = (first.name.clone(), second.name.clone());
                    return Err(NamedCacheError::Overlap { first, second, paths });
                }
            }
        }
        Ok(())
    }

    /// Those of a message, checked.
    pub fn from_wire(wire: &[v1::NamedCache]) -> Result<Vec<Self>, NamedCacheError> {
        let one = |cache: &v1::NamedCache| {
            Ok::<_, NamedCacheError>(Self {
                name: CacheName::new(&cache.name)?,
                path: RelPath::new(&cache.path)?,
            })
        };
        let caches = wire.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        Self::check(&caches)?;
        Ok(caches)
    }
}

impl From<&NamedCache> for v1::NamedCache {
    fn from(cache: &NamedCache) -> Self {
        Self { name: cache.name.to_string(), path: cache.path.to_string() }
    }
}

impl FromStr for NamedCache {
    type Err = NamedCacheError;

    /// `NAME=PATH`.
    fn from_str(text: &str) -> Result<Self, NamedCacheError> {
        let syntax = || NamedCacheError::Syntax { given: text.chars().take(80).collect() };
        let (name, path) = text.split_once('=').ok_or_else(syntax)?;
        Ok(Self { name: CacheName::new(name)?, path: RelPath::new(path)? })
    }
}

impl fmt::Display for NamedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Vec<NamedCache> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn text_and_wire_round_trip_and_nonsense_is_refused() {
        let cache: NamedCache = "cargo_registry=home/.cargo".parse().unwrap();
        assert_eq!(cache.to_string().parse(), Ok(cache.clone()));
        assert_eq!(NamedCache::from_wire(&[(&cache).into()]).unwrap(), [cache]);
        for wrong in ["", "a", "=b", "A=b", "a-b=c", "a=", "a=/b", "a=../b", "a=.", "a/b=c"] {
            assert!(wrong.parse::<NamedCache>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_and_places_are_each_used_once() {
        assert_eq!(NamedCache::check(&parse(&["a=x/a", "b=x/ab", "c=y"])), Ok(()));
        assert!(matches!(NamedCache::check(&parse(&["a=x", "a=y"])), Err(NamedCacheError::Twice { .. })));
        for overlapping in [["a=x", "b=x"], ["a=x", "b=x/y"], ["a=x/y/z", "b=x"]] {
            let error = NamedCache::check(&parse(&overlapping)).unwrap_err();
            assert!(matches!(error, NamedCacheError::Overlap { .. }), "{error}");
        }
        let many: Vec<NamedCache> = (0..33).map(|n| format!("c{n}=d{n}").parse().unwrap()).collect();
        assert!(NamedCache::check(&many[..32]).is_ok() && NamedCache::check(&many).is_err());
    }
}
