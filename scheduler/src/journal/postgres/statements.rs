//! What is asked of the server, prepared once for each connection.
//!
//! Every write is one statement, and so a transaction of its own that the server brings to its end whatever becomes of
//! the scheduler: a scheduler that is stopped in the middle holds no lock.

use super::{
    owner::{LEASE_SECONDS, RENEWED_AFTER_SECONDS},
    session::Session,
};
use crate::journal::JournalError;
use tokio_postgres::Statement;

/// A page of records stops growing at so many, and at so many bytes.
pub(super) const PAGE_RECORDS: i64 = 4096;
pub(super) const PAGE_BYTES: i64 = 4 << 20;

/// A part of an output has at most so many chunks.
pub(super) const PART_CHUNKS: i64 = 1024;

/// $1 is the epoch. Nothing is written where it is not the owner's; it stays the owner's until the end of the statement.
const FENCE: &str = "fence AS MATERIALIZED (
    SELECT expires < clock_timestamp() + make_interval(secs => $2) AS due
    FROM isoswarm_owner WHERE epoch = $1 FOR SHARE)";

const APPENDED: &str = "appended AS (
    INSERT INTO isoswarm_record (sequence, value)
    SELECT $3 + number - 1, value FROM fence, unnest($4::bytea[]) WITH ORDINALITY AS new(value, number))";

const PRINTED: &str = "printed AS (
    INSERT INTO isoswarm_output (attempt, start, bytes)
    SELECT attempt, start, bytes FROM fence, unnest($5::bytea[], $6::bigint[], $7::bytea[]) AS new(attempt, start, bytes))";

const PUNCHED: &str = "punched AS (
    UPDATE isoswarm_record SET value = $8 FROM fence WHERE sequence = ANY($9::bigint[]))";

const DROPPED: &str = "dropped AS (
    DELETE FROM isoswarm_output USING fence, unnest($10::bytea[], $11::bytea[]) AS gone(first, beyond)
    WHERE attempt >= first AND attempt < beyond)";

const RENEW: &str =
    "UPDATE isoswarm_owner SET expires = clock_timestamp() + make_interval(secs => $2) WHERE epoch = $1";

const RELEASE: &str = "UPDATE isoswarm_owner SET expires = '-infinity' WHERE epoch = $1";

const PAGE: &str = "
    SELECT sequence, value FROM (
        SELECT sequence, value, sum(octet_length(value)) OVER (ORDER BY sequence) - octet_length(value) AS before
        FROM isoswarm_record WHERE sequence > $1 ORDER BY sequence LIMIT $2) AS next
    WHERE before < $3 ORDER BY sequence";

const PART: &str = "
    SELECT start, bytes FROM (
        SELECT start, bytes, sum(octet_length(bytes)) OVER (ORDER BY start) - octet_length(bytes) AS before
        FROM isoswarm_output WHERE attempt = $1 AND start >= coalesce(
            (SELECT max(start) FROM isoswarm_output WHERE attempt = $1 AND start <= $2), $2)
        ORDER BY start LIMIT $3) AS next
    WHERE before < $4 ORDER BY start";

const SIZES: &str = "
    SELECT coalesce((
        SELECT start + octet_length(bytes) FROM isoswarm_output AS output
        WHERE output.attempt = asked.attempt ORDER BY start DESC LIMIT 1), 0)
    FROM unnest($1::bytea[]) WITH ORDINALITY AS asked(attempt, number) ORDER BY number";

#[derive(Debug)]
pub(super) struct Statements {
    /// Records and output of a group.
    pub(super) append: Statement,
    /// The same with everything that is rare.
    pub(super) change: Statement,
    pub(super) confirm: Statement,
    pub(super) renew: Statement,
    pub(super) release: Statement,
    pub(super) page: Statement,
    pub(super) part: Statement,
    pub(super) sizes: Statement,
}

impl Statements {
    pub(super) fn prepare(session: &Session) -> Result<Self, JournalError> {
        let append = format!("WITH {FENCE}, {APPENDED}, {PRINTED} SELECT due FROM fence");
        let change =
            format!("WITH {FENCE}, {APPENDED}, {PRINTED}, {PUNCHED}, {DROPPED} SELECT due FROM fence");
        let confirm = "SELECT expires < clock_timestamp() + make_interval(secs => $2) AS due
            FROM isoswarm_owner WHERE epoch = $1";
        session.wait(async |client| {
            Ok(Self {
                append: client.prepare(&append).await?,
                change: client.prepare(&change).await?,
                confirm: client.prepare(confirm).await?,
                renew: client.prepare(RENEW).await?,
                release: client.prepare(RELEASE).await?,
                page: client.prepare(PAGE).await?,
                part: client.prepare(PART).await?,
                sizes: client.prepare(SIZES).await?,
            })
        })
    }
}

/// Less than so much of the lease is left when it is due.
pub(super) const DUE_SECONDS: f64 = LEASE_SECONDS - RENEWED_AFTER_SECONDS;
