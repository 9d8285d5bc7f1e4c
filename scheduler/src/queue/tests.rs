//! The rules of the queue, one fact each, and the laws that hold whatever happens.

mod cancel;
mod children;
mod decisions;
mod dedupe;
mod delete;
mod earlier;
mod fairness;
mod fan_out;
mod history;
mod laws;
mod leases;
mod order;
mod pools;
mod runs;
mod simulation;
mod slices;
mod suites;
