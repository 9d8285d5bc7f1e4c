//! A TCP proxy on loopback whose target can be moved and whose connections can be cut.

use crate::wait::soon;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// Stands between clients and a server. Keeps its own address while the server behind it comes and goes.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: Arc<watch::Sender<SocketAddr>>,
    cuts: Arc<watch::Sender<u64>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of loopback.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(watch::Sender::new(target));
        let cuts = Arc::new(watch::Sender::new(0));
        let (targets, cut) = (target.subscribe(), cuts.subscribe());
        #[expect(clippy::disallowed_methods, reason = "ended by drop")]
        let accepting = tokio::spawn(accept(listener, targets, cut));
        Self { address, target, cuts, accepting }
    }

    /// What clients connect to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends the connections that come from now on to another server.
    pub fn retarget(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }

    /// Cuts every connection that is open, in the middle of whatever it carries.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: watch::Receiver<SocketAddr>, cuts: watch::Receiver<u64>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let (target, mut cuts) = (*target.borrow(), cuts.clone());
                cuts.mark_unchanged();
                connections.spawn(async move {
                    tokio::select! {
                        () = carry(client, target) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr) {
    // Either side may go at any time: that is what the proxy is for.
    if let Ok(mut server) = soon("a connection through the proxy", TcpStream::connect(target)).await {
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
