//! Programs that people build with, against our server: each must have real hits, by its own count and by ours.
//!
//! `tests/setup/clients` installs them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod bazel;
mod bazel_faults;
mod bazel_shards;
mod bazel_workspace;
mod casd;
mod ccache;
mod moon;
mod sccache;
mod support;
