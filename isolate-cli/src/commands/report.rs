//! What `--dump-json` and `--json` write. Stable: keys are added, never renamed or removed.

use crate::{Archived, Downloaded, Item, Packaged};
use proto::Digest;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One archived work item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ArchiveReport {
    /// The manifest's name, `FUNCTION:HEX/SIZE`: what `isolate run` and `swarm trigger` take.
    pub(crate) digest: Digest,
    /// The digest function of everything in it.
    pub(crate) function: String,
    /// Files and symlinks in the manifest.
    pub(crate) files: u64,
    /// Sum of the sizes of the files.
    pub(crate) bytes: u64,
    /// Blobs that were sent, the manifest among them.
    pub(crate) uploaded_blobs: u64,
    /// Their bytes; of a manifest that went up as a patch of the one before it, those of the patch.
    pub(crate) uploaded_bytes: u64,
    /// Blobs that the CAS had already. Where only what changed was looked at (`isolate watch`), equal files count each.
    pub(crate) present_blobs: u64,
    /// Their bytes.
    pub(crate) present_bytes: u64,
    /// Inputs that were left out because they were broken (`--ignore-broken-items`).
    pub(crate) skipped: Vec<String>,
    /// How long it took.
    pub(crate) seconds: f64,
}

impl ArchiveReport {
    pub(crate) fn new(archived: &Archived, took: Duration) -> Self {
        let Archived { item, uploaded } = archived;
        let Item { digest, files, bytes, skipped, .. } = item;
        Self {
            digest: *digest,
            function: digest.function().to_string(),
            files: *files,
            bytes: *bytes,
            uploaded_blobs: uploaded.uploaded_blobs,
            uploaded_bytes: uploaded.uploaded_bytes,
            present_blobs: uploaded.present_blobs,
            present_bytes: uploaded.present_bytes,
            skipped: skipped.iter().map(|path| path.display().to_string()).collect(),
            seconds: took.as_secs_f64(),
        }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        json(self)
    }
}

/// What `isolate check --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckReport {
    /// The manifest's name.
    pub(crate) digest: Digest,
    /// Files and symlinks in the manifest.
    pub(crate) files: u64,
    /// Sum of the sizes of the files.
    pub(crate) bytes: u64,
    /// Inputs that were left out because they were broken.
    pub(crate) skipped: Vec<String>,
}

impl CheckReport {
    pub(crate) fn new(packaged: &Packaged) -> Self {
        Self {
            digest: packaged.digest,
            files: packaged.files(),
            bytes: packaged.bytes(),
            skipped: packaged.skipped.iter().map(|path| path.display().to_string()).collect(),
        }
    }
}

/// What `isolate download --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DownloadReport {
    /// Files and symlinks.
    pub(crate) files: u64,
    /// Sum of the sizes of the files.
    pub(crate) bytes: u64,
    /// Blobs that came from the CAS.
    pub(crate) fetched_blobs: u64,
    /// Their bytes.
    pub(crate) fetched_bytes: u64,
    /// Blobs that the local cache had.
    pub(crate) cached_blobs: u64,
    /// How long it took.
    pub(crate) seconds: f64,
}

impl DownloadReport {
    pub(crate) fn new(downloaded: Downloaded, took: Duration) -> Self {
        let Downloaded { files, bytes, fetched_blobs, fetched_bytes, cached_blobs, .. } = downloaded;
        Self { files, bytes, fetched_blobs, fetched_bytes, cached_blobs, seconds: took.as_secs_f64() }
    }
}

/// A report as text for machines, and for people who look at it.
pub(crate) fn json(report: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(report).expect("numbers and texts always serialize");
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use cas::{
        isolated::{Entry, Isolated},
        tree::{Sources, Uploaded},
    };
    use proto::{DigestFunction, RelPath};

    #[test]
    fn the_keys_are_stable() {
        let manifest = bytes::Bytes::from_static(b"{}");
        let mut isolated = Isolated::new(DigestFunction::Sha1);
        for (name, size) in [("a", 10), ("b", 7), ("c", 3)] {
            let digest = DigestFunction::Sha1.digest(&vec![b'x'; size]);
            isolated.files.insert(RelPath::new(name).unwrap(), Entry::File { digest, mode: None });
        }
        let packaged = Packaged {
            digest: DigestFunction::Sha1.digest(&manifest),
            manifest,
            isolated,
            sources: Sources::new(),
            skipped: vec!["/src/gone".into()],
            reach: None,
        };
        let uploaded =
            Uploaded { uploaded_blobs: 2, uploaded_bytes: 12, present_blobs: 1, present_bytes: 10 };
        let archived = Archived { item: packaged.into(), uploaded };
        let report = ArchiveReport::new(&archived, Duration::from_millis(1500));
        let json = String::from_utf8(report.to_json()).unwrap();
        let expected = r#"{
  "digest": "sha-1:bf21a9e8fbc5a3846fb05b4fa0859e0917b2202f/2",
  "function": "sha-1",
  "files": 3,
  "bytes": 20,
  "uploaded_blobs": 2,
  "uploaded_bytes": 12,
  "present_blobs": 1,
  "present_bytes": 10,
  "skipped": [
    "/src/gone"
  ],
  "seconds": 1.5
}
"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<ArchiveReport>(expected).unwrap(), report);
    }
}
