//! The server from the outside: in this process on a port of its own, or as the program that users start.

mod bench;
mod crash;
mod garbage;
mod grpc;
mod http;
mod program;
mod support;
