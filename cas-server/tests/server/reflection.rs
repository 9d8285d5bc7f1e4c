//! What tools find out about the server by asking it.

use crate::support::Server;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const SERVICES: [&str; 7] = [
    "build.bazel.remote.asset.v1.Fetch",
    "build.bazel.remote.asset.v1.Push",
    "build.bazel.remote.execution.v2.ActionCache",
    "build.bazel.remote.execution.v2.Capabilities",
    "build.bazel.remote.execution.v2.ContentAddressableStorage",
    "google.bytestream.ByteStream",
    "isoswarm.v1.Patches",
];

async fn ask(server: &Server, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let answers = ServerReflectionClient::new(server.channel())
        .server_reflection_info(futures::stream::iter([request]))
        .await;
    let answer = answers.unwrap().into_inner().message().await.unwrap();
    answer.unwrap().message_response.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_is_described_and_healthy() {
    let server = Server::start().await;
    let MessageResponse::ListServicesResponse(list) =
        ask(&server, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services")
    };
    let listed: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    let mut health = HealthClient::new(server.channel());
    for service in SERVICES {
        assert!(listed.contains(&service), "{service} is not in {listed:?}");
        let described = ask(&server, MessageRequest::FileContainingSymbol(service.to_owned())).await;
        assert!(matches!(described, MessageResponse::FileDescriptorResponse(_)), "{service}");
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status, 1, "{service}");
    }
    server.stop().await;
}
