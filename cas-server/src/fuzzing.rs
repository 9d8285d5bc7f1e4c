//! What fuzz targets call of the parsers that the crate keeps to itself. For nobody else.

pub use crate::{
    engine::fuzzing::{Record, records},
    service::fuzzing::{inflate, inflate_at_once, read_name, write_name},
};
