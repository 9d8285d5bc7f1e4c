//! What the bot says: its whole state.

use super::{Accepting, HeldAttempt, Identity, Statement, Word, duration, suite};
use crate::attempt::{AttemptResult, Ending, Lease};
use proto::v1;

pub(super) fn request(identity: &Identity, statement: Statement) -> v1::SynchronizeRequest {
    let Word { mut dimensions, quarantined, maintenance, notice, state } = statement.word;
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
        quarantined,
        maintenance,
        notice,
        state,
        platform: platform(),
    }
}

/// `linux-x86_64`, as `uname` says it.
fn platform() -> String {
    let uname = rustix::system::uname();
    format!("{}-{}", uname.sysname().to_string_lossy().to_lowercase(), uname.machine().to_string_lossy())
}

fn held(held: HeldAttempt) -> v1::HeldAttempt {
    v1::HeldAttempt {
        lease: Some(lease_to_wire(held.lease)),
        output_offset: held.output_offset,
        output: held.output,
        result: held.result.map(result),
        tests: held.tests.map(suite::progress),
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
