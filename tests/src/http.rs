//! HTTP/1.1 as small as it gets: one request a connection, so that tests see what is on the wire.

use crate::soon;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Status and body of an answer.
pub async fn http(server: SocketAddr, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {server}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may answer and close before it has read a body that it refuses.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    let answer = soon("an HTTP answer", exchange).await;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP answer has a head");
    let status = std::str::from_utf8(&answer[..head]).unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer[head + 4..].to_vec())
}
