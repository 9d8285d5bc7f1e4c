//! How fast blobs go in and out over gRPC.

use super::{
    blobs::{self, BATCH, Large},
    disk,
    drive::{Pace, drive},
    peers::{Clients, Peers, Server},
    table::{Case, Column, Table, Target},
};
use proto::{bytestream::ReadRequest, reapi};
use std::{sync::Arc, time::Duration};

const CONCURRENCIES: [usize; 3] = [1, 8, 64];
const MIB: usize = 1 << 20;

use Column::{Casd, Ceiling, Disk, Ours};
use Target::AtLeast;

const UPDATE: Case = Case {
    name: "BatchUpdate, new 1 KiB blobs, blobs/s",
    targets: &[AtLeast(10.0, &[Casd]), AtLeast(0.5, &[Ceiling])],
};
const BATCH_READ: Case = Case {
    name: "BatchRead, 1 KiB blobs, blobs/s",
    targets: &[AtLeast(1.5, &[Casd]), AtLeast(0.8, &[Ceiling])],
};
const FIND: Case =
    Case { name: "FindMissing, 1000, half there, digests/s", targets: &[AtLeast(3.0, &[Casd])] };
const WRITES: [Case; 2] = [
    Case {
        name: "ByteStream Write, 1 MiB, MB/s",
        targets: &[AtLeast(1.0, &[Casd]), AtLeast(0.7, &[Ceiling, Disk])],
    },
    Case {
        name: "ByteStream Write, 64 MiB, MB/s",
        targets: &[AtLeast(1.0, &[Casd]), AtLeast(0.7, &[Ceiling, Disk])],
    },
];
const READS: [Case; 2] = [
    Case {
        name: "ByteStream Read, 1 MiB, MB/s",
        targets: &[AtLeast(1.3, &[Casd]), AtLeast(0.9, &[Ceiling])],
    },
    Case {
        name: "ByteStream Read, 64 MiB, MB/s",
        targets: &[AtLeast(1.3, &[Casd]), AtLeast(0.9, &[Ceiling])],
    },
];
const SIZES: [usize; 2] = [MIB, 64 * MIB];

/// Who is measured, with what it has got so far.
struct Contestant {
    column: Column,
    server: Server,
}

/// What is measured: small blobs, many in a call, or large ones, each a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blobs {
    Batched,
    Streamed,
}

/// Rates, and what they cost the server, which a busy machine leaves as it is.
#[derive(Default)]
struct Tables {
    rates: Table,
    cpu: Table,
}

impl Tables {
    /// Takes down what `calls` come to, each of them of so many units.
    async fn note(
        &mut self,
        (case, concurrency, units): (Case, usize, f64),
        Contestant { column, server }: &Contestant,
        calls: impl Future<Output = Pace>,
    ) -> Pace {
        let before = server.cpu();
        let pace = calls.await;
        let cpu = (server.cpu() - before).as_secs_f64() * 1e6 / (pace.made as f64 * units);
        self.rates.note(case, concurrency, *column, pace.rate * units);
        self.cpu.note(Case { targets: &[], ..case }, concurrency, *column, cpu);
        pace
    }
}

/// Prints the part of the table on rates.
pub(crate) async fn bench(peers: &Peers, blobs: Blobs) {
    let mut table = Tables::default();
    for round in 0..crate::rounds() {
        // Each round begins with empty stores, so that the disk need not hold all of them.
        let mut contestants = vec![Contestant { column: Ours, server: Server::ours(&[]).await }];
        contestants.extend(peers.casd().await.map(|server| Contestant { column: Casd, server }));
        contestants.push(Contestant { column: Ceiling, server: Server::hollow("ceiling").await });
        for concurrency in CONCURRENCIES {
            match blobs {
                Blobs::Batched => small(&mut table, &contestants, round, concurrency).await,
                Blobs::Streamed => {
                    for which in [0, 1] {
                        large(&mut table, &contestants, round, concurrency, which).await;
                    }
                }
            }
        }
    }
    let rounds = crate::rounds();
    table.rates.print(&format!(
        "{blobs:?} blobs: medians of {rounds}, SHA-256, calls `at` a time over up to 8 connections"
    ));
    table.cpu.print("processor time of the server for the same, in microseconds for each blob, digest or MB");
}

