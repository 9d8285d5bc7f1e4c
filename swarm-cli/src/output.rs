//! What shards print: read whole, followed through cut connections, or only its end.

use crate::{
    follow::{Acquaintance, Patience},
    model::Shard,
    remote::{CallError, OutputChunk, OutputEnd, OutputStart, Scheduler},
};
use futures::StreamExt as _;
use proto::ShardId;
use std::{ops::ControlFlow, pin::pin};

/// The last lines are looked for in so many bytes at the end.
const TAIL_BYTES: u64 = 512 * 1024;

/// Gives every piece of an attempt's output to `sink`, in order and once, until it has all or wants no more. Returns
/// where it ended.
pub async fn read(
    scheduler: &Scheduler,
    shard: ShardId,
    mut from: OutputStart,
    mut sink: impl FnMut(OutputChunk) -> ControlFlow<()>,
) -> Result<OutputStart, CallError> {
    let mut patience = Patience::with(match from.until {
        OutputEnd::Present => Acquaintance::Unknown,
        OutputEnd::Attempt => Acquaintance::Known,
    });
    loop {
        match session(scheduler, shard, &mut from, &mut patience, &mut sink).await {
            Ok(()) => return Ok(from),
            Err(error) => drop(patience.lost(scheduler, error).await?),
        }
    }
}

/// As [`read`]; when the newest attempt is followed and lost with its bot, goes on with the next one, until the shard
/// has ended. `lost` is told so.
pub async fn read_attempts(
    scheduler: &Scheduler,
    shard: ShardId,
    mut from: OutputStart,
    mut sink: impl FnMut(OutputChunk) -> ControlFlow<()>,
    lost: impl Fn(&str),
) -> Result<(), CallError> {
    let newest = from.attempt.is_none() && from.until == OutputEnd::Attempt;
    let mut enough = false;
    loop {
        let watched = |chunk| {
            let flow = sink(chunk);
            enough = flow.is_break();
            flow
        };
        let ended = read(scheduler, shard, from, watched).await?.attempt.unwrap_or(0);
        if !newest || enough {
            return Ok(());
        }
        let Some(next) = attempt_after(scheduler, shard, ended).await? else { return Ok(()) };
        if ended > 0 {
            lost(&format!("attempt {ended} of shard {shard} was lost with its bot; attempt {next} follows"));
        }
        from = OutputStart { attempt: Some(next), offset: 0, ..from };
    }
}

/// The attempt after this one, waited for. `None` when the shard has ended without.
async fn attempt_after(scheduler: &Scheduler, shard: ShardId, ended: u32) -> Result<Option<u32>, CallError> {
    let mut patience = Patience::with(Acquaintance::Known);
    for looks in 0.. {
        match scheduler.get(shard.run).await {
            Ok(run) => match run.shard(shard) {
                Some(shard) if shard.attempt().is_some_and(|newest| newest.number > ended) => {
                    return Ok(Some(ended + 1));
                }
                Some(shard) if !shard.state.is_final() => patience.heard(),
                _ => return Ok(None),
            },
            Err(error) => drop(patience.lost(scheduler, error).await?),
        }
        scheduler.back_off(looks).await;
    }
    Ok(None)
}

async fn session(
    scheduler: &Scheduler,
    shard: ShardId,
    from: &mut OutputStart,
    patience: &mut Patience,
    sink: &mut impl FnMut(OutputChunk) -> ControlFlow<()>,
) -> Result<(), CallError> {
    let mut stream = pin!(scheduler.read_output(shard, *from).await?);
    // Silence that follows is the shard's.
    patience.heard();
    while let Some(chunk) = stream.next().await {
        let mut chunk = chunk?;
        // The newest attempt may be another one after a restart; the one that was begun is read to its end.
        from.attempt = Some(chunk.attempt).filter(|&number| number > 0).or(from.attempt);
        // What was read before a cut is not told again, and nothing is left out without a word.
        let told = from.offset.saturating_sub(chunk.offset).min(chunk.data.len() as u64);
        if chunk.offset > from.offset {
            let reason = format!("output of {shard} is missing from {} to {}", from.offset, chunk.offset);
            return Err(CallError::Internal { reason });
        }
        chunk.data = chunk.data.split_off(usize::try_from(told).unwrap_or(usize::MAX));
        chunk.offset = from.offset;
        from.offset += chunk.data.len() as u64;
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
pub(crate) fn last_lines(bytes: &[u8], begin: Completeness, lines: usize) -> Tail {
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
