//! `FILE.isolated.state`: the description and the variables that `FILE.isolated` was made with, so that making it again
//! needs none of them. The original's format, version 1.6.2; its list of files stays empty, the hash cache has that.

use crate::{
    Error,
    isolate_file::{ConfigValue, lexical_join, relative_path},
};
use cas::isolated::{Isolated, ReadOnly};
use proto::DigestFunction;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

const VERSION: &str = "1.6.2";
const OS: &str = "linux";

/// Longest file that is read: nobody's variables are larger.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What was given when the manifest was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// The `.isolate` file, absolute.
    pub isolate_file: PathBuf,
    /// The function of the manifest.
    pub function: DigestFunction,
    /// Values for conditions.
    pub config: BTreeMap<String, ConfigValue>,
    /// Absolute directories.
    pub path: BTreeMap<String, PathBuf>,
    /// Texts.
    pub extra: BTreeMap<String, String>,
}

/// Keys in the order of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "OS")]
    os: String,
    algo: String,
    #[serde(default)]
    child_isolated_files: Vec<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    config_variables: Map<String, Value>,
    #[serde(default)]
    extra_variables: BTreeMap<String, String>,
    #[serde(default)]
    files: Map<String, Value>,
    isolate_file: String,
    #[serde(default)]
    path_variables: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_only: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relative_cwd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root_dir: Option<String>,
    version: String,
}

/// Where the state of a manifest is kept.
pub fn state_path(isolated: &Path) -> PathBuf {
    let mut name = isolated.as_os_str().to_owned();
    name.push(".state");
    name.into()
}

impl SavedState {
    /// Of the manifest at the absolute path `isolated`; `None` when there is none.
    pub fn read(isolated: &Path) -> Result<Option<Self>, Error> {
        let path = state_path(isolated);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(path, error)),
        }
        let refuse = |reason: String| Error::State { path: path.clone(), reason };
        if bytes.len() as u64 > MAX_BYTES {
            return Err(refuse(format!("it is larger than {MAX_BYTES} bytes")));
        }
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        Self::parse(wire, dir_of(isolated)).map(Some).map_err(refuse)
    }

    fn parse(wire: Wire, dir: &Path) -> Result<Self, String> {
        if wire.version != VERSION {
            return Err(format!("`version` is {}, not {VERSION}", wire.version));
        }
        // Python 2 knew Linux by this name.
        if wire.os != OS && wire.os != "linux2" {
            return Err(format!("`OS` is {}, not {OS}", wire.os));
        }
        let function = wire.algo.parse().map_err(|_| format!("`algo` {} is unknown", wire.algo))?;
        let isolate_file = lexical_join(dir, &wire.isolate_file);
        let home = dir_of(&isolate_file).to_owned();
        let config = wire.config_variables.into_iter().map(|(name, value)| match value {
            Value::String(text) => Ok((name, ConfigValue::Text(text))),
            Value::Number(number) => match number.as_i64() {
                Some(int) => Ok((name, ConfigValue::Int(int))),
                None => Err(format!("`config_variables`: {name} is {number}")),
            },
            other => Err(format!("`config_variables`: {name} is {other}, not a text or a number")),
        });
        Ok(Self {
            isolate_file,
            function,
            config: config.collect::<Result<_, _>>()?,
            path: wire
                .path_variables
                .iter()
                .map(|(name, dir)| (name.clone(), lexical_join(&home, dir)))
                .collect(),
            extra: wire.extra_variables,
        })
    }

    /// The bytes of the file beside the manifest at the absolute path `path`, for a manifest below `root`.
    pub fn to_bytes(&self, path: &Path, root: &Path, isolated: &Isolated) -> Vec<u8> {
        let home = dir_of(&self.isolate_file);
        let config = self.config.iter().map(|(name, value)| match value {
            ConfigValue::Int(int) => (name.clone(), Value::from(*int)),
            ConfigValue::Text(text) => (name.clone(), Value::from(&**text)),
        });
        let cwd = isolated.relative_cwd.as_ref().map_or(".", |cwd| cwd.as_str());
        let wire = Wire {
            os: OS.into(),
            algo: self.function.name().into(),
            child_isolated_files: Vec::new(),
            command: isolated.command.clone(),
            config_variables: config.collect(),
            extra_variables: self.extra.clone(),
            files: Map::new(),
            isolate_file: relative_path(dir_of(path), &self.isolate_file),
            path_variables: self
                .path
                .iter()
                .map(|(name, to)| (name.clone(), relative_path(home, to)))
                .collect(),
            read_only: (isolated.read_only != ReadOnly::default()).then(|| isolated.read_only.number()),
            relative_cwd: Some(cwd.into()),
            root_dir: root.to_str().map(str::to_owned),
            version: VERSION.into(),
        };
        serde_json::to_vec(&wire).expect("texts and numbers always serialize")
    }
}

fn dir_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> SavedState {
        SavedState {
            isolate_file: "/src/test/a.isolate".into(),
            function: DigestFunction::Sha512,
            config: [("OS".into(), "linux".into()), ("bits".into(), ConfigValue::Int(64))].into(),
            path: [("OUT".into(), "/src/out".into())].into(),
            extra: [("v".into(), "1".into())].into(),
        }
    }

    #[test]
    fn what_is_saved_is_what_the_original_saved_and_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let isolated = dir.path().join("a.isolated");
        let manifest = Isolated { command: vec!["x".into()], ..Isolated::new(DigestFunction::Sha512) };
        let bytes = state().to_bytes(Path::new("/src/out/a.isolated"), Path::new("/src"), &manifest);
        let expected = r#"{"OS":"linux","algo":"sha-512","child_isolated_files":[],"command":["x"],"config_variables":{"OS":"linux","bits":64},"extra_variables":{"v":"1"},"files":{},"isolate_file":"../test/a.isolate","path_variables":{"OUT":"../out"},"relative_cwd":".","root_dir":"/src","version":"1.6.2"}"#;
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        assert_eq!(SavedState::read(&isolated).unwrap(), None);
        std::fs::write(state_path(&isolated), state().to_bytes(&isolated, dir.path(), &manifest)).unwrap();
        assert_eq!(SavedState::read(&isolated).unwrap(), Some(state()));
    }

    #[test]
    fn what_is_wrong_with_a_state_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let isolated = dir.path().join("a.isolated");
        let good =
            String::from_utf8(state().to_bytes(&isolated, dir.path(), &Isolated::new(DigestFunction::Sha1)));
        let good = good.unwrap();
        for (from, to, named) in [
            ("1.6.2", "1.6.3", "`version` is 1.6.3"),
            ("\"linux\",\"algo\"", "\"win32\",\"algo\"", "`OS` is win32"),
            ("sha-512", "md5", "`algo` md5"),
            (":64", ":6.5", "bits is 6.5"),
            (":64", ":[]", "bits is []"),
            ("\"files\"", "\"file\"", "unknown field `file`"),
            ("\"1.6.2\"}", "", "EOF"),
        ] {
            std::fs::write(state_path(&isolated), good.replace(from, to)).unwrap();
            let error = SavedState::read(&isolated).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("a.isolated.state"), "{error}");
        }
    }
}
