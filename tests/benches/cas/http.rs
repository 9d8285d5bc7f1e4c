//! Blobs over plain HTTP/1.1 with kept connections, beside nginx with the same files.

use super::{
    blobs,
    drive::{Pace, drive},
    peers::{Peers, Server, temporary},
    table::{Case, Column, Table, Target},
};
use std::{fs, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
};

const BLOBS: usize = 64;

const TARGETS: &[Target] = &[Target::AtLeast(0.5, &[Column::Other])];
const CASES: [(Case, usize); 2] = [
    (Case { name: "HTTP GET, 1 KiB, requests/s", targets: TARGETS }, 1 << 10),
    (Case { name: "HTTP GET, 1 MiB, requests/s", targets: TARGETS }, 1 << 20),
];

/// Prints the part of the table on HTTP.
pub(crate) async fn bench(peers: &Peers) {
    let dir = temporary();
    fs::create_dir(dir.path().join("cas")).unwrap();
    let ours = Server::ours(&[]).await;
    let mut paths = Vec::new();
    for (_, size) in CASES {
        let all = blobs::large(size as u64, BLOBS, size);
        for blob in all.iter() {
            fs::write(dir.path().join("cas").join(blob.digest.hex()), blob.bytes()).unwrap();
            ours.connect(1).streams(0).write(blob.upload()).await.unwrap();
        }
        paths.push(all.iter().map(|blob| format!("/cas/{}", blob.digest.hex())).collect::<Vec<_>>());
    }
    let nginx = peers.nginx(dir).await;
    let mut table = Table::default();
    for _ in 0..crate::rounds() {
        for concurrency in [1, 8, 64] {
            for ((case, size), paths) in CASES.into_iter().zip(&paths) {
                for (column, server) in [(Column::Ours, Some(&ours)), (Column::Other, nginx.as_ref())] {
                    let Some(server) = server else { continue };
                    let pace = get(server.address(), concurrency, paths.clone(), size).await;
                    table.note(case, concurrency, column, pace.rate);
                }
            }
        }
    }
    table.print("HTTP, beside nginx");
}

async fn get(address: SocketAddr, concurrency: usize, paths: Vec<String>, size: usize) -> Pace {
    let mut connections = Vec::new();
    for _ in 0..concurrency {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.push(Mutex::new(Connection { stream, buffer: vec![0; 256 << 10] }));
    }
    let (connections, paths) = (Arc::new(connections), Arc::new(paths));
    drive(concurrency, usize::MAX, Duration::from_secs(1), move |worker, number| {
        let (connections, paths) = (Arc::clone(&connections), Arc::clone(&paths));
        async move {
            let len = connections[worker].lock().await.get(&paths[number % paths.len()]).await;
            assert_eq!(len, size);
        }
    })
    .await
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// The length of the body that a path gives.
    async fn get(&mut self, path: &str) -> usize {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut filled = 0;
        let head = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await.unwrap();
            assert!(read > 0, "the server closes");
            filled += read;
            if let Some(at) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = std::str::from_utf8(&self.buffer[..head]).unwrap().to_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.unwrap().trim().parse().unwrap();
        let mut rest = length - (filled - head);
        while rest > 0 {
            let most = rest.min(self.buffer.len());
            let read = self.stream.read(&mut self.buffer[..most]).await.unwrap();
            assert!(read > 0, "the server closes");
            rest -= read;
        }
        length
    }
}
