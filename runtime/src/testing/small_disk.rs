//! A file system that is full when a test wants it to be.

use std::{fs, io::Write as _, path::Path, process::Command};
use tempfile::TempDir;

/// A tmpfs of a few MiB, unmounted when dropped. Fails where nothing may be mounted.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one.
    pub fn new(mebibytes: u32) -> Self {
        let dir = TempDir::with_prefix("isoswarm-disk-").unwrap();
        let size = format!("size={mebibytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        assert!(mount.unwrap().success(), "this test mounts a tmpfs: run it as root");
        Self(dir)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space that is left.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.0.path().join("filler")).unwrap();
        for piece in [vec![0; 1 << 20], vec![0; 4096]] {
            while filler.write_all(&piece).is_ok() {}
        }
    }

    /// Gives it back.
    pub fn relieve(&self) {
        fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is being killed may have files open still.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
