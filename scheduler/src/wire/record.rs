//! Records of the journal and their bytes. What is written here is read for ever: fields are only added.

use super::{
    bot,
    field::{FieldError, InField},
    result, spec, suite,
};
use crate::queue::{AttemptResult, Loss, Record, Reused, RunSpec, SealedSecret, Token, Transition};
use crate::sharding::TestIndex;
use prost::Message as _;
use proto::{BotId, RequestId, RunId, SessionId, ShardId, Timestamp, journal::v1 as wire};
use std::{num::NonZeroU32, sync::Arc, time::Duration};
use wire::record::Transition as Wire;

/// The first byte of every record.
const VERSION: u8 = 1;

/// A specification in the journal has every default filled in. These stand in where an old one lacks a field that
/// came later.
const DEFAULTS: spec::Defaults = spec::Defaults {
    expiration: Duration::from_secs(3600),
    hard: Duration::from_secs(3600),
    grace: Duration::from_secs(30),
    max_attempts: NonZeroU32::MIN,
};

/// Version byte, then the message.
pub(crate) fn encode(record: &Record) -> Vec<u8> {
    let message =
        wire::Record { at: Some(record.at.into()), transition: Some(transition_to_wire(&record.transition)) };
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(VERSION);
    message.encode_raw(&mut bytes);
    bytes
}

/// The record in these bytes, or what is wrong with them.
pub(crate) fn decode(bytes: &[u8]) -> Result<Record, FieldError> {
    let (version, message) = bytes.split_first().ok_or_else(|| FieldError::new("version", "is missing"))?;
    if *version != VERSION {
        let problem = format!("{version} was written by a newer scheduler: upgrade this one");
        return Err(FieldError::new("version", problem));
    }
    let message = wire::Record::decode(message).in_field("message")?;
    let at = message.at.as_ref().ok_or_else(|| FieldError::new("at", "is missing"))?;
    let transition =
        message.transition.ok_or_else(|| FieldError::new("transition", "is missing or unknown"))?;
    Ok(Record { at: Timestamp::from(at), transition: parse_transition(&transition)? })
}

fn transition_to_wire(transition: &Transition) -> Wire {
    match transition {
        Transition::RunCreated { run, request, spec } => Wire::RunCreated(wire::RunCreated {
            run_id: run.to_string(),
            request_id: request.to_string(),
            spec: Some(spec::run_to_wire(spec)),
            sealed_secret: spec.secret.as_ref().map(|secret| secret.sealed.to_vec()).unwrap_or_default(),
            secret_fingerprint: spec
                .secret
                .as_ref()
                .map(|secret| secret.fingerprint.to_vec())
                .unwrap_or_default(),
        }),
        Transition::Leased { shard, attempt, token, bot, session } => Wire::Leased(wire::Leased {
            shard_id: shard.to_string(),
            attempt: *attempt,
            token: token.0,
            bot_id: bot.to_string(),
            session_id: session.to_string(),
        }),
        Transition::AttemptLost { shard, token, reason, output_size, loss } => {
            Wire::AttemptLost(wire::AttemptLost {
                shard_id: shard.to_string(),
                token: token.0,
                reason: reason.clone(),
                output_size: *output_size,
                returned: *loss == Loss::Returned,
            })
        }
        Transition::AttemptFinished { shard, token, result, output_size } => {
            Wire::AttemptFinished(wire::AttemptFinished {
                shard_id: shard.to_string(),
                token: token.0,
                result: Some(result::result_to_wire(result)),
                output_size: *output_size,
            })
        }
        Transition::ShardEnded { shard, ending, message } => Wire::ShardEnded(wire::ShardEnded {
            shard_id: shard.to_string(),
            state: result::ending_to_wire(*ending).into(),
            message: message.clone(),
        }),
        Transition::ShardDeduped { shard, reused } => Wire::ShardDeduped(wire::ShardDeduped {
            shard_id: shard.to_string(),
            from_shard_id: reused.from.to_string(),
            result: Some(result::result_to_wire(&reused.result)),
        }),
        Transition::SliceGivenUp { shard, next } => {
            Wire::SliceGivenUp(wire::SliceGivenUp { shard_id: shard.to_string(), next: (*next).into() })
        }
        Transition::KillRequested { shard } => {
            Wire::KillRequested(wire::KillRequested { shard_id: shard.to_string() })
        }
        Transition::BotOrdered { bot, standing } => Wire::BotOrdered(bot::ordered_to_wire(bot, standing)),
        Transition::RunDeleted { run, last_token } => {
            Wire::RunDeleted(wire::RunDeleted { run_id: run.to_string(), last_token: last_token.0 })
        }
        Transition::CancelRequested { run } => {
            Wire::CancelRequested(wire::CancelRequested { run_id: run.to_string() })
        }
        Transition::TestsListed { run, step, listing, workers } => Wire::TestsListed(wire::TestsListed {
            run_id: run.to_string(),
            step: *step,
            listing: Some(suite::listing_to_wire(listing)),
            workers: *workers,
        }),
        Transition::WorkersAdded { run, step, more } => {
            Wire::WorkersAdded(wire::WorkersAdded { run_id: run.to_string(), step: *step, more: *more })
        }
        Transition::TestsGranted { shard, token, tests } => Wire::TestsGranted(wire::TestsGranted {
            shard_id: shard.to_string(),
            token: token.0,
            tests: tests.iter().map(|test| test.0).collect(),
        }),
        Transition::TestsReported { shard, token, reports } => Wire::TestsReported(wire::TestsReported {
            shard_id: shard.to_string(),
            token: token.0,
            reports: reports.iter().map(suite::report_to_wire).collect(),
        }),
        Transition::TestQuarantined { quarantined } => Wire::TestQuarantined(wire::TestQuarantined {
            quarantine: Some(suite::quarantine_to_wire(quarantined)),
        }),
    }
}

