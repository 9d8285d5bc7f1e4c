//! The channel between a runner and the bot: one connection, lines both ways.
//!
//! A socket in the driver's own directory, which is there in a sandbox, too; or the loopback address, for runners that know
//! nothing else. Only the first connection counts: children of a runner may inherit its arguments, and connect, too.

use crate::drivers::{Address, ChannelKind};
use rustix::fs::{Mode, OFlags, open};
use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

/// What one read takes.
const CHUNK: usize = 64 * 1024;

/// How long a line may take to be taken from us.
const ATTENTION: Duration = Duration::from_secs(5);

/// Longest line. What is longer is not one of ours.
const LONGEST: usize = 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Channel {
    /// None: the runner uses no channel.
    listener: Option<Listener>,
    address: Address,
    stream: Option<Stream>,
    buffer: Vec<u8>,
    /// The other side has closed it.
    closed: bool,
    /// The other side does not read.
    mute: bool,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Channel {
    /// `path` is where a socket would be: its directory is there, and nothing under its name.
    pub(super) async fn open(kind: ChannelKind, path: PathBuf) -> io::Result<Self> {
        let (listener, address) = match kind {
            ChannelKind::None => (None, Address::None),
            ChannelKind::Loopback => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let port = listener.local_addr()?.port();
                (Some(Listener::Tcp(listener)), Address::Port(port))
            }
            ChannelKind::Socket => {
                // The kernel takes no more than 107 bytes: by way of its directory every path is short.
                let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
                let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                let directory =
                    open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
                (Some(Listener::Unix(UnixListener::bind(short)?)), Address::Socket(path))
            }
        };
        Ok(Self { listener, address, stream: None, buffer: Vec::new(), closed: false, mute: false })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the runner has connected by now. Asks the kernel, whatever the runtime knows yet.
    pub(super) fn is_connected(&mut self) -> bool {
        if self.stream.is_none()
            && let Some(listener) = &self.listener
        {
            self.stream = listener.accept_now().ok();
        }
        self.stream.is_some()
    }

    /// The next lines, without their ends. Never ends once the other side has. May be dropped at any time.
    pub(super) async fn lines(&mut self) -> Vec<Vec<u8>> {
        loop {
            let Some(stream) = self.stream.as_mut().filter(|_| !self.closed) else {
                let Some(listener) = self.listener.as_ref().filter(|_| !self.closed) else {
                    std::future::pending::<()>().await;
                    continue;
                };
                match listener.accept().await {
                    Ok(stream) => self.stream = Some(stream),
                    Err(_) => self.closed = true,
                }
                continue;
            };
            let before = self.buffer.len();
            self.buffer.reserve(CHUNK);
            match stream.read(&mut self.buffer).await {
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

    /// Says a line. That nobody listens is seen elsewhere: the process ends. One that asks and does not read what it is
    /// told is told nothing more.
    pub(super) async fn say(&mut self, line: &str) {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.mute) else { return };
        let line = format!("{line}\n");
        let said = stream.write(line.as_bytes());
        self.mute = !matches!(tokio::time::timeout(ATTENTION, said).await, Ok(Ok(())));
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }

    /// A connection that is there already.
    fn accept_now(&self) -> io::Result<Stream> {
        let accepted = |listener: BorrowedFd<'_>| -> io::Result<OwnedFd> {
            let stream = rustix::net::accept(listener)?;
            rustix::io::ioctl_fionbio(&stream, true)?;
            Ok(stream)
        };
        match self {
            Self::Tcp(listener) => TcpStream::from_std(accepted(listener.as_fd())?.into()).map(Stream::Tcp),
            Self::Unix(listener) => {
                UnixStream::from_std(accepted(listener.as_fd())?.into()).map(Stream::Unix)
            }
        }
    }
}

impl Stream {
    async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                let _ = rustix::net::sockopt::set_tcp_quickack(&*stream, true);
                stream.read_buf(buffer).await
            }
            Self::Unix(stream) => stream.read_buf(buffer).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Unix(stream) => stream.write_all(bytes).await,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::{Clock as _, SystemClock};

    #[tokio::test]
    async fn one_that_does_not_read_holds_nobody_up_for_ever() {
        let mut channel = Channel::open(ChannelKind::Loopback, PathBuf::new()).await.unwrap();
        let &Address::Port(port) = channel.address() else { panic!("{:?}", channel.address()) };
        let _deaf = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(channel.is_connected());
        let (clock, line) = (SystemClock::new(), "x".repeat(LONGEST));
        let began = clock.elapsed();
        for _ in 0..100 {
            channel.say(&line).await;
        }
        assert!(channel.mute && clock.elapsed() - began < 4 * ATTENTION);
    }
}
