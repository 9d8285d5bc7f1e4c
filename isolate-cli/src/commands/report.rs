//! What `isolate archive --dump-json` writes. Stable: keys are added, never renamed or removed.

use crate::Archived;
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
    /// Their bytes.
    pub(crate) uploaded_bytes: u64,
    /// Blobs that the CAS had already.
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
        let uploaded = archived.uploaded;
        Self {
            digest: archived.digest,
            function: archived.digest.function().to_string(),
            files: archived.files,
            bytes: archived.bytes,
            uploaded_blobs: uploaded.uploaded_blobs,
            uploaded_bytes: uploaded.uploaded_bytes,
            present_blobs: uploaded.present_blobs,
            present_bytes: uploaded.present_bytes,
            skipped: archived.skipped.iter().map(|path| path.display().to_string()).collect(),
            seconds: took.as_secs_f64(),
        }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("numbers and texts always serialize");
        json.push(b'\n');
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cas::tree::Uploaded;
    use proto::DigestFunction;

    #[test]
    fn the_keys_are_stable() {
        let manifest = bytes::Bytes::from_static(b"{}");
        let archived = Archived {
            digest: DigestFunction::Sha1.digest(&manifest),
            manifest,
            files: 3,
            bytes: 20,
            uploaded: Uploaded { uploaded_blobs: 2, uploaded_bytes: 12, present_blobs: 1, present_bytes: 10 },
            skipped: vec!["/src/gone".into()],
        };
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
