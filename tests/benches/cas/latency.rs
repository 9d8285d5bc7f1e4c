//! How long one small call takes when nothing else is going on.

use super::{
    blobs, disk,
    drive::drive,
    peers::{Clients, Peers, Server},
    table::{Case, Column, Table, Target},
};
use proto::bytestream::QueryWriteStatusRequest;
use std::time::Duration;

const CALLS: usize = 500;
const LIMIT: Duration = Duration::from_secs(2);

const fn case(name: &'static str) -> Case {
    Case { name, targets: &[Target::AtMost(2.0, &[Column::Other])] }
}

const FIND: Case = case("FindMissing of 1, p50, ms");
const READ: Case = case("BatchRead of 1 KiB, p50, ms");
const UPDATE: Case = case("BatchUpdate of a new 1 KiB, p50, ms");
const QUERY: Case = case("QueryWriteStatus, p50, ms");

/// Prints the part of the table on latencies.
pub(crate) async fn bench(peers: &Peers) {
    let mut table = Table::default();
    for round in 0..crate::rounds() {
        let mut servers = vec![
            (Column::Ours, Server::ours(&[]).await),
            (Column::Ceiling, Server::hollow("ceiling").await),
            (Column::Other, Server::hollow("echo").await),
        ];
        servers.extend(peers.casd().await.map(|server| (Column::Casd, server)));
        for (column, server) in &servers {
            let clients = server.connect(1);
            let [find, read, update, query] = [
                self::find(&clients).await,
                self::read(&clients, round).await,
                self::update(&clients, round).await,
                self::query(&clients).await,
            ];
            for (case, p50) in [(FIND, find), (READ, read), (UPDATE, update), (QUERY, query)] {
                table.note(case, 1, *column, p50.as_secs_f64() * 1e3);
            }
        }
        // What others wrote is on the disk before its own figure is taken.
        rustix::fs::sync();
        table.note(UPDATE, 1, Column::Disk, disk::append(CALLS).as_secs_f64() * 1e3);
    }
    table.print("one call at a time; the disk's figure is an append of 1 KiB with its sync");
}

async fn find(clients: &Clients) -> Duration {
    let clients = clients.clone();
    let request = blobs::find(blobs::names(&blobs::batch(77, 1, 1024)));
    let pace = drive(1, CALLS, LIMIT, move |worker, _| {
        let (mut client, request) = (clients.cas(worker), request.clone());
        async move { drop(client.find_missing_blobs(request).await.unwrap()) }
    });
    pace.await.p50()
}

async fn update(clients: &Clients, round: u64) -> Duration {
    let clients = clients.clone();
    let batches: Vec<_> =
        (0..CALLS as u64).map(|number| blobs::batch(round << 16 | number, 1, 1024)).collect();
    let pace = drive(1, CALLS, LIMIT, move |worker, number| {
        let (mut client, request) = (clients.cas(worker), batches[number].clone());
        async move { drop(client.batch_update_blobs(request).await.unwrap()) }
    });
    pace.await.p50()
}

async fn read(clients: &Clients, round: u64) -> Duration {
    let batch = blobs::batch((round << 16) + 0x8000, 1, 1024);
    let request = blobs::read(blobs::names(&batch));
    clients.cas(0).batch_update_blobs(batch).await.unwrap();
    let clients = clients.clone();
    let pace = drive(1, CALLS, LIMIT, move |worker, _| {
        let (mut client, request) = (clients.cas(worker), request.clone());
        async move {
            let answer = client.batch_read_blobs(request).await.unwrap().into_inner();
            assert_eq!(answer.responses[0].data.len(), 1024);
        }
    });
    pace.await.p50()
}

async fn query(clients: &Clients) -> Duration {
    let clients = clients.clone();
    let name = format!("uploads/00000000-0000-4000-8000-000000000000/{}", blobs::large(5, 1, 4096)[0].name());
    let pace = drive(1, CALLS, LIMIT, move |worker, _| {
        let (mut client, resource_name) = (clients.streams(worker), name.clone());
        async move {
            let request = QueryWriteStatusRequest { resource_name };
            // A peer may say that it knows nothing of it.
            drop(client.query_write_status(request).await);
        }
    });
    pace.await.p50()
}
