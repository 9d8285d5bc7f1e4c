//! The rules, by what they are about.

mod action_cache;
mod batch;
mod batch_zstd;
mod capabilities;
mod completeness;
mod digests;
mod empty;
mod find_missing;
mod http;
mod http_encoding;
mod names;
mod read;
mod read_zstd;
mod resume;
mod splice;
mod split;
mod tree;
mod write;
mod write_refused;
mod write_zstd;

use super::{Rule, blob, expect, rule, server};

/// In the order in which they are asked.
pub(super) const GROUPS: &[&[Rule]] = &[
    capabilities::RULES,
    digests::RULES,
    empty::RULES,
    names::RULES,
    read::RULES,
    read_zstd::RULES,
    write::RULES,
    write_refused::RULES,
    write_zstd::RULES,
    resume::RULES,
    find_missing::RULES,
    batch::RULES,
    batch_zstd::RULES,
    tree::RULES,
    split::RULES,
    splice::RULES,
    action_cache::RULES,
    completeness::RULES,
    http::RULES,
    http_encoding::RULES,
];
