//! Asks those who watch.

use super::{
    Place, Status,
    message::{Answer, Identity, Question},
};
use crate::{Error, process::joined};
use cas::tree::Changes;
use proto::RelPath;
use rustix::process::geteuid;
use std::{
    fs, io,
    os::unix::net,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    task::spawn_blocking,
    time::timeout,
};

/// Who takes longer to answer, all in all, counts as not there: then everything is looked at.
const PATIENCE: Duration = Duration::from_secs(2);

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

    /// What changed below `root` since `token` was given. `None`: nobody watches it, nor a directory above it.
    pub async fn changes(&self, root: &Path, token: Option<&str>) -> Option<Changes> {
        let (place, root) = (self.place.clone(), root.to_owned());
        let Found { stream, watched, below, of } =
            joined(spawn_blocking(move || Found::of(&place, &root)).await).ok()??;
        let question = Question::Changes { token: token.map(str::to_owned), of };
        match told(&watched, stream, &question).await? {
            Answer::Changes { token, paths } => {
                Some(Changes { token, paths: paths.and_then(|paths| of_below(&paths, &below)) })
            }
            _ => None,
        }
    }

    /// How who watches exactly this directory is.
    pub(crate) async fn status(&self, root: &Path) -> Option<Status> {
        self.say(root, &Question::Status).await
    }

    /// The same, who then ends.
    pub(crate) async fn stop(&self, root: &Path) -> Option<Status> {
        self.say(root, &Question::Stop).await
    }

    async fn say(&self, root: &Path, question: &Question) -> Option<Status> {
        match told(root, self.place.connect(root).ok()?, question).await {
            Some(Answer::Status(status)) => Some(status),
            _ => None,
        }
    }
}

/// Somebody who watches a directory or one above it.
struct Found {
    stream: net::UnixStream,
    /// The one that is watched.
    watched: PathBuf,
    /// From there to the one that was looked for.
    below: PathBuf,
    of: Identity,
}

impl Found {
    fn of(place: &Place, root: &Path) -> Option<Self> {
        // Changes are told by where they really are.
        let root = fs::canonicalize(root).ok()?;
        let reach = |above: &Path| place.connect(above).ok().map(|stream| (stream, above.to_owned()));
        let (stream, watched) = root.ancestors().find_map(reach)?;
        let below = root.strip_prefix(&watched).ok()?.to_owned();
        Some(Self { stream, of: Identity::of(&watched).ok()?, watched, below })
    }
}

async fn told(root: &Path, stream: net::UnixStream, question: &Question) -> Option<Answer> {
    let answer = match timeout(PATIENCE, ask(stream, question)).await {
        Ok(answer) => answer,
        Err(late) => Err(late.into()),
    };
    answer
        .inspect_err(
            |error| tracing::warn!(root = %root.display(), %error, "who watches this does not answer"),
        )
        .ok()
}

async fn ask(stream: net::UnixStream, question: &Question) -> io::Result<Answer> {
    let mut stream = UnixStream::from_std(stream)?;
    if stream.peer_cred()?.uid() != geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's"));
    }
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut answer).await?;
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
