//! A file system without space, for real: a small tmpfs. Needs the right to mount.

use super::*;
use std::{fs, io::Write as _, path::PathBuf, process::Command};
use tokio::sync::mpsc;

/// A mounted tmpfs, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(mib: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        assert!(mount.unwrap().success(), "this test mounts a tmpfs: run it as root");
        Self(dir)
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut filler = fs::File::create(self.0.path().join("filler")).unwrap();
        for piece in [vec![0; 1 << 20], vec![0; 4096]] {
            while filler.write_all(&piece).is_ok() {}
        }
    }

    fn relieve(&self) {
        fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// An upload whose bytes come when they are handed over.
fn upload(
    engine: &Arc<Engine>,
    bytes: &Bytes,
) -> (mpsc::Sender<Bytes>, tokio::task::JoinHandle<cas::Result<()>>) {
    let digest = DigestFunction::Blake3.digest(bytes);
    let (sender, receiver) = mpsc::channel(1);
    let source = tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok).boxed();
    let engine = Arc::clone(engine);
    #[expect(clippy::disallowed_methods, reason = "awaited by the test")]
    let done = tokio::spawn(async move { engine.write(digest, source).await });
    (sender, done)
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_refused_while_the_disk_is_full_and_work_again_when_it_is_not() {
    let disk = SmallDisk::new(96);
    let options = EngineOptions { min_free: 8 * MIB, patience: Duration::from_secs(1), ..options() };
    let engine = Arc::new(Engine::open(&disk.data(), options, Arc::new(clock())).unwrap());
    let kept = blob(1, 50_000);
    let digest = put(&engine, &kept).await;

    // Refused before a byte is written.
    disk.fill();
    for bytes in [blob(2, 1000), blob(3, 1_000_000)] {
        let refused = put_stream(&engine, &bytes).await.unwrap_err();
        assert!(matches!(refused, Error::Exhausted { .. }), "{refused}");
    }
    assert_eq!(engine.get(digest).await.unwrap(), kept);
    disk.relieve();
    let small = put_stream(&engine, &blob(2, 1000)).await.unwrap();

    // The disk fills up under uploads that were let in.
    let (packed, large) = (blob(4, 60_000), blob(5, 4_000_000));
    let (packed_bytes, packed_done) = upload(&engine, &packed);
    let (large_bytes, large_done) = upload(&engine, &large);
    large_bytes.send(large.slice(..2_000_000)).await.unwrap();
    large_bytes.send(Bytes::new()).await.unwrap();
    packed_bytes.send(packed.slice(..30_000)).await.unwrap();
    packed_bytes.send(Bytes::new()).await.unwrap();
    disk.fill();
    let _ = packed_bytes.send(packed.slice(30_000..)).await;
    let _ = large_bytes.send(large.slice(2_000_000..)).await;
    drop((packed_bytes, large_bytes));
    for done in [packed_done, large_done] {
        let refused = done.await.unwrap().unwrap_err();
        assert!(matches!(refused, Error::Exhausted { .. }), "{refused}");
    }

    // Nothing is damaged, and everything works again.
    assert_eq!(engine.get(digest).await.unwrap(), kept);
    assert_eq!(engine.get(small).await.unwrap(), blob(2, 1000));
    disk.relieve();
    for bytes in [&packed, &large] {
        let digest = put_stream(&engine, bytes).await.unwrap();
        assert_eq!(engine.get(digest).await.unwrap(), bytes);
    }
    let Some(engine) = Arc::into_inner(engine) else { panic!("nobody else has it") };
    engine.close().await;
    let engine = open(&disk.data());
    assert_eq!(engine.get(digest).await.unwrap(), kept);
    assert_eq!(engine.get(DigestFunction::Sha256.digest(&large)).await.unwrap(), large);
    engine.close().await;
}
