//! What shards print: read whole, followed through cut connections, or only its end.

use crate::{
    model::Shard,
    remote::{CallError, OutputChunk, OutputEnd, OutputStart, Scheduler},
};
use futures::StreamExt as _;
use proto::ShardId;
use std::{ops::ControlFlow, pin::pin, time::Duration};

/// How long a scheduler may be away while its output is followed.
const ABSENCE: Duration = Duration::from_secs(300);

/// How long it may be away before the first byte, and when nothing is followed.
const FIRST_CONTACT: Duration = Duration::from_secs(5);

/// The last lines are looked for in so many bytes at the end.
const TAIL_BYTES: u64 = 512 * 1024;

/// Gives every piece of an attempt's output to `sink`, in order and once, until it has all or wants no more.
pub async fn read(
    scheduler: &Scheduler,
    shard: ShardId,
    mut from: OutputStart,
    mut sink: impl FnMut(OutputChunk) -> ControlFlow<()>,
) -> Result<(), CallError> {
    let mut contact = scheduler.clock().elapsed();
    let mut patience = FIRST_CONTACT;
    let mut tries = 0;
    loop {
        let error = match session(scheduler, shard, &mut from, &mut sink).await {
            Ok(()) => return Ok(()),
            Err((error, Heard::Something)) => {
                contact = scheduler.clock().elapsed();
                tries = 0;
                if from.until == OutputEnd::Attempt {
                    patience = ABSENCE;
                }
                error
            }
            Err((error, Heard::Nothing)) => error,
        };
        let away = scheduler.clock().elapsed().saturating_sub(contact);
        if !error.is_transient() || away >= patience {
            return Err(error);
        }
        scheduler.back_off(tries).await;
        tries += 1;
    }
}

/// Whether a connection brought anything before it broke.
#[derive(Clone, Copy)]
enum Heard {
    Something,
    Nothing,
}

async fn session(
    scheduler: &Scheduler,
    shard: ShardId,
    from: &mut OutputStart,
    sink: &mut impl FnMut(OutputChunk) -> ControlFlow<()>,
) -> Result<(), (CallError, Heard)> {
    let stream = scheduler.read_output(shard, *from).await.map_err(|error| (error, Heard::Nothing))?;
    let mut stream = pin!(stream);
    let mut heard = Heard::Nothing;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| (error, heard))?;
        heard = Heard::Something;
        // The newest attempt may be another one after a restart; the one that was begun is read to its end.
        from.attempt = Some(chunk.attempt).filter(|&number| number > 0).or(from.attempt);
        from.offset = chunk.offset + chunk.data.len() as u64;
        if sink(chunk).is_break() {
            break;
        }
    }
    Ok(())
}

/// The end of what a shard's newest attempt printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The last lines, or less.
    pub text: String,
    /// Whether something stands before them.
    pub completeness: Completeness,
}

/// Whether a text is all there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completeness {
    /// It is.
    #[default]
    Whole,
    /// Something stands before it.
    Cut,
}

/// Reads the last `lines` lines of a shard's newest attempt.
pub async fn tail(scheduler: &Scheduler, shard: &Shard, lines: usize) -> Result<Tail, CallError> {
    let Some(attempt) = shard.attempt() else {
        return Ok(Tail::default());
    };
    let offset = attempt.output_size.saturating_sub(TAIL_BYTES);
    let from = OutputStart { attempt: Some(attempt.number), offset, until: OutputEnd::Present };
    let mut bytes = Vec::new();
    read(scheduler, shard.id, from, |chunk| {
        bytes.extend_from_slice(&chunk.data);
        if bytes.len() as u64 >= 2 * TAIL_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    let begin = if offset == 0 { Completeness::Whole } else { Completeness::Cut };
    Ok(last_lines(&bytes, begin, lines))
}

/// The last `lines` lines of `bytes`, whose first line is a part of one when something was cut before.
fn last_lines(bytes: &[u8], begin: Completeness, lines: usize) -> Tail {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let mut completeness = begin;
    if begin == Completeness::Cut
        && let Some(at) = text.find('\n')
    {
        text.drain(..=at);
    }
    let body = text.strip_suffix('\n').unwrap_or(&text);
    if lines == 0 {
        completeness = if body.is_empty() { begin } else { Completeness::Cut };
        text.clear();
    } else if let Some((at, _)) = body.rmatch_indices('\n').nth(lines - 1) {
        text.drain(..=at);
        completeness = Completeness::Cut;
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Tail { text, completeness }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole_lines() {
        let tail = |bytes: &[u8], begin, lines| {
            let tail = last_lines(bytes, begin, lines);
            (tail.text, tail.completeness)
        };
        use Completeness::{Cut, Whole};
        assert_eq!(tail(b"a\nb\nc\n", Whole, 2), ("b\nc\n".into(), Cut));
        assert_eq!(tail(b"a\nb\nc", Whole, 3), ("a\nb\nc\n".into(), Whole));
        assert_eq!(tail(b"rest of a\nb\n", Cut, 5), ("b\n".into(), Cut));
        assert_eq!(tail(b"", Whole, 5), (String::new(), Whole));
        assert_eq!(tail(b"a\n", Whole, 0), (String::new(), Cut));
        assert_eq!(tail(b"\xff\n", Whole, 1), ("\u{fffd}\n".into(), Whole));
    }
}
