//! A secret in a file, for as long as the command runs.

use proto::Secret;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

/// The file. It is gone when this is dropped; what a killed bot leaves goes with the attempt's directory.
#[derive(Debug)]
pub(super) struct SecretFile(PathBuf);

impl SecretFile {
    /// Makes it, readable for the bot's user alone.
    pub(super) fn create(path: PathBuf, secret: &Secret) -> io::Result<Self> {
        let file = fs::File::options().write(true).create_new(true).mode(0o400).open(&path);
        // From here on it is removed, whatever happens.
        let (mut file, kept) = (file?, Self(path));
        file.write_all(secret.expose())?;
        Ok(kept)
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            // The command may have removed it; otherwise it goes with the attempt's directory.
            tracing::debug!(%error, "a secret's file is not there any more");
        }
    }
}
