//! Secrets of runs, sealed for the journal: XChaCha20-Poly1305 under a key that is in a file of its own, beside the
//! journal and not in it. Who has the journal alone, or a backup of it, has no secrets.
//!
//! The nonce is random; the request id is associated data, so that a sealed secret cannot be moved to another run. The
//! fingerprint is BLAKE3 under another key, derived from the same one.

use crate::queue::SealedSecret;
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use proto::{RequestId, Secret};
use runtime::Entropy;
use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// What the two keys are derived for. Never to be changed: secrets in journals are sealed with them.
const SEALING: &str = "isoswarm scheduler 2026-11 sealing of secrets";
const FINGERPRINTS: &str = "isoswarm scheduler 2026-11 fingerprints of secrets";

/// Seals and opens.
pub(crate) struct Vault {
    path: PathBuf,
    cipher: XChaCha20Poly1305,
    fingerprints: [u8; KEY_BYTES],
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others may read it.
    #[error("others can read the key of secrets in {}: chmod 600 it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// There is something else in it.
    #[error("{} is not a key of secrets: it has 64 hex digits; restore it, or name another file", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or made.
    #[error("cannot use the key of secrets in {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A secret was sealed with another key, or for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret of its run cannot be opened with this key")]
pub(crate) struct Unopenable;

impl Vault {
    /// With the key in this file. Makes one, for its owner only, when there is no such file.
    pub(crate) fn new(path: &Path, entropy: Arc<dyn Entropy>) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let key = match load(path)? {
            Some(key) => key,
            None => {
                create(path, &random(&*entropy), entropy.next()).map_err(failed)?;
                // That of another process that was faster, perhaps.
                load(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?
            }
        };
        let cipher = XChaCha20Poly1305::new(&blake3::derive_key(SEALING, &key).into());
        let fingerprints = blake3::derive_key(FINGERPRINTS, &key);
        Ok(Self { path: path.to_owned(), cipher, fingerprints, entropy })
    }

    /// Where the key is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Seals a secret for the run of a request.
    pub(crate) fn seal(&self, request: &RequestId, secret: &Secret) -> SealedSecret {
        let nonce: [u8; NONCE_BYTES] = random(&*self.entropy);
        let payload = Payload { msg: secret.expose(), aad: request.as_str().as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("a secret is far below the 256 GiB that the cipher takes");
        let fingerprint = *blake3::keyed_hash(&self.fingerprints, secret.expose()).as_bytes();
        SealedSecret { sealed: [&nonce[..], &sealed].concat().into(), fingerprint }
    }

    /// Opens what was sealed for the run of a request.
    pub(crate) fn open(&self, request: &RequestId, sealed: &SealedSecret) -> Result<Secret, Unopenable> {
        let (nonce, sealed) = sealed.sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Unopenable)?;
        let payload = Payload { msg: sealed, aad: request.as_str().as_bytes() };
        let secret = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| Unopenable)?;
        Secret::new(&secret).map_err(|_| Unopenable)
    }
}

fn random<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&entropy.next().to_ne_bytes()[..chunk.len()]);
    }
    bytes
}

fn parse(text: &str) -> Option<[u8; KEY_BYTES]> {
    let text = text.trim_end();
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; KEY_BYTES];
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(key)
}

/// The key in this file, if there is one.
fn load(path: &Path) -> Result<Option<[u8; KEY_BYTES]>, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            Err(KeyError::Exposed { path: path.to_owned() })
        }
        Ok(_) => match parse(&fs::read_to_string(path).map_err(failed)?) {
            Some(key) => Ok(Some(key)),
            None => Err(KeyError::Malformed { path: path.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Durable before a secret is sealed with it. Leaves a key alone that is there: another process may be making one, and
/// both must go on with the same. `unique` tells apart what they write.
fn create(path: &Path, key: &[u8; KEY_BYTES], unique: u64) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    // A key that is half written must not be taken for one.
    let staged = path.with_added_extension(format!("{unique:016x}.new"));
    let published = stage(&staged, key).and_then(|()| fs::hard_link(&staged, path));
    // It is not there when it could not be made.
    let _ = fs::remove_file(&staged);
    match published {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::File::open(parent)?.sync_all(),
    }
}

fn stage(staged: &Path, key: &[u8; KEY_BYTES]) -> io::Result<()> {
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(staged)?;
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    file.write_all(format!("{hex}\n").as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::SeededEntropy;
    use tempfile::TempDir;

    fn vault(path: &Path, seed: u64) -> Vault {
        Vault::new(path, Arc::new(SeededEntropy::new(seed))).unwrap()
    }

    fn request(id: &str) -> RequestId {
        id.parse().unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_by_the_same_key_for_the_same_request() {
        let dir = TempDir::new().unwrap();
        let key = dir.path().join("below/key");
        let secret = Secret::new(b"hunter2").unwrap();
        let first = vault(&key, 1);
        let sealed = first.seal(&request("r"), &secret);
        assert!(!sealed.sealed.windows(7).any(|window| window == b"hunter2"));
        let again = vault(&key, 2);
        assert_eq!(again.open(&request("r"), &sealed), Ok(secret.clone()));
        assert_eq!(again.open(&request("s"), &sealed), Err(Unopenable));
        let resealed = again.seal(&request("r"), &secret);
        assert_eq!(resealed, sealed, "the same secret");
        assert_ne!(resealed.sealed, sealed.sealed, "under another nonce");
        let other = vault(&dir.path().join("other"), 3);
        assert_eq!(other.open(&request("r"), &sealed), Err(Unopenable));
        assert_ne!(other.seal(&request("r"), &secret), sealed, "fingerprints of other keys say nothing");
        for byte in [0, NONCE_BYTES, sealed.sealed.len() - 1] {
            let mut bytes = sealed.sealed.to_vec();
            bytes[byte] ^= 1;
            let damaged = SealedSecret { sealed: bytes.into(), ..sealed.clone() };
            assert_eq!(first.open(&request("r"), &damaged), Err(Unopenable), "byte {byte}");
        }
    }

    #[test]
    fn a_key_that_another_process_has_made_meanwhile_is_kept() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("key");
        create(&path, &[1; KEY_BYTES], 1).unwrap();
        create(&path, &[2; KEY_BYTES], 2).unwrap();
        assert_eq!(load(&path).unwrap(), Some([1; KEY_BYTES]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else stays");
    }

    /// Journals of every scheduler stay readable.
    #[test]
    fn what_was_sealed_long_ago_is_opened() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("key");
        create(&path, &[7; KEY_BYTES], 0).unwrap();
        let sealed = GOLDEN
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
        let sealed = SealedSecret { sealed: sealed.collect(), fingerprint: [0; 32] };
        let opened = vault(&path, 1).open(&request("golden"), &sealed).unwrap();
        assert_eq!(opened.expose(), b"an old secret");
    }

    const GOLDEN: &str = "611830d3641a68f94a690dcc25d1f4b0dac948325ac18f6d669e6fd3a86a76ecdd\
        b464a8b104bdd06c5eaf822d8807309a869575e2";

    #[test]
    fn a_key_that_is_none_or_everybodys_is_refused() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("key");
        vault(&path, 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let entropy = || -> Arc<dyn Entropy> { Arc::new(SeededEntropy::new(1)) };
        let error = Vault::new(&path, entropy()).unwrap_err();
        assert!(matches!(error, KeyError::Exposed { .. }), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "0".repeat(63)).unwrap();
        let error = Vault::new(&path, entropy()).unwrap_err();
        assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
    }
}
