//! Results of attempts.

use super::field::{FieldError, InField, to_wire};
use crate::queue::{AttemptResult, AttemptStats, Ending};
use proto::{Digest, v1};
use std::time::Duration;

/// A message from a bot is cut here.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// Parses what a bot says.
pub(crate) fn parse_result(wire: &v1::AttemptResult) -> Result<AttemptResult, FieldError> {
    let ending = parse_ending(wire.state).filter(|ending| {
        !matches!(
            ending,
            Ending::Expired | Ending::NoResource | Ending::Canceled | Ending::BotDied | Ending::Skipped
        )
    });
    let ending = ending.ok_or_else(|| {
        let known = "COMPLETED, TIMED_OUT, KILLED, CLIENT_ERROR or INTERNAL_ERROR";
        FieldError::new("state", format!("{} is no result: give {known}", wire.state))
    })?;
    if ending == Ending::Completed && wire.exit_code.is_none() {
        return Err(FieldError::new("exit_code", "is missing, and a COMPLETED command has one"));
    }
    let end = wire.message.floor_char_boundary(LONGEST_MESSAGE);
    Ok(AttemptResult {
        ending,
        exit_code: wire.exit_code,
        signal: wire.signal,
        message: wire.message[..end].to_owned(),
        outputs: wire.outputs.as_ref().map(Digest::try_from).transpose().in_field("outputs")?,
        stats: wire.stats.as_ref().map(parse_stats),
        out_of_memory: wire.out_of_memory,
    })
}

/// The ending with this number of `ShardState`, if it is one.
pub(crate) fn parse_ending(state: i32) -> Option<Ending> {
    match v1::ShardState::try_from(state).ok()? {
        v1::ShardState::Unspecified
        | v1::ShardState::Waiting
        | v1::ShardState::Pending
        | v1::ShardState::Running => None,
        v1::ShardState::Completed => Some(Ending::Completed),
        v1::ShardState::Expired => Some(Ending::Expired),
        v1::ShardState::TimedOut => Some(Ending::TimedOut),
        v1::ShardState::Canceled => Some(Ending::Canceled),
        v1::ShardState::Killed => Some(Ending::Killed),
        v1::ShardState::BotDied => Some(Ending::BotDied),
        v1::ShardState::ClientError => Some(Ending::ClientError),
        v1::ShardState::InternalError => Some(Ending::InternalError),
        v1::ShardState::NoResource => Some(Ending::NoResource),
        v1::ShardState::NotNeeded => Some(Ending::NotNeeded),
        v1::ShardState::Skipped => Some(Ending::Skipped),
    }
}

/// The other way round.
pub(crate) fn ending_to_wire(ending: Ending) -> v1::ShardState {
    match ending {
        Ending::Completed => v1::ShardState::Completed,
        Ending::Expired => v1::ShardState::Expired,
        Ending::TimedOut => v1::ShardState::TimedOut,
        Ending::Canceled => v1::ShardState::Canceled,
        Ending::Killed => v1::ShardState::Killed,
        Ending::BotDied => v1::ShardState::BotDied,
        Ending::ClientError => v1::ShardState::ClientError,
        Ending::InternalError => v1::ShardState::InternalError,
        Ending::NoResource => v1::ShardState::NoResource,
        Ending::NotNeeded => v1::ShardState::NotNeeded,
        Ending::Skipped => v1::ShardState::Skipped,
    }
}

fn parse_stats(wire: &v1::AttemptStats) -> AttemptStats {
    // A nonsensical measurement is not worth losing a result for.
    let duration = |given: &Option<prost_types::Duration>| -> Duration {
        given.and_then(|given| Duration::try_from(given).ok()).unwrap_or_default()
    };
    AttemptStats {
        fetch: duration(&wire.fetch),
        run: duration(&wire.run),
        upload: duration(&wire.upload),
        cold_items: wire.cold_items,
        cold_bytes: wire.cold_bytes,
        hot_items: wire.hot_items,
        hot_bytes: wire.hot_bytes,
        uploaded_bytes: wire.uploaded_bytes,
    }
}

/// As the wire has it.
pub(crate) fn result_to_wire(result: &AttemptResult) -> v1::AttemptResult {
    v1::AttemptResult {
        state: ending_to_wire(result.ending).into(),
        exit_code: result.exit_code,
        signal: result.signal,
        message: result.message.clone(),
        outputs: result.outputs.map(Into::into),
        stats: result.stats.map(stats_to_wire),
        out_of_memory: result.out_of_memory,
    }
}

fn stats_to_wire(stats: AttemptStats) -> v1::AttemptStats {
    v1::AttemptStats {
        fetch: Some(to_wire(stats.fetch)),
        run: Some(to_wire(stats.run)),
        upload: Some(to_wire(stats.upload)),
        cold_items: stats.cold_items,
        cold_bytes: stats.cold_bytes,
        hot_items: stats.hot_items,
        hot_bytes: stats.hot_bytes,
        uploaded_bytes: stats.uploaded_bytes,
    }
}
