//! File descriptors: every connection, upload and large download takes one, and the index must never lack one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Below this many, a crowd of clients can take them all.
const FEW: u64 = 4096;

/// Raises the soft limit as far as the hard one allows.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let limit = getrlimit(Resource::Nofile).current;
    if limit.is_some_and(|limit| limit < FEW) {
        tracing::warn!(limit, "few files can be open at a time: raise the hard limit (ulimit -Hn)");
    }
}
