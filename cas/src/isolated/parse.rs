//! Bytes to [`Document`], strictly: unknown and doubled keys, wrong types and contradictions are refused by name.

use super::{Document, Entry, Include, IsolatedError, ReadOnly, Version, read_only::Written};
use proto::{Digest, DigestFunction, PathError, RelPath, decimal};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map},
    fmt,
    marker::PhantomData,
};

/// The newest versions that are read, of each major one.
const NEWEST_1: Number = Number { major: 1, minor: 6 };
const NEWEST_2: Number = Number { major: 2, minor: 0 };

/// Newest version that may have the key `os`.
const LAST_WITH_OS: Number = Number { major: 1, minor: 3 };

/// Newest version in which `read_only` may be true or false.
const LAST_WITH_FLAG: Number = Number { major: 1, minor: 2 };

/// Permission bits.
const MODE_MASK: u32 = 0o7777;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default, deserialize_with = "some")]
    algo: Option<String>,
    #[serde(default, deserialize_with = "some")]
    version: Option<String>,
    #[serde(default, deserialize_with = "some")]
    command: Option<Vec<String>>,
    /// Read on its own when the function is known.
    #[serde(default, deserialize_with = "some")]
    files: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "some")]
    includes: Option<Vec<String>>,
    #[serde(default, deserialize_with = "some")]
    read_only: Option<Written>,
    #[serde(default, deserialize_with = "some")]
    relative_cwd: Option<String>,
    #[serde(default, deserialize_with = "some")]
    os: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Props<'a> {
    #[serde(borrow, default, deserialize_with = "some")]
    h: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "some")]
    s: Option<u64>,
    #[serde(default, deserialize_with = "some")]
    m: Option<u32>,
    #[serde(default, deserialize_with = "some")]
    l: Option<String>,
    #[serde(borrow, default, deserialize_with = "some")]
    t: Option<Cow<'a, str>>,
}

/// An object and nothing else: left to itself serde takes a list of the values, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// A key that is there has a value: `null` is none.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads the value of `files` and passes over everything else. Each is turned into what it becomes as it is met: there may be a
/// million of them, and so they are in memory once.
struct FilesOf<'e> {
    function: DigestFunction,
    /// Why it stopped, when that is not a matter of syntax.
    refused: &'e mut Option<IsolatedError>,
}

impl<'de> DeserializeSeed<'de> for FilesOf<'_> {
    type Value = BTreeMap<RelPath, Entry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FilesOf<'_> {
    type Value = BTreeMap<RelPath, Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let Self { function, refused } = self;
        let mut files = BTreeMap::new();
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "files" => files = map.next_value_seed(Files { function, refused: &mut *refused })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(files)
    }
}

/// The value of `files`, no path twice.
struct Files<'e> {
    function: DigestFunction,
    refused: &'e mut Option<IsolatedError>,
}

impl<'de> DeserializeSeed<'de> for Files<'_> {
    type Value = BTreeMap<RelPath, Entry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Files<'_> {
    type Value = BTreeMap<RelPath, Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of paths and their properties")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut files = BTreeMap::new();
        while let Some(Text(text)) = map.next_key()? {
            let Object(props): Object<Props<'de>> = map
                .next_value()
                .map_err(|error| M::Error::custom(format!("in `files`, `{text}`: {error}")))?;
            let mut stop = |error| {
                *self.refused = Some(error);
                M::Error::custom("refused")
            };
            let (path, entry) = file(&text, props, self.function).map_err(&mut stop)?;
            match files.entry(path) {
                btree_map::Entry::Vacant(free) => {
                    free.insert(entry);
                }
                btree_map::Entry::Occupied(taken) if taken.key().as_str() == text => {
                    return Err(M::Error::custom(format!("in `files`, `{text}` appears twice")));
                }
                btree_map::Entry::Occupied(taken) => {
                    let (key, reason) =
                        (taken.key().to_string(), "it appears twice, once with backslashes".into());
                    return Err(stop(IsolatedError::Key { key, reason }));
                }
            }
        }
        Ok(files)
    }
}

fn files(bytes: &[u8], function: DigestFunction) -> Result<BTreeMap<RelPath, Entry>, IsolatedError> {
    let mut refused = None;
    let seed = FilesOf { function, refused: &mut refused };
    let files = seed.deserialize(&mut serde_json::Deserializer::from_slice(bytes));
    files.map_err(|error| refused.unwrap_or(IsolatedError::Syntax(error)))
}

/// A string that borrows from the input when it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// `major.minor`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number {
    major: u32,
    minor: u32,
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn refuse<T>(key: impl Into<String>, reason: impl Into<String>) -> Result<T, IsolatedError> {
    Err(IsolatedError::Key { key: key.into(), reason: reason.into() })
}

