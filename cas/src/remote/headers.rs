//! What a server wants to be told with each call, for instance who calls.

use std::{fmt, str::FromStr, sync::Arc};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataKey, MetadataValue},
    service::Interceptor,
};

/// A name and a value that each call has, as `NAME=VALUE`. The value is a secret: it is never shown.
#[derive(Clone)]
pub struct Header {
    name: MetadataKey<Ascii>,
    value: MetadataValue<Ascii>,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a text is no header. It does not repeat the value.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// There is nothing between a name and a value.
    #[error("write NAME=VALUE")]
    Separator,
    /// Not a name of a header.
    #[error(
        "`{name}` is no name of a header: it has lower-case letters, digits, `-`, `_` and `.`, and does not end in `-bin`"
    )]
    Name {
        /// What stands before the first `=`.
        name: String,
    },
    /// Not a value of a header.
    #[error("the value of `{name}` has to be printable ASCII")]
    Value {
        /// Of which header.
        name: String,
    },
}

impl FromStr for Header {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let (given, value) = text.split_once('=').ok_or(HeaderError::Separator)?;
        let name = || given.to_owned();
        let key = given.to_ascii_lowercase().parse().map_err(|_| HeaderError::Name { name: name() })?;
        let mut value: MetadataValue<Ascii> =
            value.parse().map_err(|_| HeaderError::Value { name: name() })?;
        value.set_sensitive(true);
        Ok(Self { name: key, value })
    }
}

/// All of them. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Headers(Arc<[Header]>);

impl Headers {
    /// These, in this order.
    pub fn new(headers: &[Header]) -> Self {
        Self(headers.into())
    }
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for Header { name, value } in &*self.0 {
            request.metadata_mut().append(name.clone(), value.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value_that_nobody_sees() {
        let header: Header = "X-Api-Key=a=b, c".parse().unwrap();
        assert_eq!((header.name.as_str(), header.value.to_str().unwrap()), ("x-api-key", "a=b, c"));
        assert!(!format!("{header:?} {:?}", Headers::new(std::slice::from_ref(&header))).contains("a=b"));
        for (bad, error) in [
            ("secret", "write NAME=VALUE"),
            ("=secret", "`` is no name"),
            ("a b=secret", "`a b` is no name"),
            ("key-bin=secret", "`key-bin` is no name"),
            ("key=sec\nret", "the value of `key`"),
        ] {
            let told = bad.parse::<Header>().unwrap_err().to_string();
            assert!(told.contains(error) && !told.contains("ret"), "{bad}: {told}");
        }
    }
}
