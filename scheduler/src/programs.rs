//! The bot programs that this scheduler names: one blob in the CAS for each platform, as bots write their platform
//! (`linux-x86_64`).

use proto::{Digest, DigestFunction};
use std::collections::BTreeMap;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Programs(BTreeMap<String, Digest>);

/// Why there is no program for a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bot_program `{given}`: {problem}; write `linux-x86_64=sha256:HEX/SIZE`")]
pub struct ProgramError {
    given: String,
    problem: String,
}

impl Programs {
    /// `PLATFORM=DIGEST` each. Of SHA-256, which every host can check without a program of ours.
    pub(crate) fn parse(given: &[String]) -> Result<Self, ProgramError> {
        let mut programs = BTreeMap::new();
        for given in given {
            let refused = |problem: String| ProgramError { given: given.clone(), problem };
            let (platform, digest) = given.split_once('=').ok_or_else(|| refused("has no `=`".into()))?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if platform.is_empty() || !platform.chars().all(plain) {
                return Err(refused("the platform is letters, digits, `-` and `_`".into()));
            }
            let digest: Digest =
                digest.parse().map_err(|error: proto::DigestError| refused(error.to_string()))?;
            if digest.function() != DigestFunction::Sha256 || digest.size() == 0 {
                return Err(refused("the digest is not of SHA-256, or of nothing".into()));
            }
            if programs.insert(platform.to_owned(), digest).is_some() {
                return Err(refused("the platform has another program already".into()));
            }
        }
        Ok(Self(programs))
    }

    /// The program for a platform.
    pub(crate) fn of(&self, platform: &str) -> Option<Digest> {
        self.0.get(platform).copied()
    }

    /// All of them, by platform.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.0.iter().map(|(platform, digest)| (platform.as_str(), *digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_a_platform_and_a_digest_of_sha256() {
        let digest = DigestFunction::Sha256.digest(b"bot");
        let parse = |text: String| Programs::parse(&[text]);
        let programs = parse(format!("linux-x86_64={digest}")).unwrap();
        assert_eq!((programs.of("linux-x86_64"), programs.of("linux-aarch64")), (Some(digest), None));
        let refused = |text: String| parse(text).unwrap_err().to_string();
        assert!(refused("x".into()).contains("has no `=`"));
        assert!(refused(format!("$(id)={digest}")).contains("the platform is"));
        assert!(refused(format!("a={}", DigestFunction::Blake3.digest(b"bot"))).contains("not of SHA-256"));
        assert!(refused("a=sha256:00/1".into()).contains("bot_program `a=sha256:00/1`"));
        let twice = [format!("a={digest}"), format!("a={digest}")];
        assert!(Programs::parse(&twice).unwrap_err().to_string().contains("another program already"));
    }
}
