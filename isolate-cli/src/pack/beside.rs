//! The directory `NAME.pack` beside `NAME.isolate`: what a recipe makes itself.

use super::PackError;
use crate::isolate_file::relative_path;
use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The program in it that a packaged command starts with.
const LAUNCHER: &str = "run";

/// The first lines of every launcher. By the second one a directory is known to be ours.
const HEAD: &str = "#!/bin/sh\n# Written by `isolate pack`: changes are lost with the next one.\n";

/// The directory, empty at first.
#[derive(Debug)]
pub(super) struct Beside {
    path: PathBuf,
}

impl Beside {
    /// Makes it, in the place of one that was made before for the description at `output`, an absolute path.
    pub(super) fn create(output: &Path) -> Result<Self, PackError> {
        let path = output.with_extension("pack");
        if fs::symlink_metadata(&path).is_ok() {
            let ours = fs::read_to_string(path.join(LAUNCHER)).is_ok_and(|text| text.starts_with(HEAD));
            if !ours {
                let reason =
                    "is in the way, and not made by `isolate pack`: move it, or choose another name with -o";
                return Err(PackError::Unfit { path, reason });
            }
            fs::remove_dir_all(&path).map_err(|error| PackError::io(&path, error))?;
        }
        fs::create_dir(&path).map_err(|error| PackError::io(&path, error))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How the launcher finds `path`, quoted for a shell in which `here` is the directory.
    pub(super) fn reaching(&self, path: &Path) -> String {
        format!("\"$here\"/{}", quoted(&relative_path(&self.path, path)))
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), PackError> {
        let path = self.path.join(name);
        fs::write(&path, bytes).map_err(|error| PackError::io(&path, error))
    }

    /// Writes the launcher, whose text follows the common beginning; its path.
    pub(super) fn launcher(&self, text: &str) -> Result<PathBuf, PackError> {
        let path = self.path.join(LAUNCHER);
        let write = || {
            let begin = "set -eu\nhere=$(cd \"$(dirname \"$0\")\" && pwd)\n";
            fs::write(&path, format!("{HEAD}{begin}{text}"))?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))
        };
        write().map_err(|error: io::Error| PackError::io(&path, error))?;
        Ok(path)
    }

    /// Another version of a program, below `dir` in it, under its own name; its path.
    pub(super) fn program(&self, dir: &str, program: &Path, bytes: &[u8]) -> Result<PathBuf, PackError> {
        let dir = self.path.join(dir);
        let to = dir.join(program.file_name().unwrap_or_default());
        let write = || {
            fs::create_dir_all(&dir)?;
            fs::write(&to, bytes)?;
            fs::set_permissions(&to, fs::metadata(program)?.permissions())
        };
        write().map_err(|error| PackError::io(&to, error))?;
        Ok(to)
    }

    /// A copy of a file, below `dir` in it, under its own name.
    pub(super) fn copy(&self, file: &Path, dir: &str) -> Result<PathBuf, PackError> {
        let dir = self.path.join(dir);
        let to = dir.join(file.file_name().unwrap_or_default());
        fs::create_dir_all(&dir)
            .and_then(|()| fs::copy(file, &to))
            .map_err(|error| PackError::io(file, error))?;
        Ok(to)
    }
}

/// As one word of a shell's command line.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for text in ["plain", "with space", "it's", "$HOME `id` \"\\"] {
            let shell = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(text))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(shell.stdout).unwrap(), text);
        }
    }

    #[test]
    fn only_what_was_made_before_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("a.isolate");
        let first = Beside::create(&output).unwrap();
        first.launcher("exit 3\n").unwrap();
        first.write("old", b"").unwrap();
        let again = Beside::create(&output).unwrap();
        assert_eq!(fs::read_dir(again.path()).unwrap().count(), 0);
        again.write("somebody's", b"").unwrap();
        assert!(matches!(Beside::create(&output), Err(PackError::Unfit { .. })));
        assert!(again.path().join("somebody's").exists());
    }
}
