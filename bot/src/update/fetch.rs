//! Brings a program from the CAS to the disk.

use crate::causes::explain;
use cas::{BlobStore, BlobStoreExt as _};
use proto::{Digest, DigestFunction};
use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::NamedTempFile;

/// Largest program: it is in memory once.
const MOST_BYTES: u64 = 512 * 1024 * 1024;

/// What a fetch has found out.
#[derive(Debug)]
pub(super) struct Fetched {
    /// What this process runs.
    pub(super) own: Digest,
    /// The other program, unless it is the same.
    pub(super) path: Option<PathBuf>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Fetcher {
    /// What this process runs.
    pub(super) own: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) store: Arc<dyn BlobStore>,
}

impl Fetcher {
    /// Makes sure that the program is on the disk and whole, unless it is what runs. Others go, but for what runs.
    pub(super) async fn fetch(&self, program: Digest, own: Option<Digest>) -> Result<Fetched, String> {
        if program.size() > MOST_BYTES {
            return Err(format!("it is larger than {MOST_BYTES} bytes"));
        }
        let (running, dir) = (self.own.clone(), self.dir.clone());
        let looked = move || {
            let own = own.map_or_else(|| digest_of(&running, program.function()), Ok)?;
            let path = dir.join(program.hex());
            if own == program {
                return Ok((own, None));
            }
            fs::create_dir_all(&dir)?;
            sweep(&dir, &[path.clone(), running.canonicalize().unwrap_or_default()])?;
            let whole = path.exists() && digest_of(&path, program.function())? == program;
            Ok::<_, io::Error>((own, Some((path, whole))))
        };
        let looked = tokio::task::spawn_blocking(looked).await.map_err(|error| error.to_string())?;
        let (own, place) = looked.map_err(|error| error.to_string())?;
        let path = match place {
            None => None,
            Some((path, true)) => Some(path),
            Some((path, false)) => {
                let bytes = self.store.get(program).await.map_err(|error| explain(&error))?;
                let stage = move || stage(&path, program, &bytes).map(|()| path);
                let staged = tokio::task::spawn_blocking(stage).await.map_err(|error| error.to_string())?;
                Some(staged.map_err(|error| error.to_string())?)
            }
        };
        Ok(Fetched { own, path })
    }
}

fn digest_of(path: &Path, function: DigestFunction) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = function.hasher();
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

fn stage(path: &Path, program: Digest, bytes: &[u8]) -> io::Result<()> {
    if program.function().digest(bytes) != program {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what the CAS sent is something else"));
    }
    let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(0o755))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Removes programs, but for these. Reports of failures stay.
fn sweep(dir: &Path, keep: &[PathBuf]) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !keep.contains(&path) && !path.ends_with(super::FAILED) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