pub(super) fn document(bytes: &[u8]) -> Result<Document, IsolatedError> {
    let Object(wire): Object<Wire> = serde_json::from_slice(bytes).map_err(IsolatedError::Syntax)?;
    let version = version(wire.version.as_deref())?;
    if wire.os.is_some() && version > LAST_WITH_OS {
        return refuse("os", format!("version {version} does not have it"));
    }
    if wire.read_only.is_some() && version >= NEWEST_2 {
        return refuse("read_only", format!("version {version} does not have it"));
    }
    let function = algo(wire.algo.as_deref())?;
    if wire.command.as_ref().is_some_and(Vec::is_empty) {
        return refuse("command", "it is empty: leave the key out instead");
    }
    if wire.command.iter().flatten().any(|argument| argument.contains('\0')) {
        return refuse("command", "an argument contains a NUL");
    }
    if wire.includes.as_ref().is_some_and(Vec::is_empty) {
        return refuse("includes", "it is empty: leave the key out instead");
    }
    let read_only = wire.read_only.map(|written| read_only(written, version));
    let files = wire.files.map_or(Ok(BTreeMap::new()), |IgnoredAny| files(bytes, function))?;
    let includes = wire.includes.unwrap_or_default();
    let includes = includes.iter().map(|text| Include::parse(text, function));
    Ok(Document {
        function,
        command: wire.command,
        files,
        relative_cwd: wire.relative_cwd.as_deref().map(relative_cwd).transpose()?,
        read_only: read_only.transpose()?,
        includes: includes.collect::<Result<_, _>>()?,
        version: if version.major == NEWEST_2.major { Version::V2 } else { Version::V1 },
    })
}

fn version(text: Option<&str>) -> Result<Number, IsolatedError> {
    let Some(text) = text else { return Ok(Number { major: 1, minor: 0 }) };
    let parsed = text.split_once('.').and_then(|(major, minor)| Some((decimal(major)?, decimal(minor)?)));
    let Some((major, minor)) = parsed else {
        return refuse("version", format!("`{text}` is not of the form MAJOR.MINOR"));
    };
    let version = Number { major, minor };
    let newest = if major == NEWEST_2.major { NEWEST_2 } else { NEWEST_1 };
    if major != newest.major || version > newest {
        return refuse("version", format!("{version} is unknown: 1.0 to {NEWEST_1} and {NEWEST_2} are read"));
    }
    Ok(version)
}

fn read_only(written: Written, version: Number) -> Result<ReadOnly, IsolatedError> {
    match written {
        Written::Number(number) => match ReadOnly::from_number(number) {
            Some(read_only) => Ok(read_only),
            None => refuse("read_only", format!("{number} is not 0, 1 or 2")),
        },
        Written::Flag(_) if version > LAST_WITH_FLAG => {
            refuse("read_only", format!("version {version} has a number there: 0, 1 or 2"))
        }
        Written::Flag(true) => Ok(ReadOnly::Files),
        Written::Flag(false) => Ok(ReadOnly::Writable),
    }
}

/// The original had nothing but SHA-1 when it had no `algo`.
fn algo(text: Option<&str>) -> Result<DigestFunction, IsolatedError> {
    let Some(text) = text else { return Ok(DigestFunction::Sha1) };
    match DigestFunction::ALL.into_iter().find(|function| function.name() == text) {
        Some(function) => Ok(function),
        None => {
            refuse("algo", format!("`{text}` is unknown: use blake3, sha-256, sha-384, sha-512 or sha-1"))
        }
    }
}

fn relative_cwd(text: &str) -> Result<Option<RelPath>, IsolatedError> {
    let refuse =
        |error: PathError| IsolatedError::Key { key: "relative_cwd".into(), reason: error.to_string() };
    match text {
        "." | "" => Ok(None),
        text => Ok(Some(RelPath::new(&slashed(text)).map_err(refuse)?)),
    }
}

/// Manifests that were made on Windows have its separators.
fn slashed(text: &str) -> Cow<'_, str> {
    if text.contains('\\') { text.replace('\\', "/").into() } else { text.into() }
}

fn file(path: &str, props: Props<'_>, function: DigestFunction) -> Result<(RelPath, Entry), IsolatedError> {
    let path = RelPath::new(&slashed(path))?;
    let is_tar = match props.t.as_deref() {
        None | Some("basic") => false,
        Some("tar") => true,
        Some("ar") => {
            return Err(IsolatedError::Unsupported {
                what: format!("`{path}` of type `ar`"),
                remedy: "archive the files one by one, small ones are batched on the wire",
            });
        }
        Some(other) => return refuse(format!("{path}: t"), format!("`{other}` is not a type of file")),
    };
    let entry = match (props.h, props.l) {
        (Some(_), Some(_)) => return refuse(&*path.to_string(), "it has both `h` and `l`"),
        (None, None) => return refuse(&*path.to_string(), "it has neither `h` nor `l`"),
        (None, Some(target)) => {
            if props.s.is_some() || props.m.is_some() {
                return refuse(&*path.to_string(), "a symlink has no `s` and no `m`");
            }
            if is_tar {
                return refuse(format!("{path}: t"), "a symlink is no archive");
            }
            Entry::Symlink { target: slashed(&target).into_owned() }
        }
        (Some(hash), None) => {
            let Some(size) = props.s else {
                return refuse(&*path.to_string(), "it has `h` without `s`");
            };
            if let Some(mode) = props.m.filter(|mode| mode & !MODE_MASK != 0) {
                return refuse(format!("{path}: m"), format!("{mode} has bits beyond permissions"));
            }
            let digest = Digest::from_hex(function, &hash, size)
                .map_err(|source| IsolatedError::Hash { place: path.to_string(), source })?;
            if is_tar { Entry::Tar { digest, mode: props.m } } else { Entry::File { digest, mode: props.m } }
        }
    };
    Ok((path, entry))
}
