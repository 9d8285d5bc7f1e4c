//! The channel between a runner and the bot: one TCP connection on the loopback address, lines both ways.
//!
//! Only the first connection counts: children of a runner may inherit its arguments, and connect, too.

use std::{
    io,
    net::{Ipv4Addr, TcpStream as StdStream},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What one read takes.
const CHUNK: usize = 64 * 1024;

/// Longest line. What is longer is not one of ours.
const LONGEST: usize = 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Channel {
    listener: TcpListener,
    port: u16,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    /// The other side has closed it.
    closed: bool,
}

impl Channel {
    pub(super) async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port, stream: None, buffer: Vec::new(), closed: false })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether the runner has connected by now. Asks the kernel, whatever the runtime knows yet.
    pub(super) fn is_connected(&mut self) -> bool {
        if self.stream.is_none()
            && let Ok(stream) = rustix::net::accept(&self.listener)
        {
            let stream = StdStream::from(stream);
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            self.stream = stream.ok();
        }
        self.stream.is_some()
    }

    /// The next lines, without their ends. Never ends once the other side has. May be dropped at any time.
    pub(super) async fn lines(&mut self) -> Vec<Vec<u8>> {
        loop {
            let Some(stream) = self.stream.as_mut().filter(|_| !self.closed) else {
                if self.closed {
                    std::future::pending::<()>().await;
                }
                match self.listener.accept().await {
                    Ok((stream, _)) => self.stream = Some(stream),
                    Err(_) => self.closed = true,
                }
                continue;
            };
            let _ = rustix::net::sockopt::set_tcp_quickack(&*stream, true);
            let before = self.buffer.len();
            self.buffer.reserve(CHUNK);
            match stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => self.closed = true,
                Ok(_) => {
                    if let Some(lines) = cut(&mut self.buffer, before) {
                        return lines;
                    }
                }
            }
        }
    }

    /// What has come and was not read, now that the other side is gone.
    pub(super) fn rest(&mut self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        if !self.is_connected() {
            return lines;
        }
        let Some(stream) = &self.stream else { return lines };
        let mut chunk = vec![0; CHUNK];
        while let Ok(read @ 1..) = rustix::io::read(stream, &mut chunk) {
            let before = self.buffer.len();
            self.buffer.extend_from_slice(&chunk[..read]);
            lines.extend(cut(&mut self.buffer, before).unwrap_or_default());
        }
        lines
    }

    /// Says a line. That nobody listens is seen elsewhere: the process ends.
    pub(super) async fn say(&mut self, line: &str) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.write_all(format!("{line}\n").as_bytes()).await;
        }
    }
}

/// Takes whole lines out of `buffer`, of which the first `seen` bytes have no end of a line.
fn cut(buffer: &mut Vec<u8>, seen: usize) -> Option<Vec<Vec<u8>>> {
    let Some(last) = buffer[seen..].iter().rposition(|&byte| byte == b'\n') else {
        if buffer.len() > LONGEST {
            buffer.clear();
        }
        return None;
    };
    let rest = buffer.split_off(seen + last + 1);
    let whole = std::mem::replace(buffer, rest);
    Some(whole[..whole.len() - 1].split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect())
}
