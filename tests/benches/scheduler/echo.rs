//! The protocol without a scheduler: a bare tonic server that gives every bot the same answer, of the size that the
//! scheduler's answers have.

use proto::v1::{
    self,
    bots_server::{Bots, BotsServer},
};
use runtime::Shutdown;
use std::path::PathBuf;
use tests::Program;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// This very program once more, as the echo.
pub(crate) async fn start() -> Program {
    let program: PathBuf = std::env::current_exe().unwrap();
    Program::start_at(&program, ["--echo"]).await
}

/// Serves until it is told to stop.
pub(crate) async fn serve() {
    let shutdown = Shutdown::on_signals().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("echo on http://{}", listener.local_addr().unwrap());
    let echo =
        tonic::transport::Server::builder().tcp_nodelay(true).add_service(BotsServer::new(Echo(answer())));
    let incoming = TcpListenerStream::new(listener);
    echo.serve_with_incoming_shutdown(incoming, async move { shutdown.requested().await }).await.unwrap();
}

fn answer() -> v1::SynchronizeResponse {
    let assignment = v1::Assignment {
        input: Some(proto::DigestFunction::Blake3.digest(b"manifest").into()),
        command: vec!["./test".into()],
        ..Default::default()
    };
    let lease = v1::LeaseRef { shard_id: "0123456789ABC/0/12345".into(), attempt: 1, token: 12_345 };
    let desired =
        v1::DesiredAttempt { lease: Some(lease), assignment: Some(assignment), ..Default::default() };
    v1::SynchronizeResponse { desired: vec![desired], ..Default::default() }
}

struct Echo(v1::SynchronizeResponse);

#[tonic::async_trait]
impl Bots for Echo {
    async fn synchronize(
        &self,
        _: Request<v1::SynchronizeRequest>,
    ) -> Result<Response<v1::SynchronizeResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}
