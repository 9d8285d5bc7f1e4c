//! File descriptors: every connection and every open file takes one, and there are only so many.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Below this many, a crowd of clients can take them all.
const FEW: u64 = 4096;

/// Raises the soft limit as far as the hard one allows. Call once, from `main`.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let limit = limit();
    if limit < FEW {
        tracing::warn!(limit, "few files can be open at a time: raise the hard limit (ulimit -Hn)");
    }
}

/// How many can be open at a time.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
