//! What many blobs cost: the time to start, and memory; and what many large uploads cost.

use super::{
    blobs,
    drive::drive,
    peers::{Server, temporary},
    speed,
    table::{median, verdict},
};
use runtime::{Clock as _, SystemClock};
use std::time::Duration;
use tempfile::TempDir;

/// Bytes of a blob, and blobs in a batch.
const SIZE: usize = 64;
const BATCH: usize = 2000;

const MOST_MEMORY: u64 = 512 << 20;
const FOREVER: Duration = Duration::from_secs(3600);

/// Prints the part of the table on size.
pub(crate) async fn bench() {
    let blobs = std::env::var("BLOBS").map_or(5_000_000, |blobs| blobs.parse().unwrap());
    let batches = (blobs / BATCH).max(1);
    println!("\nsize: {} blobs of {SIZE} bytes", batches * BATCH);
    let (dir, empty) = start(temporary()).await;
    drop(dir);

    let server = Server::ours(&[]).await;
    let clients = server.connect(8);
    let clock = SystemClock::new();
    let start_of_fill = clock.elapsed();
    drive(16, batches, FOREVER, move |worker, number| {
        let mut client = clients.cas(worker);
        async move {
            client.batch_update_blobs(blobs::batch(number as u64, BATCH, SIZE)).await.unwrap();
        }
    })
    .await;
    let took = (clock.elapsed() - start_of_fill).as_secs_f64();
    println!("{:<58}{:>9.0} blobs/s", "filled, durably, with", (batches * BATCH) as f64 / took);
    let filled = server.memory("VmHWM");

    let (dir, full) = start(server.stop().await).await;
    println!("{:<58}{empty:>9.1} ms", "start to first answer with none");
    let ratio = full / empty;
    let text = format!("{full:>9.1} ms  {ratio:.2} x none (3) {}", verdict(ratio < 3.0));
    println!("{:<58}{text}", "start to first answer with all");

    let server = Server::ours_in(dir, &[]).await;
    look_around(&server, batches).await;
    let (looked, before) = (server.memory("VmHWM"), server.memory("VmRSS"));
    memory("memory at most while filling", filled);
    memory("memory at most while asked for and read at random", looked);
    let all = blobs::large(99, 64, 128 << 20);
    speed::write(&server.connect(64), 64, all).await;
    let uploaded = server.memory("VmHWM");
    memory("memory at most under 64 uploads of 128 MiB at a time", uploaded);
    println!("{:<58}{:>9} MiB", "  before them", before >> 20);
    drop(server.stop().await);
}

fn memory(what: &str, bytes: u64) {
    println!("{what:<58}{:>9} MiB (512) {}", bytes >> 20, verdict(bytes < MOST_MEMORY));
}

/// Milliseconds from the start of the process to the answer about one blob: the median of several.
async fn start(mut dir: TempDir) -> (TempDir, f64) {
    let mut all = Vec::new();
    for _ in 0..crate::rounds() {
        let server = Server::ours_in(dir, &[]).await;
        let clock = SystemClock::new();
        let connected = clock.elapsed();
        let request = blobs::find(blobs::names(&blobs::batch(0, 1, SIZE)));
        server.connect(1).cas(0).find_missing_blobs(request).await.unwrap();
        all.push((server.started_in + clock.elapsed() - connected).as_secs_f64() * 1e3);
        dir = server.stop().await;
    }
    (dir, median(all))
}

/// Asks for blobs all over the store, and reads some.
async fn look_around(server: &Server, batches: usize) {
    let clients = server.connect(8);
    drive(8, batches.min(500), FOREVER, move |worker, number| {
        let mut client = clients.cas(worker);
        // A prime that is larger than the number of batches leads everywhere.
        let names = blobs::names(&blobs::batch((number * 7_368_787 % batches) as u64, BATCH, SIZE));
        async move {
            if number % 2 == 0 {
                let answer = client.find_missing_blobs(blobs::find(names)).await.unwrap();
                assert!(answer.into_inner().missing_blob_digests.is_empty());
            } else {
                let answer = client.batch_read_blobs(blobs::read(names)).await.unwrap().into_inner();
                assert!(answer.responses.iter().all(|blob| blob.data.len() == SIZE));
            }
        }
    })
    .await;
}
