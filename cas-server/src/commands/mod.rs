//! What the program does instead of serving.

pub(crate) mod explain;
pub(crate) mod scrub;