fn parse_transition(transition: &Wire) -> Result<Transition, FieldError> {
    let shard = |id: &str| id.parse::<ShardId>().in_field("shard_id");
    let run = |id: &str| id.parse::<RunId>().in_field("run_id");
    Ok(match transition {
        Wire::RunCreated(created) => Transition::RunCreated {
            run: run(&created.run_id)?,
            request: created.request_id.parse::<RequestId>().in_field("request_id")?,
            spec: Arc::new(parse_spec(created)?),
        },
        Wire::Leased(leased) => Transition::Leased {
            shard: shard(&leased.shard_id)?,
            attempt: leased.attempt,
            token: Token(leased.token),
            bot: leased.bot_id.parse::<BotId>().in_field("bot_id")?,
            session: leased.session_id.parse::<SessionId>().in_field("session_id")?,
        },
        Wire::AttemptLost(lost) => Transition::AttemptLost {
            shard: shard(&lost.shard_id)?,
            token: Token(lost.token),
            reason: lost.reason.clone(),
            output_size: lost.output_size,
            loss: if lost.returned { Loss::Returned } else { Loss::Counted },
        },
        Wire::AttemptFinished(finished) => Transition::AttemptFinished {
            shard: shard(&finished.shard_id)?,
            token: Token(finished.token),
            result: parse_result(finished.result.as_ref())?,
            output_size: finished.output_size,
        },
        Wire::ShardEnded(ended) => Transition::ShardEnded {
            shard: shard(&ended.shard_id)?,
            ending: result::parse_ending(ended.state)
                .ok_or_else(|| FieldError::new("state", format!("{} is no ending", ended.state)))?,
            message: ended.message.clone(),
        },
        Wire::ShardDeduped(deduped) => Transition::ShardDeduped {
            shard: shard(&deduped.shard_id)?,
            reused: Reused {
                from: deduped.from_shard_id.parse().in_field("from_shard_id")?,
                result: parse_result(deduped.result.as_ref())?,
            },
        },
        Wire::SliceGivenUp(given_up) => Transition::SliceGivenUp {
            shard: shard(&given_up.shard_id)?,
            next: u8::try_from(given_up.next).in_field("next")?,
        },
        Wire::KillRequested(kill) => Transition::KillRequested { shard: shard(&kill.shard_id)? },
        Wire::BotOrdered(ordered) => Transition::BotOrdered {
            bot: ordered.bot_id.parse::<BotId>().in_field("bot_id")?,
            standing: bot::parse_ordered(ordered)?,
        },
        Wire::RunDeleted(deleted) => {
            Transition::RunDeleted { run: run(&deleted.run_id)?, last_token: Token(deleted.last_token) }
        }
        Wire::CancelRequested(cancel) => Transition::CancelRequested { run: run(&cancel.run_id)? },
        Wire::TestsListed(listed) => {
            let listing = listed.listing.as_ref().ok_or_else(|| FieldError::new("listing", "is missing"))?;
            Transition::TestsListed {
                run: run(&listed.run_id)?,
                step: listed.step,
                listing: Arc::new(suite::parse_listing(listing)?),
                workers: listed.workers,
            }
        }
        Wire::WorkersAdded(added) => {
            Transition::WorkersAdded { run: run(&added.run_id)?, step: added.step, more: added.more }
        }
        Wire::TestsGranted(granted) => Transition::TestsGranted {
            shard: shard(&granted.shard_id)?,
            token: Token(granted.token),
            tests: granted.tests.iter().copied().map(TestIndex).collect(),
        },
        Wire::TestsReported(reported) => Transition::TestsReported {
            shard: shard(&reported.shard_id)?,
            token: Token(reported.token),
            reports: suite::parse_reports(&reported.reports)?,
        },
        Wire::TestQuarantined(quarantined) => {
            let missing = || FieldError::new("quarantine", "is missing");
            let quarantine = quarantined.quarantine.as_ref().ok_or_else(missing)?;
            Transition::TestQuarantined { quarantined: suite::parse_quarantine(quarantine)? }
        }
    })
}

fn parse_spec(created: &wire::RunCreated) -> Result<RunSpec, FieldError> {
    let spec = created.spec.as_ref().ok_or_else(|| FieldError::new("spec", "is missing"))?;
    let spec = spec::parse_run(spec, &DEFAULTS).map_err(|error| error.within("spec"))?;
    if created.sealed_secret.is_empty() {
        return Ok(spec);
    }
    let fingerprint = created.secret_fingerprint.as_slice().try_into();
    let fingerprint = fingerprint.map_err(|_| FieldError::new("secret_fingerprint", "has not 32 bytes"))?;
    let sealed = created.sealed_secret.as_slice().into();
    Ok(RunSpec { secret: Some(SealedSecret { sealed, fingerprint }), ..spec })
}

fn parse_result(result: Option<&proto::v1::AttemptResult>) -> Result<AttemptResult, FieldError> {
    let result = result.ok_or_else(|| FieldError::new("result", "is missing"))?;
    result::parse_result(result).map_err(|error| error.within("result"))
}

#[cfg(test)]
mod tests;
