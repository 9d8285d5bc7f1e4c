//! The output of one attempt, in a file, until the scheduler has it: a scheduler that is away costs no memory.
//!
//! Bounded: what goes beyond the limit is read and dropped, and the end of the file says so.

use proto::limits;
use runtime::Clock;
use rustix::fs::OFlags;
use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe,
    sync::{Notify, mpsc},
};

/// What one read takes from the pipe: all that a pipe holds.
const CHUNK: usize = 64 * 1024;

const CUT: &[u8] = b"\n[the rest of the output was dropped: it is too long]\n";

/// Most bytes of output that are kept, the note about the rest included.
const KEPT: u64 = limits::MAX_OUTPUT_PER_ATTEMPT;

/// See the module. Written by one task, read by another.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    limit: u64,
    len: AtomicU64,
    /// When output came last, in microseconds of the clock.
    latest: AtomicU64,
    clock: Arc<dyn Clock>,
    grown: Arc<Notify>,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
enum Writer {
    Open,
    /// The note about the rest is written.
    Full,
    Failed(io::Error),
}

impl Spool {
    /// An empty one. Tells `grown` whenever there is more.
    pub(crate) fn create(path: &Path, clock: Arc<dyn Clock>, grown: Arc<Notify>) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let latest = AtomicU64::new(micros(clock.elapsed()));
        Ok(Self {
            file,
            limit: KEPT,
            len: AtomicU64::new(0),
            latest,
            clock,
            grown,
            writer: Mutex::new(Writer::Open),
        })
    }

    /// One that a former process has filled.
    pub(crate) fn open(path: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let file =
            File::options().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
        let len = AtomicU64::new(file.metadata()?.len().min(KEPT));
        let (latest, writer) = (AtomicU64::new(0), Mutex::new(Writer::Full));
        Ok(Self { file, limit: KEPT, len, latest, clock, grown: Arc::default(), writer })
    }

    /// Makes what there is outlast the host. Blocks.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Bytes that can be read.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// When output came last, or the watch over it began, in the time of the clock.
    pub(crate) fn latest(&self) -> Duration {
        Duration::from_micros(self.latest.load(Ordering::Relaxed))
    }

    /// The silence is counted from now.
    pub(crate) fn touch(&self) {
        self.latest.store(micros(self.clock.elapsed()), Ordering::Relaxed);
    }

    /// Why output could not be kept, if so.
    pub(crate) fn failure(&self) -> Option<String> {
        match &*self.writer.lock().unwrap_or_else(PoisonError::into_inner) {
            Writer::Failed(error) => Some(error.to_string()),
            Writer::Open | Writer::Full => None,
        }
    }

    /// A part of what there is. What cannot be read any more, because the disk fails or a command has cut the file, is
    /// replaced by `?`: all that the bot has to say goes along with it.
    pub(crate) fn read(&self, range: Range<u64>) -> Vec<u8> {
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut bytes = vec![b'?'; len];
        let mut filled = 0;
        while filled < len {
            match self.file.read_at(&mut bytes[filled..], range.start + filled as u64) {
                Ok(0) => {
                    self.fail(io::ErrorKind::UnexpectedEof.into());
                    break;
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fail(error);
                    break;
                }
            }
        }
        bytes[filled..].fill(b'?');
        bytes
    }

    fn fail(&self, error: io::Error) {
        tracing::warn!(%error, "output of an attempt is lost");
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Writer::Failed(error);
    }

    /// Takes in all that comes from `pipe`, until its last writer is gone. It is read to the end even when nothing more
    /// can be kept, so that the command is never blocked. `tap` gets a copy of it all, and may hold it up.
    pub(crate) async fn fill(
        self: Arc<Self>,
        mut pipe: pipe::Receiver,
        tap: Option<mpsc::Sender<Vec<u8>>>,
    ) -> io::Result<()> {
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            chunk.clear();
            if pipe.read_buf(&mut chunk).await? == 0 {
                return Ok(());
            }
            self.touch();
            if let Some(tap) = &tap {
                // An error means that nobody wants it any more.
                let _ = tap.send(chunk.clone()).await;
            }
            let spool = Arc::clone(&self);
            let appended = tokio::task::spawn_blocking(move || {
                spool.append(&chunk);
                chunk
            });
            chunk = appended.await.map_err(io::Error::other)?;
            self.grown.notify_one();
        }
    }

    /// Adds to the end; what does not fit is dropped.
    fn append(&self, bytes: &[u8]) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*writer, Writer::Open) {
            return;
        }
        let len = self.len();
        let room = usize::try_from(self.limit - CUT.len() as u64 - len).unwrap_or(usize::MAX);
        let (kept, note) = if bytes.len() <= room { (bytes, &[][..]) } else { (&bytes[..room], CUT) };
        let written = self
            .file
            .write_all_at(kept, len)
            .and_then(|()| self.file.write_all_at(note, len + kept.len() as u64));
        match written {
            Ok(()) => self.len.store(len + (kept.len() + note.len()) as u64, Ordering::Release),
            Err(error) => *writer = Writer::Failed(error),
        }
        if !note.is_empty() && matches!(*writer, Writer::Open) {
            *writer = Writer::Full;
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::SystemClock;
    use std::io::Write as _;

    fn spool(limit: u64) -> Arc<Spool> {
        let dir = tempfile::tempdir().unwrap();
        let mut spool =
            Spool::create(&dir.path().join("output"), SystemClock::shared(), Arc::default()).unwrap();
        spool.limit = limit;
        Arc::new(spool)
    }

    async fn fill(spool: &Arc<Spool>, bytes: Vec<u8>) {
        let (reader, mut writer) = io::pipe().unwrap();
        let write = tokio::task::spawn_blocking(move || writer.write_all(&bytes).unwrap());
        let pipe = pipe::Receiver::from_owned_fd(reader.into()).unwrap();
        Arc::clone(spool).fill(pipe, None).await.unwrap();
        write.await.unwrap();
    }

    #[tokio::test]
    async fn output_is_kept_in_order_and_read_by_range() {
        let spool = spool(KEPT);
        let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        fill(&spool, bytes.clone()).await;
        assert_eq!(spool.len(), bytes.len() as u64);
        assert_eq!(spool.read(0..spool.len()), bytes);
        assert_eq!(spool.read(1001..1005), bytes[1001..1005]);
    }

    #[tokio::test]
    async fn output_that_is_gone_is_replaced_and_told() {
        let spool = spool(KEPT);
        fill(&spool, b"0123456789".to_vec()).await;
        spool.file.set_len(4).unwrap();
        assert_eq!(spool.failure(), None);
        assert_eq!(spool.read(2..10), b"23??????");
        assert!(spool.failure().is_some());
    }

    #[tokio::test]
    async fn too_much_output_is_cut_and_says_so() {
        let spool = spool(1000);
        fill(&spool, vec![b'x'; 500_000]).await;
        fill(&spool, vec![b'y'; 10]).await;
        let kept = spool.read(0..spool.len());
        assert_eq!(kept.len(), 1000);
        assert!(kept.ends_with(CUT) && kept.starts_with(b"xxx") && !kept.contains(&b'y'));
        assert_eq!(spool.failure(), None);
    }
}
