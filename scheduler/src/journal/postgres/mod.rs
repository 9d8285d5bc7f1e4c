//! The journal in PostgreSQL: several schedulers know it, one owns it under a lease (`owner.rs`), the others stand by.
//!
//! One connection serves the writer and those who read output. A group is one statement (`statements.rs`), so it is there
//! as a whole or not at all, and only under the epoch of the owner. Every opening is a new epoch, also that by the same
//! scheduler: what its former connection has left under way is written before the new one reads, or not at all.

mod owner;
mod session;
mod statements;
mod url;

pub(crate) use owner::Candidate;
pub use url::{PostgresUrl, PostgresUrlError};

use super::{AttemptKey, Damage, Group, Journal, JournalError, Place, Take, replay::HOLE};
use bytes::{Bytes, BytesMut};
use owner::{LEASE_SECONDS, Taken};
use proto::Timestamp;
use session::Session;
use statements::{DUE_SECONDS, PAGE_BYTES, PAGE_RECORDS, PART_CHUNKS, Statements};
use std::path::Path;
use tokio_postgres::{Row, types::ToSql};

/// An open journal, owned by this scheduler until somebody takes it over.
#[derive(Debug)]
pub(crate) struct PostgresJournal {
    session: Session,
    statements: Statements,
    place: Place,
    epoch: i64,
    opened: Timestamp,
}

impl PostgresJournal {
    /// Takes the journal over if nobody has it, and makes its tables where there are none.
    pub(crate) fn open(
        url: &PostgresUrl,
        ca_cert: Option<&Path>,
        candidate: &Candidate,
    ) -> Result<Self, JournalError> {
        let place = url.place();
        let mut session = Session::open(url, ca_cert)?;
        let Taken { epoch, at } = owner::take(&mut session, &place, candidate)?;
        let statements = Statements::prepare(&session)?;
        Ok(Self { session, statements, place, epoch, opened: at })
    }

    /// When it was taken over, by the server's clock.
    pub(crate) fn opened(&self) -> Timestamp {
        self.opened
    }

    /// Takes in what a statement under the fence has answered: whether the lease is to be renewed, or nothing when it is
    /// somebody else's.
    fn fenced(&self, due: Option<Row>) -> Result<(), JournalError> {
        let lost = || JournalError::Fenced { place: self.place.clone() };
        let due: bool = self.read(&due.ok_or_else(lost)?, 0)?;
        if due {
            let renewed = self.session.wait(async |client| {
                client.execute(&self.statements.renew, &[&self.epoch, &LEASE_SECONDS]).await
            })?;
            if renewed == 0 {
                return Err(lost());
            }
        }
        Ok(())
    }

    /// Fails when the journal is somebody else's.
    fn confirm(&self) -> Result<(), JournalError> {
        let row = self.session.wait(async |client| {
            client.query_opt(&self.statements.confirm, &[&self.epoch, &DUE_SECONDS]).await
        })?;
        self.fenced(row)
    }

    fn read<'a, T: tokio_postgres::types::FromSql<'a>>(
        &self,
        row: &'a Row,
        column: usize,
    ) -> Result<T, JournalError> {
        row.try_get(column).map_err(|error| JournalError::Store {
            place: self.place.clone(),
            reason: session::chain(&error),
        })
    }

    #[cfg(test)]
    pub(super) fn execute(&self, sql: &str) {
        self.session.wait(async |client| client.batch_execute(sql).await).unwrap();
    }

    #[cfg(test)]
    pub(super) fn put_raw(&self, sequence: u64, value: Option<&[u8]>) {
        let put = "INSERT INTO isoswarm_record VALUES ($1, $2)
            ON CONFLICT (sequence) DO UPDATE SET value = excluded.value";
        let sequence = sequence.cast_signed();
        let written = self.session.wait(async |client| match value {
            Some(value) => client.execute(put, &[&sequence, &value]).await,
            None => client.execute("DELETE FROM isoswarm_record WHERE sequence = $1", &[&sequence]).await,
        });
        written.unwrap();
    }
}

