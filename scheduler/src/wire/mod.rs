//! Between wire messages and the queue's values. Used by `service` and by the journal's codec; decides nothing.

pub(crate) mod bot;
mod earlier;
mod fan_out;
pub(crate) mod field;
mod items;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod result;
pub(crate) mod run;
pub(crate) mod spec;
pub(crate) mod suite;
