//! `read_only` as it stands in a manifest.

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use std::fmt;

/// A number, or, in old manifests, whether.
pub(super) enum Written {
    Flag(bool),
    Number(u64),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WrittenVisitor;
        impl Visitor<'_> for WrittenVisitor {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0, 1 or 2")
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<Written, E> {
                Ok(Written::Flag(flag))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Written, E> {
                Ok(Written::Number(number))
            }
        }
        deserializer.deserialize_any(WrittenVisitor)
    }
}
