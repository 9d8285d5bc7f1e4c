//! What is kept of an attempt on the disk, `DATA/work/N/attempt`: who has it, and its result once there is one. The next
//! process of the bot tells the scheduler what this one could not.
//!
//! JSON, version 1; a file that cannot be read, or of another version, is no record. It is replaced by rename and synced
//! only when the bot ends: after a crash of the host, which the boot id shows, no unsynced record is believed.

use crate::{
    attempt::{AttemptResult, CommandExit, Ending, Lease, Stats},
    files,
};
use proto::{BotId, SessionId};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::Duration,
};
use tempfile::NamedTempFile;

const VERSION: u32 = 1;

/// Largest record. Messages are cut long before.
const MOST: u64 = 1024 * 1024;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) bot: BotId,
    pub(crate) session: SessionId,
    pub(crate) lease: Lease,
    pub(crate) result: Option<AttemptResult>,
}

/// How lasting a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Until the host goes down.
    Process,
    /// Beyond that.
    Synced,
}

impl Record {
    /// Writes it. Blocks.
    pub(crate) fn write(&self, path: &Path, durability: Durability) -> io::Result<()> {
        let boot = if durability == Durability::Process { boot()? } else { String::new() };
        let dir = path.parent().unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(dir)?;
        file.write_all(&serde_json::to_vec(&Saved::of(self, boot))?)?;
        if durability == Durability::Synced {
            file.as_file().sync_all()?;
        }
        file.persist(path)?;
        if durability == Durability::Synced { File::open(dir)?.sync_all() } else { Ok(()) }
    }

    /// Reads one, if there is one to be believed. Blocks.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        // A command may have put something else there, which is not to be waited for.
        let bytes = files::read(path, MOST).ok()??;
        let saved: Saved = serde_json::from_slice(&bytes).ok()?;
        let believed = saved.boot.is_empty() || boot().is_ok_and(|boot| boot == saved.boot);
        if saved.version == VERSION && believed { saved.record() } else { None }
    }
}

/// Differs from one start of the host to the next.
fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// As it is on the disk.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    version: u32,
    /// Empty when it is synced.
    boot: String,
    bot: String,
    session: String,
    shard: String,
    attempt: u32,
    token: u64,
    result: Option<SavedResult>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedResult {
    ending: Ending,
    exit: Option<CommandExit>,
    message: String,
    outputs: Option<String>,
    out_of_memory: bool,
    /// Fetch, run and upload.
    micros: [u64; 3],
    /// Cold items and bytes, hot items and bytes, uploaded bytes.
    amounts: [u64; 5],
}

impl Saved {
    fn of(record: &Record, boot: String) -> Self {
        let Record { bot, session, lease, result } = record;
        Self {
            version: VERSION,
            boot,
            bot: bot.to_string(),
            session: session.to_string(),
            shard: lease.shard.to_string(),
            attempt: lease.attempt,
            token: lease.token,
            result: result.as_ref().map(SavedResult::of),
        }
    }

    fn record(self) -> Option<Record> {
        Some(Record {
            bot: self.bot.parse().ok()?,
            session: self.session.parse().ok()?,
            lease: Lease { shard: self.shard.parse().ok()?, attempt: self.attempt, token: self.token },
            result: match self.result {
                Some(result) => Some(result.result()?),
                None => None,
            },
        })
    }
}

impl SavedResult {
    fn of(result: &AttemptResult) -> Self {
        let AttemptResult { ending, exit, message, outputs, stats, out_of_memory } = result;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            ending: *ending,
            exit: *exit,
            message: message.clone(),
            outputs: outputs.map(|digest| digest.to_string()),
            out_of_memory: *out_of_memory,
            micros: [stats.fetch, stats.run, stats.upload].map(micros),
            amounts: [
                stats.cold_items,
                stats.cold_bytes,
                stats.hot_items,
                stats.hot_bytes,
                stats.uploaded_bytes,
            ],
        }
    }

    fn result(self) -> Option<AttemptResult> {
        let [fetch, run, upload] = self.micros.map(Duration::from_micros);
        let [cold_items, cold_bytes, hot_items, hot_bytes, uploaded_bytes] = self.amounts;
        let outputs = self.outputs.map(|digest| digest.parse()).transpose().ok()?;
        Some(AttemptResult {
            ending: self.ending,
            exit: self.exit,
            message: self.message,
            outputs,
            stats: Stats { fetch, run, upload, cold_items, cold_bytes, hot_items, hot_bytes, uploaded_bytes },
            out_of_memory: self.out_of_memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{DigestFunction, RunId, ShardId, Timestamp};

    fn record() -> Record {
        let shard = ShardId { run: RunId::new(Timestamp::from_micros(1), 1), step: 2, index: 3 };
        let result = AttemptResult {
            ending: Ending::TimedOut,
            exit: Some(CommandExit::Signal(15)),
            message: "too \"slow\"\n".into(),
            outputs: Some(DigestFunction::Blake3.digest(b"x")),
            stats: Stats { run: Duration::from_micros(1_500_001), hot_bytes: u64::MAX, ..Stats::default() },
            out_of_memory: true,
        };
        let lease = Lease { shard, attempt: 4, token: u64::MAX };
        let (bot, session) = ("b".parse().unwrap(), "s".parse().unwrap());
        Record { bot, session, lease, result: Some(result) }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("attempt");
        for durability in [Durability::Process, Durability::Synced] {
            for record in [Record { result: None, ..record() }, record()] {
                record.write(&path, durability).unwrap();
                assert_eq!(Record::read(&path), Some(record));
            }
        }
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }

    #[test]
    fn what_is_damaged_foreign_or_of_another_start_of_the_host_is_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("attempt");
        assert_eq!(Record::read(&path), None);
        let saved = |boot: &str| Saved::of(&record(), boot.into());
        let text = |saved: Saved| serde_json::to_string(&saved).unwrap();
        let whole = text(saved(&boot().unwrap()));
        for wrong in [
            String::new(),
            whole[..whole.len() / 2].to_owned(),
            text(saved("another")),
            text(Saved { version: 2, ..saved("") }),
            text(Saved { shard: "x".into(), ..saved("") }),
            whole.replace("blake3:", "blake9:"),
        ] {
            fs::write(&path, &wrong).unwrap();
            assert_eq!(Record::read(&path), None, "{wrong}");
        }
        fs::write(&path, whole).unwrap();
        assert_eq!(Record::read(&path), Some(record()));
    }

    #[test]
    fn records_of_version_1_stay_readable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("attempt");
        let text = r#"{"version":1,"boot":"","bot":"b","session":"s","shard":"SHARD","attempt":4,
            "token":18446744073709551615,"result":{"ending":"timed-out","exit":{"signal":15},
            "message":"too \"slow\"\n","outputs":"OUTPUTS","out_of_memory":true,
            "micros":[0,1500001,0],"amounts":[0,0,0,18446744073709551615,0]}}"#;
        let expected = record();
        let outputs = expected.result.as_ref().unwrap().outputs.unwrap().to_string();
        let text = text.replace("SHARD", &expected.lease.shard.to_string()).replace("OUTPUTS", &outputs);
        fs::write(&path, text).unwrap();
        assert_eq!(Record::read(&path), Some(expected));
    }
}