impl Journal for PostgresJournal {
    fn scan(&self, take: &mut Take<'_>) -> Result<(), JournalError> {
        let mut after = i64::MIN;
        loop {
            // A long history takes longer than a lease.
            self.confirm()?;
            let page = self.session.wait(async |client| {
                client.query(&self.statements.page, &[&after, &PAGE_RECORDS, &PAGE_BYTES]).await
            })?;
            if page.is_empty() {
                return Ok(());
            }
            for row in &page {
                after = self.read(row, 0)?;
                let place = self.place.clone();
                let damaged = |damage: Damage| JournalError::Damaged { place, damage };
                take(after.cast_unsigned(), self.read(row, 1)?).map_err(damaged)?;
            }
        }
    }

    fn write(&self, group: &Group<'_>) -> Result<(), JournalError> {
        if group.is_empty() {
            return self.confirm();
        }
        let first = group.first.cast_signed();
        // What comes with the end of its run goes with it.
        let output: Vec<_> =
            group.output.iter().filter(|chunk| !group.deleted.contains(&chunk.attempt.shard.run)).collect();
        let keys: Vec<_> = output.iter().map(|chunk| chunk.attempt.bytes()).collect();
        let attempts: Vec<&[u8]> = keys.iter().map(<[u8; _]>::as_slice).collect();
        let starts: Vec<i64> = output.iter().map(|chunk| chunk.offset.cast_signed()).collect();
        let chunks: Vec<&[u8]> = output.iter().map(|chunk| &*chunk.bytes).collect();
        let append: [&(dyn ToSql + Sync); 7] =
            [&self.epoch, &DUE_SECONDS, &first, &group.records, &attempts, &starts, &chunks];
        let row = if group.holes.is_empty() && group.deleted.is_empty() {
            self.session.wait(async |client| client.query_opt(&self.statements.append, &append).await)?
        } else {
            let holes: Vec<i64> = group.holes.iter().map(|sequence| sequence.cast_signed()).collect();
            let runs = || group.deleted.iter().map(|run| run.as_u64());
            let firsts: Vec<Vec<u8>> = runs().map(|run| run.to_be_bytes().to_vec()).collect();
            let beyond: Vec<Vec<u8>> =
                runs().map(|run| run.saturating_add(1).to_be_bytes().to_vec()).collect();
            let change: [&(dyn ToSql + Sync); 4] = [&HOLE, &holes, &firsts, &beyond];
            let all = [&append[..], &change].concat();
            self.session.wait(async |client| client.query_opt(&self.statements.change, &all).await)?
        };
        self.fenced(row)
    }

    fn output_sizes(&self, attempts: &[AttemptKey]) -> Result<Vec<u64>, JournalError> {
        let attempts: Vec<Vec<u8>> = attempts.iter().map(|attempt| attempt.bytes().to_vec()).collect();
        let rows =
            self.session.wait(async |client| client.query(&self.statements.sizes, &[&attempts]).await)?;
        rows.iter().map(|row| Ok(self.read::<i64>(row, 0)?.cast_unsigned())).collect()
    }

    fn read_output(&self, attempt: &AttemptKey, offset: u64, most: usize) -> Result<Bytes, JournalError> {
        let key = attempt.bytes().to_vec();
        let from = offset.cast_signed();
        // The first chunk may start before the offset.
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = self.session.wait(async |client| {
            client.query(&self.statements.part, &[&key, &from, &PART_CHUNKS, &most]).await
        })?;
        let mut bytes = BytesMut::new();
        for row in &rows {
            let start = self.read::<i64>(row, 0)?.cast_unsigned();
            let skip = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
            bytes.extend_from_slice(self.read::<&[u8]>(row, 1)?.get(skip..).unwrap_or_default());
        }
        Ok(bytes.freeze())
    }

    fn close(&self) {
        let released =
            self.session.wait(async |client| client.execute(&self.statements.release, &[&self.epoch]).await);
        if let Err(error) = released {
            tracing::warn!(%error, "the journal was not given back: others wait for the end of its lease");
        }
    }
}
