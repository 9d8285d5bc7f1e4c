//! Idempotent shards, as far as the CAS still has what they left.

use crate::support::{Bench, completed, run_spec};
use proto::{
    Digest, DigestFunction,
    v1::{self, RunState, ShardState, pins_server},
};
use runtime::Shutdown;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};

/// A CAS that pins what it has.
#[derive(Clone, Default)]
struct Cas {
    has: Arc<Mutex<BTreeSet<Digest>>>,
    asked: Arc<Mutex<Vec<v1::CreatePinRequest>>>,
}

impl Cas {
    /// Its address.
    async fn serve(&self, tasks: &mut JoinSet<()>) -> String {
        let address = "127.0.0.1:0".parse().unwrap();
        let listen = runtime::serve::Listen { address, tls_cert: None, tls_key: None, insecure: false };
        let server = runtime::serve::Server::bind(listen).await.unwrap();
        let url = server.url();
        let routes = tonic::service::Routes::new(pins_server::PinsServer::new(self.clone()));
        tasks.spawn(server.run(routes.into_axum_router(), Shutdown::new()));
        url
    }
}

#[tonic::async_trait]
impl pins_server::Pins for Cas {
    async fn create_pin(&self, request: Request<v1::CreatePinRequest>) -> Result<Response<v1::Pin>, Status> {
        let request = request.into_inner();
        let root = Digest::try_from(request.root.as_ref().unwrap()).unwrap();
        self.asked.lock().unwrap().push(request);
        if self.has.lock().unwrap().contains(&root) {
            Ok(Response::new(v1::Pin::default()))
        } else {
            Err(Status::failed_precondition("blobs of the closure are missing"))
        }
    }

    async fn renew_pin(&self, _: Request<v1::RenewPinRequest>) -> Result<Response<v1::Pin>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn swap_pin(&self, _: Request<v1::SwapPinRequest>) -> Result<Response<v1::Pin>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn release_pin(
        &self,
        _: Request<v1::ReleasePinRequest>,
    ) -> Result<Response<v1::ReleasePinResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_pins(
        &self,
        _: Request<v1::ListPinsRequest>,
    ) -> Result<Response<v1::ListPinsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn idempotent() -> v1::RunSpec {
    let mut spec = run_spec(1);
    spec.steps[0].idempotent = true;
    spec
}

/// Triggers it and runs its one shard to success, with outputs.
async fn run_it(bench: &Bench, request: &str, outputs: Option<Digest>) -> String {
    let triggered = bench.trigger_spec(request, idempotent()).await.unwrap();
    assert_eq!(triggered.deduped, 0);
    let mut bot = bench.bot("b1");
    bot.work().await;
    bot.print("hello\n");
    let result = v1::AttemptResult { outputs: outputs.map(Into::into), ..completed(0) };
    bot.request.held[0].result = Some(result);
    bot.no_wait().synchronize().await.unwrap();
    triggered.run_id
}

#[tokio::test]
async fn a_success_whose_outputs_are_still_there_is_not_run_again() {
    let (cas, mut tasks) = (Cas::default(), JoinSet::new());
    let bench = Bench::with_cas(&cas.serve(&mut tasks).await).await;
    let outputs = DigestFunction::Blake3.digest(b"outputs");
    let first = run_it(&bench, "r1", Some(outputs)).await;
    cas.has.lock().unwrap().insert(outputs);

    let again = bench.trigger_spec("r2", idempotent()).await.unwrap();
    assert_eq!((again.created, again.shards, again.deduped), (true, 1, 1));
    let run = bench.get(&again.run_id).await;
    assert_eq!(run.state(), RunState::Succeeded);
    let shard = &run.shards[0];
    assert_eq!((shard.state(), shard.attempts.len()), (ShardState::Completed, 0));
    assert_eq!(shard.deduped_from, format!("{first}/0/0"));
    assert_eq!(shard.deduped_result.as_ref().unwrap().outputs, Some(outputs.into()));
    let asked = cas.asked.lock().unwrap()[0].clone();
    assert_eq!(asked.kind(), v1::PinKind::Isolated);
    assert_eq!(asked.root, Some(outputs.into()));
    let printed = v1::ReadOutputRequest { shard_id: shard.id.clone(), ..Default::default() };
    assert_eq!(bench.output(printed).await.unwrap(), "hello\n", "what the first one printed");

    let repeated = bench.trigger_spec("r2", idempotent()).await.unwrap();
    assert_eq!((repeated.created, repeated.deduped, &repeated.run_id), (false, 1, &again.run_id));
    assert_eq!(cas.asked.lock().unwrap().len(), 1, "for a run that there is, nobody is asked");
    let bench = bench.restart().await;
    assert_eq!(bench.get(&again.run_id).await.shards, run.shards);
}

#[tokio::test]
async fn a_success_whose_outputs_are_gone_is_run_again() {
    let (cas, mut tasks) = (Cas::default(), JoinSet::new());
    let bench = Bench::with_cas(&cas.serve(&mut tasks).await).await;
    let outputs = DigestFunction::Blake3.digest(b"outputs");
    run_it(&bench, "r1", Some(outputs)).await;
    run_it(&bench, "r2", Some(outputs)).await;
    assert_eq!(cas.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn outputs_that_nobody_can_be_asked_about_are_made_again() {
    let bench = Bench::start().await;
    let outputs = DigestFunction::Blake3.digest(b"outputs");
    run_it(&bench, "r1", Some(outputs)).await;
    run_it(&bench, "r2", None).await;
    let without = bench.trigger_spec("r3", idempotent()).await.unwrap();
    assert_eq!(without.deduped, 1, "the newest success left nothing that could be gone");
}

#[tokio::test]
async fn the_output_of_a_deduped_shard_goes_with_the_run_that_printed_it() {
    let bench = Bench::start().await;
    let first = run_it(&bench, "r1", None).await;
    let again = bench.trigger_spec("r2", idempotent()).await.unwrap();
    bench.client().delete_run(v1::DeleteRunRequest { run_id: first.clone() }).await.unwrap();
    let asked = format!("{}/0/0", again.run_id);
    for follow in [false, true] {
        let read = v1::ReadOutputRequest { shard_id: asked.clone(), follow, ..Default::default() };
        let gone = bench.output(read).await.unwrap_err();
        assert_eq!(gone.code(), tonic::Code::NotFound);
        let says = format!("went with run {first}");
        assert!(gone.message().contains(&asked) && gone.message().contains(&says), "{}", gone.message());
    }
}
