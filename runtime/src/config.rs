//! One typed configuration for a program, from a TOML file with flags laid over it.

use serde::{Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

/// Why a configuration is refused. The message names the file and the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {} is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A key is unknown, is missing or has a wrong value.
    #[error("invalid configuration ({origin}): {message}")]
    Value {
        /// Where the values came from.
        origin: String,
        /// Which key and why.
        message: String,
    },
}

/// Reads `file`, if any, lays `flags` over it (fields that serialize to nothing leave the file's value), and parses
/// the whole as `C`. Every key of `C` may be missing from both only if `C` has a default for it.
pub fn load<C: DeserializeOwned>(file: Option<&Path>, flags: &impl Serialize) -> Result<C, ConfigError> {
    let (mut table, origin) = match file {
        Some(path) => (read(path)?, format!("{} and flags", path.display())),
        None => (toml::Table::new(), "flags".to_owned()),
    };
    let refuse = |message: String| ConfigError::Value { origin: origin.clone(), message };
    let flags = toml::Table::try_from(flags).map_err(|error| refuse(error.to_string()))?;
    table.extend(flags);
    table.try_into().map_err(|error: toml::de::Error| refuse(error.to_string().trim().to_owned()))
}

fn read(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        port: u16,
        name: String,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { port: 1, name: "default".into() }
        }
    }

    #[derive(Serialize, Default)]
    struct Flags {
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    }

    #[test]
    fn flags_lie_over_the_file_and_the_file_over_the_defaults() {
        let dir = std::env::temp_dir().join(format!("isoswarm-config-{}", std::process::id()));
        std::fs::write(&dir, "port = 2\nname = \"file\"\n").unwrap();
        let load = |flags: &Flags| load::<Sample>(Some(&dir), flags).unwrap();
        assert_eq!(load(&Flags { port: Some(3) }), Sample { port: 3, name: "file".into() });
        assert_eq!(load(&Flags::default()), Sample { port: 2, name: "file".into() });
        std::fs::write(&dir, "prot = 2").unwrap();
        let error = super::load::<Sample>(Some(&dir), &Flags::default()).unwrap_err().to_string();
        assert!(error.contains("prot") && error.contains("port"), "{error}");
        std::fs::remove_file(&dir).unwrap();
    }
}
