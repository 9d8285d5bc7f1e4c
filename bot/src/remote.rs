//! The scheduler on the wire. The only place of the bot that knows its messages.

use crate::attempt::{Assignment, AttemptResult, Ending, Lease, Refused, Timeouts};
use bytes::Bytes;
use proto::{
    BotId, CacheName, Digest, Dimensions, EnvironmentPrefix, NamedCache, RelPath, Secret, SessionId, limits,
    v1,
};
use std::time::Duration;
use tonic::transport::Channel;

/// Used when the scheduler names no hard timeout.
const DEFAULT_HARD: Duration = Duration::from_secs(60 * 60);

/// Used when the scheduler names no grace period.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// Used when the scheduler does not say when to call again.
const DEFAULT_CALL_AGAIN: Duration = Duration::from_secs(5);

/// Who is calling.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) bot: BotId,
    pub(crate) session: SessionId,
    pub(crate) dimensions: Dimensions,
    pub(crate) slots: u32,
}

/// The whole state of the bot, as it goes out.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) accepting: Accepting,
    pub(crate) held: Vec<HeldAttempt>,
    /// Leases that are given back unfinished, because the bot has to stop.
    pub(crate) returned: Vec<Lease>,
    /// Named caches that the next attempt may have, the one that was used last first.
    pub(crate) caches: Vec<CacheName>,
    pub(crate) wait: Duration,
}

/// Whether the bot takes new attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepting {
    Work,
    /// It finishes what it has.
    Nothing,
}

/// One attempt that the bot holds.
#[derive(Clone, Debug)]
pub(crate) struct HeldAttempt {
    pub(crate) lease: Lease,
    pub(crate) output_offset: u64,
    pub(crate) output: Bytes,
    pub(crate) result: Option<AttemptResult>,
}

/// What the scheduler wants.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) desired: Vec<Desired>,
    pub(crate) call_again: Duration,
    /// The bot is to end when it has finished what it has.
    pub(crate) terminate: bool,
}

/// One attempt that the bot should hold.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) lease: Lease,
    pub(crate) assignment: Result<Assignment, Refused>,
    pub(crate) wish: Wish,
    /// Bytes of output that the scheduler has made durable.
    pub(crate) output_received: u64,
}

/// What is to become of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Run,
    Kill,
}

/// The scheduler behind a channel.
#[derive(Clone, Debug)]
pub(crate) struct Scheduler {
    client: v1::bots_client::BotsClient<Channel>,
    identity: Identity,
}

