//! Who writes: a lease with an epoch, and the version of the tables.
//!
//! The lease is one row; the server's clock is the only one that counts. Whoever takes the journal over gives the row the
//! next epoch. Every write is one statement that locks the row under its own epoch, so a former owner, however long it
//! was paused, writes nothing any more, and whoever takes over waits for a write that is under way.

use super::session::Session;
use crate::journal::{JournalError, Place};
use proto::Timestamp;
use tokio_postgres::{Error, Transaction, types::ToSql};

/// An owner that is silent for so long has lost the journal to whoever asks, in seconds.
pub(super) const LEASE_SECONDS: f64 = 4.0;

/// The lease is renewed when so much of it has passed, in seconds.
pub(super) const RENEWED_AFTER_SECONDS: f64 = 1.0;

/// Schedulers that open one journal go one after the other. Any number that others do not use.
const TURN: i64 = 0x0069_736f_7377_6172;

/// What leads from each version of the tables to the next. Never changed, only added to. `isoswarm_owner` keeps its
/// columns for ever: a scheduler of any version looks there first.
const MIGRATIONS: &[&str] = &[include_str!("1.sql")];

/// A former owner may have been stopped while its last statement was on its way, all but the word that ends it; then the
/// server still waits for that and keeps the row locked.
const END_FORMER_SESSION: &str = "
    SELECT pg_terminate_backend(activity.pid) FROM isoswarm_owner JOIN pg_stat_activity AS activity
    ON activity.pid = session AND activity.backend_start = session_start
    WHERE activity.pid <> pg_backend_pid() AND (holder = $1 OR expires <= clock_timestamp())";

const TAKE: &str = "
    UPDATE isoswarm_owner SET epoch = epoch + 1, holder = $1, address = $2,
        expires = clock_timestamp() + make_interval(secs => $3), session = pg_backend_pid(),
        session_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
    WHERE holder = $1 OR expires <= clock_timestamp()
    RETURNING epoch, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// A scheduler that wants the journal.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Unlike that of any other process.
    pub(crate) holder: String,
    /// Where clients and bots reach it.
    pub(crate) address: String,
}

/// What an owner has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// To write under.
    pub(super) epoch: i64,
    /// By the server's clock.
    pub(super) at: Timestamp,
}

/// What becomes of a candidate.
enum Outcome {
    Owner(Taken),
    Standby {
        owner: String,
    },
    /// The tables are of a later version.
    Outdated {
        version: i32,
    },
}

/// Takes the journal if nobody has it, and brings the tables up to date. A journal that is somebody else's is not touched.
pub(super) fn take(
    session: &mut Session,
    place: &Place,
    candidate: &Candidate,
) -> Result<Taken, JournalError> {
    let outcome = session.wait_mut(async |client| {
        let transaction = client.transaction().await?;
        let outcome = ask(&transaction, candidate).await?;
        if let Outcome::Owner(_) = outcome {
            transaction.commit().await?;
        }
        Ok(outcome)
    })?;
    let place = place.clone();
    match outcome {
        Outcome::Owner(taken) => Ok(taken),
        Outcome::Standby { owner } => Err(JournalError::Standby { place, owner }),
        Outcome::Outdated { version } => {
            Err(JournalError::Outdated { place, found: version, known: MIGRATIONS.len() })
        }
    }
}

async fn ask(transaction: &Transaction<'_>, candidate: &Candidate) -> Result<Outcome, Error> {
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&TURN]).await?;
    let there = transaction.query_one("SELECT to_regclass('isoswarm_schema') IS NOT NULL", &[]).await?;
    let version: i32 = match there.try_get(0)? {
        true => transaction.query_one("SELECT version FROM isoswarm_schema", &[]).await?.try_get(0)?,
        false => 0,
    };
    let Some(missing) = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..)) else {
        return Ok(Outcome::Outdated { version });
    };
    if version > 0
        && let Some(owner) = other_owner(transaction, candidate).await?
    {
        return Ok(Outcome::Standby { owner });
    }
    if version == 0 {
        let create =
            "CREATE TABLE isoswarm_schema (version integer NOT NULL); INSERT INTO isoswarm_schema VALUES (0)";
        transaction.batch_execute(create).await?;
    }
    for migration in missing {
        transaction.batch_execute(migration).await?;
        transaction.execute("UPDATE isoswarm_schema SET version = version + 1", &[]).await?;
    }
    transaction.execute(END_FORMER_SESSION, &[&candidate.holder]).await?;
    let candidacy: [&(dyn ToSql + Sync); 3] = [&candidate.holder, &candidate.address, &LEASE_SECONDS];
    match transaction.query_opt(TAKE, &candidacy).await? {
        Some(row) => {
            let at = Timestamp::from_micros(row.try_get::<_, i64>(1)?.cast_unsigned());
            Ok(Outcome::Owner(Taken { epoch: row.try_get(0)?, at }))
        }
        // It has renewed its lease in the last moment.
        None => {
            let owner = other_owner(transaction, candidate).await?.unwrap_or_default();
            Ok(Outcome::Standby { owner })
        }
    }
}

/// The address of another scheduler whose lease is alive. Locks nothing: a candidate that is paused here is in nobody's
/// way.
async fn other_owner(transaction: &Transaction<'_>, candidate: &Candidate) -> Result<Option<String>, Error> {
    let owner = "SELECT address FROM isoswarm_owner WHERE holder <> $1 AND expires > clock_timestamp()";
    transaction.query_opt(owner, &[&candidate.holder]).await?.map(|row| row.try_get(0)).transpose()
}
