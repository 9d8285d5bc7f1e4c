//! How things look: colours, numbers, tables, live lines. Text in, text out; the console writes it.

mod human;
mod paint;
mod summary;
mod table;
mod verdict;

pub use human::{ago, bytes, count, duration, some_of, utc};
pub use paint::{Paint, cut};
pub use summary::{TestCounts, after, counts, includes, outcome_counts, run_line, shard_table, state_text};
pub use table::{Cell, Column, Page, Table};
pub use verdict::{failed_tests, verdict_line};
