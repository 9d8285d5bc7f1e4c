//! The output of attempts, in pieces.

/// A piece of an attempt's output.
#[derive(Clone, Debug)]
pub struct OutputChunk {
    /// Whose.
    pub attempt: u32,
    /// Where the piece starts in the whole.
    pub offset: u64,
    /// The bytes.
    pub data: bytes::Bytes,
}

/// Where to start reading, and when to stop.
#[derive(Clone, Copy, Debug)]
pub struct OutputStart {
    /// `None`: the newest.
    pub attempt: Option<u32>,
    /// First byte.
    pub offset: u64,
    /// When to stop.
    pub until: OutputEnd,
}

/// When to stop reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputEnd {
    /// At what is there now.
    Present,
    /// At the end of the attempt.
    Attempt,
}
