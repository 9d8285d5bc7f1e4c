//! What generic gRPC clients learn from the server itself.

use crate::support::Bench;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use std::collections::BTreeMap;
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

async fn ask(bench: &Bench, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(bench.channel());
    let mut answers =
        client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap().message_response.unwrap()
}

async fn files(bench: &Bench, request: MessageRequest) -> Vec<FileDescriptorProto> {
    let answer = ask(bench, request).await;
    let MessageResponse::FileDescriptorResponse(files) = answer else { unreachable!("{answer:?}") };
    files.file_descriptor_proto.iter().map(|file| FileDescriptorProto::decode(&file[..]).unwrap()).collect()
}

#[tokio::test]
async fn services_are_listed_and_described_with_all_that_they_import() {
    let mut bench = Bench::start().await;
    let answer = ask(&bench, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(services) = answer else { unreachable!("{answer:?}") };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["isoswarm.v1.Swarm", "isoswarm.v1.Bots", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(!names.contains(&"isoswarm.v1.Pins"), "what the CAS server has is not listed: {names:?}");

    let symbol = MessageRequest::FileContainingSymbol("isoswarm.v1.Swarm".into());
    let mut wanted = files(&bench, symbol).await;
    let methods: Vec<_> = wanted[0].service[0].method.iter().map(|method| method.name()).collect();
    for verb in ["Trigger", "Watch", "Get", "List", "Cancel", "Explain"] {
        assert!(methods.contains(&verb), "{verb} in {methods:?}");
    }
    let mut known = BTreeMap::new();
    while let Some(file) = wanted.pop() {
        for import in &file.dependency {
            if !known.contains_key(import) {
                wanted.extend(files(&bench, MessageRequest::FileByFilename(import.clone())).await);
            }
        }
        known.insert(file.name().to_owned(), file);
    }
    assert!(known.contains_key("google/protobuf/duration.proto"), "{:?}", known.keys());
    bench.stop().await;
}

#[tokio::test]
async fn older_tools_are_answered_too() {
    use v1alpha::server_reflection_request::MessageRequest;
    let mut bench = Bench::start().await;
    let list = Some(MessageRequest::ListServices(String::new()));
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: list };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(bench.channel());
    let mut answers =
        client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(answer.contains("isoswarm.v1.Swarm"), "{answer}");
    bench.stop().await;
}
