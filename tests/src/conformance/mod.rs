//! What a cache server of the Remote Execution API v2 has to do, as rules that any server can be asked about.
//!
//! A [`Rule`] is a sentence, where it comes from, and a check that speaks to the server through the generated clients.
//! The groups, one file each, are tables of rules. Nothing here assumes a server of ours, and nothing needs one that is
//! empty: whatever a check uploads is new.

mod blob;
mod calls;
mod expect;
mod groups;
mod http;
mod report;
mod rule;
mod server;
mod suite;

pub use report::{Report, Verdict};
pub use rule::Rule;
pub use server::{Server, Target};
pub use suite::{rules, run};