async fn small(table: &mut Tables, contestants: &[Contestant], round: u64, concurrency: usize) {
    let batches = |from: u64, count| {
        let seed = ((round << 8 | concurrency as u64) << 16) + from;
        Arc::new((0..count).map(|number| blobs::batch(seed + number, BATCH, 1024)).collect::<Vec<_>>())
    };
    let (stored, absent) = (batches(0, 300), batches(1000, 5));
    for contestant in contestants {
        let clients = contestant.server.connect(concurrency);
        rustix::fs::sync();
        let calls = update(&clients, concurrency, Arc::clone(&stored));
        let pace = table.note((UPDATE, concurrency, BATCH as f64), contestant, calls).await;
        let made: Vec<_> = stored.iter().take(pace.made).map(blobs::names).collect();

        let half: Vec<_> = made[..5]
            .iter()
            .chain(&absent.iter().map(blobs::names).collect::<Vec<_>>())
            .flatten()
            .cloned()
            .collect();
        let calls = batch_read(&clients, concurrency, made);
        table.note((BATCH_READ, concurrency, BATCH as f64), contestant, calls).await;
        let calls = find(&clients, concurrency, half);
        table.note((FIND, concurrency, 10.0 * BATCH as f64), contestant, calls).await;
    }
}

async fn update(
    clients: &Clients,
    concurrency: usize,
    batches: Arc<Vec<reapi::BatchUpdateBlobsRequest>>,
) -> Pace {
    let clients = clients.clone();
    let count = batches.len();
    drive(concurrency, count, Duration::from_secs(2), move |worker, number| {
        let mut client = clients.cas(worker);
        let request = batches[number].clone();
        async move {
            let answer = client.batch_update_blobs(request).await.unwrap().into_inner();
            let fine = |answer: &reapi::batch_update_blobs_response::Response| {
                answer.status.as_ref().is_none_or(|status| status.code == 0)
            };
            assert!(answer.responses.len() == BATCH && answer.responses.iter().all(fine));
        }
    })
    .await
}

async fn batch_read(clients: &Clients, concurrency: usize, made: Vec<Vec<reapi::Digest>>) -> Pace {
    let clients = clients.clone();
    drive(concurrency, 1000, Duration::from_secs(1), move |worker, number| {
        let mut client = clients.cas(worker);
        let request = blobs::read(made[number % made.len()].clone());
        async move {
            let answer = client.batch_read_blobs(request).await.unwrap().into_inner();
            assert!(answer.responses.iter().filter(|blob| blob.data.len() == 1024).count() == BATCH);
        }
    })
    .await
}

async fn find(clients: &Clients, concurrency: usize, half: Vec<reapi::Digest>) -> Pace {
    let clients = clients.clone();
    drive(concurrency, 1000, Duration::from_secs(1), move |worker, _| {
        let mut client = clients.cas(worker);
        let request = blobs::find(half.clone());
        async move {
            let missing = client.find_missing_blobs(request).await.unwrap().into_inner().missing_blob_digests;
            assert_eq!(missing.len(), 5 * BATCH);
        }
    })
    .await
}

async fn large(table: &mut Tables, contestants: &[Contestant], round: u64, concurrency: usize, which: usize) {
    let size = SIZES[which];
    let count = if size == MIB { 64.max(4 * concurrency) } else { 3.max(concurrency) };
    let all = blobs::large(round << 8 | concurrency as u64, count, size);
    let megabytes = size as f64 / 1e6;
    for contestant in contestants {
        let clients = contestant.server.connect(concurrency);
        rustix::fs::sync();
        let calls = write(&clients, concurrency, Arc::clone(&all));
        let pace = table.note((WRITES[which], concurrency, megabytes), contestant, calls).await;
        let calls = read(&clients, concurrency, Arc::clone(&all), pace.made);
        table.note((READS[which], concurrency, megabytes), contestant, calls).await;
    }
    rustix::fs::sync();
    let rate = disk::rate(size, count, concurrency, Duration::from_secs(2));
    table.rates.note(WRITES[which], concurrency, Disk, rate * megabytes);
}

/// Uploads them all, or as many as begin in two seconds.
pub(crate) async fn write(clients: &Clients, concurrency: usize, all: Arc<Vec<Large>>) -> Pace {
    let clients = clients.clone();
    drive(concurrency, all.len(), Duration::from_secs(2), move |worker, number| {
        let mut client = clients.streams(worker);
        let (size, messages) = (all[number].digest.size(), all[number].upload());
        async move {
            let answer = client.write(messages).await.unwrap().into_inner();
            assert_eq!(answer.committed_size.cast_unsigned(), size);
        }
    })
    .await
}

async fn read(clients: &Clients, concurrency: usize, all: Arc<Vec<Large>>, made: usize) -> Pace {
    let clients = clients.clone();
    drive(concurrency, 4 * all.len(), Duration::from_secs(2), move |worker, number| {
        let mut client = clients.streams(worker);
        let blob = &all[number % made];
        let (size, resource_name) = (blob.digest.size(), blob.name());
        async move {
            let request = ReadRequest { resource_name, ..Default::default() };
            let mut messages = client.read(request).await.unwrap().into_inner();
            let mut len = 0;
            while let Some(message) = messages.message().await.unwrap() {
                len += message.data.len() as u64;
            }
            assert_eq!(len, size);
        }
    })
    .await
}
