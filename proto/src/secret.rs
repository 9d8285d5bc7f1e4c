//! Bytes that nobody is to see but the commands that they are for.

use crate::limits::MAX_SECRET_BYTES;
use std::{fmt, sync::Arc};

/// A secret of a run: 1 byte to 20 KiB. Nothing prints it; who needs the bytes says so with [`Self::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

/// Why bytes are no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret has 1 to {MAX_SECRET_BYTES} bytes, not {bytes}: keep larger ones elsewhere, and make their key the secret"
)]
pub struct SecretError {
    /// How many there are.
    pub bytes: usize,
}

impl Secret {
    /// Checks the size.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretError> {
        if bytes.is_empty() || bytes.len() > MAX_SECRET_BYTES {
            return Err(SecretError { bytes: bytes.len() });
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl fmt::Debug for crate::v1::Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl From<&Secret> for crate::v1::Secret {
    fn from(secret: &Secret) -> Self {
        Self { value: secret.expose().to_vec() }
    }
}

impl TryFrom<&crate::v1::Secret> for Secret {
    type Error = SecretError;

    fn try_from(wire: &crate::v1::Secret) -> Result<Self, SecretError> {
        Self::new(&wire.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    #[test]
    fn nothing_prints_a_secret() {
        let secret = Secret::new(b"hunter2").unwrap();
        let request = v1::TriggerRequest { secret: Some((&secret).into()), ..Default::default() };
        let assignment = v1::Assignment { secret: Some((&secret).into()), ..Default::default() };
        let printed = format!("{secret:?} {request:?} {assignment:#?}");
        assert_eq!(printed.matches("redacted").count(), 3);
        assert!(!printed.contains("hunter2") && !printed.contains("104"), "{printed}");
    }

    #[test]
    fn a_secret_has_bytes_and_not_too_many() {
        assert_eq!(Secret::new(b""), Err(SecretError { bytes: 0 }));
        assert!(Secret::new(&[0; MAX_SECRET_BYTES]).is_ok());
        let message = Secret::new(&[0; MAX_SECRET_BYTES + 1]).unwrap_err().to_string();
        assert!(message.contains("20480 bytes, not 20481"), "{message}");
        let secret = Secret::new(b"x").unwrap();
        assert_eq!(Secret::try_from(&v1::Secret::from(&secret)), Ok(secret));
    }
}
