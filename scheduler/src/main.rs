//! Grows in the next commits.

fn main() {}
