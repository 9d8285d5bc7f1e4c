//! The server from the outside: in this process on a port of its own, or as the program that users start.
#![expect(clippy::unwrap_used, reason = "tests may unwrap, also in their helpers")]

mod action_cache;
mod asset;
mod at_rest;
mod chunks;
mod compressed;
mod crash;
mod crowd;
mod disk_errors;
mod functions;
mod garbage;
mod grpc;
mod http;
mod http_values;
mod operators;
mod patches;
mod pins;
mod program;
mod reflection;
mod resume;
mod support;
mod tree;
