//! Short names for the queue's tests.
