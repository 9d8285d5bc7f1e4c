//! Asks those who watch.

use super::{
    Place, Status,
    message::{Answer, Question},
};
use crate::Error;
use cas::tree::Changes;
use proto::RelPath;
use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// Who takes longer to answer counts as not there: then everything is looked at.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;

/// Where those who watch directories of this user are found.
#[derive(Clone, Debug)]
pub struct Watcher {
    place: Place,
}

impl Watcher {
    /// Those that `isolate watch` runs for this user.
    pub fn of_user() -> Result<Self, Error> {
        Ok(Self { place: Place::of_user()? })
    }

    #[cfg(test)]
    pub(super) fn at(place: Place) -> Self {
        Self { place }
    }

    /// What changed below `root` since `token` was given. `None`: nobody watches it, nor a directory above it. Blocks.
    pub fn changes(&self, root: &Path, token: Option<&str>) -> Option<Changes> {
        // Changes are told by where they really are.
        let root = fs::canonicalize(root).ok()?;
        for above in root.ancestors() {
            let Ok(stream) = self.place.connect(above) else { continue };
            let question = Question::Changes { token: token.map(str::to_owned) };
            let Some(Answer::Changes { token, paths }) = told(above, ask(stream, &question)) else {
                return None;
            };
            let below = root.strip_prefix(above).ok()?;
            return Some(Changes { token, paths: paths.and_then(|paths| of_below(&paths, below)) });
        }
        None
    }

    /// How who watches exactly this directory is. Blocks.
    pub(crate) fn status(&self, root: &Path) -> Option<Status> {
        self.say(root, &Question::Status)
    }

    /// The same, who then ends.
    pub(crate) fn stop(&self, root: &Path) -> Option<Status> {
        self.say(root, &Question::Stop)
    }

    fn say(&self, root: &Path, question: &Question) -> Option<Status> {
        match told(root, ask(self.place.connect(root).ok()?, question)) {
            Some(Answer::Status(status)) => Some(status),
            _ => None,
        }
    }
}

fn told(root: &Path, answer: io::Result<Answer>) -> Option<Answer> {
    answer
        .inspect_err(
            |error| tracing::warn!(root = %root.display(), %error, "who watches this does not answer"),
        )
        .ok()
}

fn ask(mut stream: UnixStream, question: &Question) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

/// The paths as seen from a directory below the one that they are told from. `None`: it, or one above it, changed itself, or there
/// is one that no manifest can carry.
fn of_below(paths: &[String], root: &Path) -> Option<Vec<RelPath>> {
    let mut seen = Vec::with_capacity(paths.len());
    for path in paths {
        if root.starts_with(path) {
            return None;
        }
        if let Ok(below) = Path::new(path).strip_prefix(root) {
            seen.push(RelPath::new(below.to_str()?).ok()?);
        }
    }
    Some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_as_seen_from_a_directory_further_below() {
        let paths = ["a/b/c", "a/bc", "x", "a/b/d/e"].map(str::to_owned);
        let seen = |root: &str| {
            let seen = of_below(&paths, Path::new(root))?;
            Some(seen.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(seen("a/b").unwrap(), ["c", "d/e"]);
        assert_eq!(seen("").unwrap(), paths);
        assert_eq!(seen("y").unwrap(), [""; 0]);
        for itself_or_above in ["x", "x/y", "a/b/c", "a/b/c/d"] {
            assert_eq!(seen(itself_or_above), None, "{itself_or_above}");
        }
    }
}
