//! [`Isolated`] to bytes: dense JSON in ASCII, sorted keys, no newline. And one entry alone, as it stands among the others.

use super::{Entry, Include, Isolated, Version};
use proto::RelPath;
use serde::{
    Serialize,
    ser::{SerializeMap, Serializer},
};
use serde_json::ser::Formatter;
use std::io::{self, Write};

/// Fields in the order of their names: serde writes them in the order of declaration.
#[derive(Serialize)]
struct Wire<'a> {
    algo: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    command: &'a [String],
    files: Files<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    includes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_only: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative_cwd: Option<&'a str>,
    version: &'static str,
}

struct Files<'a>(&'a Isolated);

#[derive(Serialize)]
struct FileProps {
    h: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    m: Option<u32>,
    s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<&'static str>,
}

#[derive(Serialize)]
struct LinkProps<'a> {
    l: &'a str,
}

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.files.len()))?;
        self.0.files.iter().try_for_each(|(path, entry)| put(&mut map, path, entry))?;
        map.end()
    }
}

fn put<M: SerializeMap>(map: &mut M, path: &RelPath, entry: &Entry) -> Result<(), M::Error> {
    let (digest, mode, t) = match entry {
        Entry::File { digest, mode } => (digest, mode, None),
        Entry::Tar { digest, mode } => (digest, mode, Some("tar")),
        Entry::Symlink { target } => return map.serialize_entry(path.as_str(), &LinkProps { l: target }),
    };
    map.serialize_entry(path.as_str(), &FileProps { h: digest.hex(), m: *mode, s: digest.size(), t })
}

/// As Python's `json` writes by default: what is not printable ASCII is escaped, in pairs of surrogates where necessary.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly always.
        if fragment.bytes().all(|byte| byte <= b'~') {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| c > '~') {
            let (plain, other) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut chars = other.chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

pub(super) fn to_bytes(isolated: &Isolated) -> Vec<u8> {
    // As in the original: without a command it says nothing, unless it was asked for.
    let says_cwd = !isolated.command.is_empty() || isolated.relative_cwd.is_some();
    let wire = Wire {
        algo: isolated.function.name(),
        command: &isolated.command,
        files: Files(isolated),
        includes: isolated.includes.iter().map(Include::text).collect(),
        read_only: (isolated.version == Version::V1).then(|| isolated.read_only.number()),
        relative_cwd: says_cwd.then(|| isolated.relative_cwd.as_ref().map_or(".", |path| path.as_str())),
        version: isolated.version.name(),
    };
    // About as much as there will be.
    let mut bytes = Vec::with_capacity(isolated.files.len() * (60 + 2 * isolated.function.hash_len()));
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Ascii);
    wire.serialize(&mut serializer).expect("strings and numbers always serialise");
    bytes
}

/// `"PATH":{...}`, as it stands in a manifest between commas.
pub(crate) fn entry(path: &RelPath, entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Ascii);
    let mut map = serializer.serialize_map(Some(1)).expect("an object can always be begun");
    put(&mut map, path, entry).expect("strings and numbers always serialise");
    map.end().expect("an object can always be ended");
    bytes.pop();
    bytes.remove(0);
    bytes
}
