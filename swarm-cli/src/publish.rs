//! Files for others to read.

use anyhow::Context as _;
use std::{io::Write as _, path::Path};

/// Writes a file whole or not at all, into directories that are made when they are missing.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let dir = directory(path);
    std::fs::create_dir_all(dir).with_context(failed)?;
    let mut builder = tempfile::Builder::new();
    // Others read reports; a temporary file would be its owner's alone.
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.tempfile_in(dir).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}

/// Where a file of this name is.
pub(crate) fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
