//! Resource names of `ByteStream`:
//!
//! ```text
//! read:   [INSTANCE/]blobs/[FUNCTION/]HASH/SIZE
//! write:  [INSTANCE/]uploads/UUID/blobs/[FUNCTION/]HASH/SIZE[/ANYTHING]
//! ```
//!
//! and both with `compressed-blobs/zstd` in place of `blobs`; hash and size are those of the uncompressed bytes. An instance name may have slashes, but no segment
//! of it is one of the keywords.

use super::digest::implied;
use proto::{Digest, DigestError, DigestFunction, decimal};

/// Why a resource name names nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResourceError {
    /// It has another form.
    #[error("`{given}` is not a resource name: expected {expected}")]
    Syntax { given: String, expected: &'static str },
    /// It asks for compression of another kind.
    #[error("compressor `{compressor}` is not supported: use zstd, or blobs/ instead of compressed-blobs/")]
    Compressor { compressor: String },
    /// It has no digest where there should be one.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// How the bytes are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compressor {
    /// As they are.
    Identity,
    /// In zstd frames.
    Zstd,
}

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// The blob, by its uncompressed bytes.
    pub(super) digest: Digest,
    /// How it comes or goes.
    pub(super) compressor: Compressor,
}

const READ_FORM: &str = "[INSTANCE/]blobs/[FUNCTION/]HASH/SIZE";
const WRITE_FORM: &str = "[INSTANCE/]uploads/UUID/blobs/[FUNCTION/]HASH/SIZE[/METADATA]";

const KEYWORDS: [&str; 7] =
    ["blobs", "uploads", "actions", "actionResults", "operations", "capabilities", "compressed-blobs"];

/// The blob that a read names.
pub(super) fn parse_read(name: &str) -> Result<Resource, ResourceError> {
    let syntax = || ResourceError::Syntax { given: name.to_owned(), expected: READ_FORM };
    let segments: Vec<_> = name.split('/').collect();
    let keyword = segments.iter().position(|segment| KEYWORDS.contains(segment)).ok_or_else(syntax)?;
    let (resource, rest) = parse_blob(&segments[keyword..])?.ok_or_else(syntax)?;
    if rest.is_empty() { Ok(resource) } else { Err(syntax()) }
}

/// The blob that a write, or a question about one, names.
pub(super) fn parse_write(name: &str) -> Result<Resource, ResourceError> {
    let syntax = || ResourceError::Syntax { given: name.to_owned(), expected: WRITE_FORM };
    let segments: Vec<_> = name.split('/').collect();
    let keyword = segments.iter().position(|segment| KEYWORDS.contains(segment)).ok_or_else(syntax)?;
    match &segments[keyword..] {
        ["uploads", uuid, blob @ ..] if !uuid.is_empty() => {
            let (resource, _metadata) = parse_blob(blob)?.ok_or_else(syntax)?;
            Ok(resource)
        }
        _ => Err(syntax()),
    }
}

/// `blobs/[FUNCTION/]HASH/SIZE` with what follows. `None`: it has another form.
fn parse_blob<'a>(segments: &'a [&'a str]) -> Result<Option<(Resource, &'a [&'a str])>, ResourceError> {
    let (compressor, rest) = match segments {
        ["blobs", rest @ ..] | ["compressed-blobs", "identity", rest @ ..] => (Compressor::Identity, rest),
        ["compressed-blobs", "zstd", rest @ ..] => (Compressor::Zstd, rest),
        ["compressed-blobs", compressor, _, ..] => {
            return Err(ResourceError::Compressor { compressor: (*compressor).to_owned() });
        }
        _ => return Ok(None),
    };
    // A hash is longer than the name of any function.
    let (function, rest) = match rest {
        [function, rest @ ..] if function.len() < 16 && rest.len() >= 2 => (Some(function.parse()?), rest),
        _ => (None, rest),
    };
    let [hash, size, rest @ ..] = rest else { return Ok(None) };
    let Some(size) = decimal(size) else { return Ok(None) };
    let function: DigestFunction = function.unwrap_or_else(|| implied(hash));
    Ok(Some((Resource { digest: Digest::from_hex(function, hash, size)?, compressor }, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest() -> impl Strategy<Value = Digest> {
        (proptest::collection::vec(any::<u8>(), 0..40), 0..DigestFunction::ALL.len())
            .prop_map(|(bytes, f)| DigestFunction::ALL[f].digest(&bytes))
    }

    proptest! {
        #[test]
        fn every_form_of_a_name_is_understood(
            digest in digest(),
            instance in "([a-z]{1,8}/){0,3}",
            uuid in "[0-9a-f-]{36}",
            metadata in "(/[a-z]{1,8}){0,3}",
            always_named: bool,
            form in 0..3usize,
        ) {
            let (form, compressor) = [
                ("blobs", Compressor::Identity),
                ("compressed-blobs/identity", Compressor::Identity),
                ("compressed-blobs/zstd", Compressor::Zstd),
            ][form];
            let resource = Resource { digest, compressor };
            let function = digest.function().name().replace('-', "");
            let named = always_named || digest.function() == DigestFunction::Blake3;
            let function = if named { format!("{function}/") } else { String::new() };
            let blob = format!("{form}/{function}{}/{}", digest.hex(), digest.size());
            prop_assert_eq!(parse_read(&format!("{instance}{blob}")), Ok(resource));
            let upload = format!("{instance}uploads/{uuid}/{blob}{metadata}");
            prop_assert_eq!(parse_write(&upload), Ok(resource));
            prop_assert!(parse_read(&upload).is_err());
            let no_upload = format!("{instance}{blob}");
            prop_assert!(parse_write(&no_upload).is_err());
        }

        #[test]
        fn no_name_panics(name in "([a-z0-9-]{0,20}/?|blobs/|uploads/|compressed-blobs/|zstd/|blake3/|[0-9a-f]{64}/){0,8}") {
            let _ = (parse_read(&name), parse_write(&name));
        }
    }

    #[test]
    fn what_is_wrong_with_a_name_is_said() {
        let hash = DigestFunction::Sha256.digest(b"x").hex();
        let syntax = |name: &str| matches!(parse_read(name), Err(ResourceError::Syntax { .. }));
        assert!(
            syntax("") && syntax("blobs") && syntax("a/b/c") && syntax(&format!("actions/blobs/{hash}/1"))
        );
        assert!(syntax(&format!("blobs/{hash}/1/more")) && syntax(&format!("blobs/{hash}/-1")));
        let compressed = parse_read(&format!("compressed-blobs/deflate/{hash}/1"));
        assert_eq!(compressed, Err(ResourceError::Compressor { compressor: "deflate".into() }));
        assert!(matches!(parse_read("blobs/abc/1"), Err(ResourceError::Digest(DigestError::Length { .. }))));
        let unknown = parse_write(&format!("uploads/u/blobs/vso/{hash}/1"));
        assert!(matches!(unknown, Err(ResourceError::Digest(DigestError::Function { .. }))));
        let zero = parse_read(&format!("blobs/{hash}/0"));
        assert!(matches!(zero, Err(ResourceError::Digest(DigestError::EmptyMismatch { .. }))));
    }
}
