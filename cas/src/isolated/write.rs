//! [`Isolated`] to bytes: version 1.6, dense JSON, sorted keys, no newline.

use super::{Entry, Include, Isolated, parse};
use serde::{
    Serialize,
    ser::{SerializeMap as _, Serializer},
};

/// Fields in the order of their names: serde writes them in the order of declaration.
#[derive(Serialize)]
struct Wire<'a> {
    algo: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    command: &'a [String],
    files: Files<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    includes: Vec<String>,
    read_only: u8,
    relative_cwd: &'a str,
    version: String,
}

struct Files<'a>(&'a Isolated);

#[derive(Serialize)]
struct FileProps {
    h: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    m: Option<u32>,
    s: u64,
}

#[derive(Serialize)]
struct LinkProps<'a> {
    l: &'a str,
}

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.files.len()))?;
        for (path, entry) in &self.0.files {
            match entry {
                Entry::File { digest, mode } => map.serialize_entry(
                    path.as_str(),
                    &FileProps { h: digest.hex(), m: *mode, s: digest.size() },
                )?,
                Entry::Symlink { target } => {
                    map.serialize_entry(path.as_str(), &LinkProps { l: target })?;
                }
            }
        }
        map.end()
    }
}

pub(super) fn to_bytes(isolated: &Isolated) -> Vec<u8> {
    let wire = Wire {
        algo: isolated.function.name(),
        command: &isolated.command,
        files: Files(isolated),
        includes: isolated.includes.iter().map(Include::text).collect(),
        read_only: isolated.read_only.number(),
        relative_cwd: isolated.relative_cwd.as_ref().map_or(".", |path| path.as_str()),
        version: parse::VERSION.to_string(),
    };
    serde_json::to_vec(&wire).expect("strings and numbers always serialise")
}
