//! A manifest that is named on the command line: by digest, or as a file on this machine.

use super::Context;
use crate::{
    Error,
    cli::{CacheArgs, CasArgs},
    process::interruptible,
};
use cas::{Silent, isolated::Isolated, tree};
use clap::Args;
use proto::{Digest, limits};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    str::FromStr,
};

/// How a manifest is named.
#[derive(Clone, Debug)]
pub(crate) enum ManifestName {
    /// In the CAS.
    Digest(Digest),
    /// A file.
    File(PathBuf),
}

impl FromStr for ManifestName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(digest) => Ok(Self::Digest(digest)),
            Err(_) if Path::new(text).is_file() => Ok(Self::File(text.into())),
            Err(error) => Err(format!("{error}, and no file of this name")),
        }
    }
}

/// Where manifests come from.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    #[command(flatten)]
    cas: CasArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

impl SourceArgs {
    /// The manifest. One in the CAS has its includes merged into it.
    pub(crate) async fn load(&self, name: &ManifestName, context: &Context) -> Result<Isolated, Error> {
        match name {
            ManifestName::Digest(digest) => {
                let store = self.cas.connect(context)?;
                let cache = self.cache.open()?;
                let work = tree::manifest(&*store, &cache, *digest, &Silent);
                interruptible(&context.shutdown, work).await.map_err(|error| error.about(&self.cas.cas))
            }
            ManifestName::File(path) => {
                let refuse = |source| Error::ManifestFile { path: path.clone(), source };
                Isolated::parse(&read(path)?).map_err(refuse)
            }
        }
    }

    /// The manifest's bytes, as they are.
    pub(crate) async fn bytes(&self, name: &ManifestName, context: &Context) -> Result<Vec<u8>, Error> {
        match name {
            ManifestName::Digest(digest) => {
                // Loading it says what is wrong with it, and leaves it in the cache.
                self.load(name, context).await?;
                let cached = self.cache.open()?.read(*digest)?;
                Ok(cached.ok_or(cas::Error::NotFound { digest: *digest })?.to_vec())
            }
            ManifestName::File(path) => read(path),
        }
    }
}

/// Of a file that is too large no more than it takes to find that out.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(limits::MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| Error::io(path, error))?;
    Ok(bytes)
}
