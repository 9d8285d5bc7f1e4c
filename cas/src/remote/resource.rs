//! Names of blobs in the byte stream service.

use proto::{Digest, DigestFunction};
use uuid::Uuid;

fn prefix(instance: &str) -> String {
    if instance.is_empty() { String::new() } else { format!("{instance}/") }
}

/// The function's segment: left out where the length of the hash tells it.
fn blob(digest: Digest) -> String {
    let function = match digest.function() {
        DigestFunction::Blake3 => "blake3/",
        _ => "",
    };
    format!("{function}{}/{}", digest.hex(), digest.size())
}

pub(super) fn read(instance: &str, digest: Digest) -> String {
    format!("{}blobs/{}", prefix(instance), blob(digest))
}

pub(super) fn write(instance: &str, upload: Uuid, digest: Digest) -> String {
    format!("{}uploads/{upload}/blobs/{}", prefix(instance), blob(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blake3_is_named() {
        let name = |function: DigestFunction| read("", function.digest(b"abc"));
        assert!(name(DigestFunction::Blake3).starts_with("blobs/blake3/6437b3ac"));
        assert!(name(DigestFunction::Blake3).ends_with("/3"));
        assert!(name(DigestFunction::Sha256).starts_with("blobs/ba7816bf"));
        assert!(name(DigestFunction::Sha1).starts_with("blobs/a9993e36"));
        assert!(name(DigestFunction::Sha512).starts_with("blobs/ddaf35a1"));
    }

    #[test]
    fn an_instance_comes_first() {
        let digest = DigestFunction::Sha1.digest(b"abc");
        assert!(read("a/b", digest).starts_with("a/b/blobs/a999"));
        let upload = Uuid::nil();
        let name = write("main", upload, digest);
        assert_eq!(name, format!("main/uploads/{upload}/blobs/{}/3", digest.hex()));
    }
}