impl Scheduler {
    pub(crate) fn new(channel: Channel, identity: Identity) -> Self {
        let client = v1::bots_client::BotsClient::new(channel)
            .max_decoding_message_size(limits::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(limits::MAX_MESSAGE_BYTES);
        Self { client, identity }
    }

    /// The same bot in another session.
    pub(crate) fn in_session(&self, session: SessionId) -> Self {
        Self { client: self.client.clone(), identity: Identity { session, ..self.identity.clone() } }
    }

    /// One call of `Synchronize`. The caller bounds its time.
    pub(crate) async fn synchronize(&self, statement: Statement) -> Result<Answer, tonic::Status> {
        let request = request(&self.identity, statement);
        let response = self.client.clone().synchronize(request).await?;
        Ok(answer(response.into_inner()))
    }
}

fn request(identity: &Identity, statement: Statement) -> v1::SynchronizeRequest {
    let mut dimensions = identity.dimensions.clone();
    for cache in &statement.caches {
        // As many as a dimension may have; what the bot was told to say stays.
        let _ = dimensions.insert("caches", cache.as_str());
    }
    v1::SynchronizeRequest {
        bot_id: identity.bot.to_string(),
        session_id: identity.session.to_string(),
        version: runtime::VERSION.to_owned(),
        dimensions: (&dimensions).into(),
        slots: identity.slots,
        draining: statement.accepting == Accepting::Nothing,
        held: statement.held.into_iter().map(held).collect(),
        returned: statement.returned.into_iter().map(lease_to_wire).collect(),
        wait: duration(statement.wait),
    }
}

fn held(held: HeldAttempt) -> v1::HeldAttempt {
    v1::HeldAttempt {
        lease: Some(lease_to_wire(held.lease)),
        output_offset: held.output_offset,
        output: held.output,
        result: held.result.map(result),
    }
}

fn lease_to_wire(lease: Lease) -> v1::LeaseRef {
    v1::LeaseRef { shard_id: lease.shard.to_string(), attempt: lease.attempt, token: lease.token }
}

fn result(result: AttemptResult) -> v1::AttemptResult {
    let state = match result.ending {
        Ending::Completed => v1::ShardState::Completed,
        Ending::TimedOut => v1::ShardState::TimedOut,
        Ending::Killed => v1::ShardState::Killed,
        Ending::ClientError => v1::ShardState::ClientError,
        Ending::InternalError => v1::ShardState::InternalError,
    };
    let stats = result.stats;
    v1::AttemptResult {
        state: state.into(),
        exit_code: result.exit.map(|exit| exit.code()),
        signal: result.exit.and_then(|exit| exit.signal()),
        message: result.message,
        outputs: result.outputs.map(Into::into),
        out_of_memory: result.out_of_memory,
        stats: Some(v1::AttemptStats {
            fetch: duration(stats.fetch),
            run: duration(stats.run),
            upload: duration(stats.upload),
            cold_items: stats.cold_items,
            cold_bytes: stats.cold_bytes,
            hot_items: stats.hot_items,
            hot_bytes: stats.hot_bytes,
            uploaded_bytes: stats.uploaded_bytes,
        }),
    }
}

fn answer(response: v1::SynchronizeResponse) -> Answer {
    let call_again = response.call_again.and_then(positive).unwrap_or(DEFAULT_CALL_AGAIN);
    let known = |wire: v1::DesiredAttempt| {
        let lease = wire.lease.as_ref().and_then(lease);
        if lease.is_none() {
            tracing::warn!(lease = ?wire.lease, "an attempt with a lease that makes no sense is ignored");
        }
        Some(Desired {
            lease: lease?,
            assignment: assignment(wire.assignment.unwrap_or_default()),
            wish: if wire.kill { Wish::Kill } else { Wish::Run },
            output_received: wire.output_received,
        })
    };
    let terminate = response.terminate;
    Answer { desired: response.desired.into_iter().filter_map(known).collect(), call_again, terminate }
}

fn lease(wire: &v1::LeaseRef) -> Option<Lease> {
    Some(Lease { shard: wire.shard_id.parse().ok()?, attempt: wire.attempt, token: wire.token })
}

/// An assignment that makes sense.
pub(crate) fn assignment(wire: v1::Assignment) -> Result<Assignment, Refused> {
    let refuse = |reason: String| Refused { reason };
    let input = wire.input.as_ref().ok_or_else(|| refuse("it names no input".into()))?;
    let input = Digest::try_from(input).map_err(|error| refuse(error.to_string()))?;
    if wire.command.iter().chain(&wire.extra_args).any(|argument| argument.contains('\0')) {
        return Err(refuse("an argument of the command contains a NUL".into()));
    }
    let variable = |variable: v1::EnvironmentVariable| {
        let v1::EnvironmentVariable { name, value } = variable;
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(refuse(format!("`{}` cannot be an environment variable", name.escape_debug())));
        }
        Ok((name, value))
    };
    let outputs =
        wire.outputs.iter().map(|path| RelPath::new(path).map_err(|error| refuse(error.to_string())));
    let timeouts = wire.timeouts.unwrap_or_default();
    Ok(Assignment {
        input,
        environment: wire.environment.into_iter().map(variable).collect::<Result<_, _>>()?,
        environment_prefixes: EnvironmentPrefix::from_wire(&wire.environment_prefixes)
            .map_err(|error| refuse(error.to_string()))?,
        outputs: outputs.collect::<Result<_, _>>()?,
        named_caches: NamedCache::from_wire(&wire.named_caches).map_err(|error| refuse(error.to_string()))?,
        secret: match &wire.secret {
            None => None,
            Some(secret) => Some(Secret::try_from(secret).map_err(|error| refuse(error.to_string()))?),
        },
        command: wire.command,
        extra_args: wire.extra_args,
        timeouts: Timeouts {
            hard: timeouts.hard.and_then(positive).unwrap_or(DEFAULT_HARD),
            io: timeouts.io.and_then(positive),
            grace: timeouts.grace.map_or(DEFAULT_GRACE, |grace| positive(grace).unwrap_or_default()),
        },
    })
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    // Fails beyond what 64 bits of seconds hold.
    prost_types::Duration::try_from(duration).ok()
}

fn positive(wire: prost_types::Duration) -> Option<Duration> {
    Duration::try_from(wire).ok().filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::DigestFunction;

    fn wire() -> v1::Assignment {
        v1::Assignment {
            input: Some(DigestFunction::Blake3.digest(b"x").into()),
            command: vec!["./test".into()],
            environment: vec![v1::EnvironmentVariable { name: "A".into(), value: "=b".into() }],
            outputs: vec!["out/report.xml".into()],
            ..Default::default()
        }
    }

    #[test]
    fn an_assignment_is_complete_or_refused_with_a_reason() {
        let parsed = assignment(wire()).unwrap();
        assert_eq!(parsed.environment, [("A".to_owned(), "=b".to_owned())]);
        assert_eq!(parsed.timeouts, Timeouts { hard: DEFAULT_HARD, io: None, grace: DEFAULT_GRACE });
        let spoil = |spoil: fn(&mut v1::Assignment)| {
            let mut wire = wire();
            spoil(&mut wire);
            assignment(wire).unwrap_err().to_string()
        };
        assert!(spoil(|wire| wire.input = None).contains("no input"));
        assert!(spoil(|wire| wire.input.as_mut().unwrap().hash.truncate(3)).contains("hex digits"));
        assert!(spoil(|wire| wire.outputs.push("../../etc/shadow".into())).contains("`..`"));
        assert!(spoil(|wire| wire.extra_args.push("\0".into())).contains("NUL"));
        assert!(spoil(|wire| wire.named_caches.push(v1::NamedCache::default())).contains("name of a cache"));
        assert!(spoil(|wire| wire.environment[0].name = "A=B".into()).contains("A=B"));
    }

    #[test]
    fn an_answer_without_sense_is_an_answer_without_work() {
        let lease = v1::LeaseRef { shard_id: "no shard".into(), attempt: 1, token: 1 };
        let desired = vec![
            v1::DesiredAttempt::default(),
            v1::DesiredAttempt { lease: Some(lease), ..Default::default() },
        ];
        let negative = prost_types::Duration { seconds: -1, nanos: 0 };
        let parsed =
            answer(v1::SynchronizeResponse { desired, call_again: Some(negative), terminate: false });
        assert!(parsed.desired.is_empty());
        assert_eq!(parsed.call_again, DEFAULT_CALL_AGAIN);
    }
}
