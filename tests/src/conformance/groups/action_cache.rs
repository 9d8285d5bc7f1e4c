//! `ActionCache`: results by the digest of their action.

use super::{
    blob::{Blob, carry},
    expect::{Outcome, ok, refused, same, same_bytes, that},
    rule::rule,
    server::{number, within},
};
use crate::conformance::{Rule, Server, rule::Needs};
use proto::reapi::{ActionResult, Digest, GetActionResultRequest, OutputFile, UpdateActionResultRequest};
use tonic::{Code, Status};

pub(super) const RULES: &[Rule] = &[
    rule!("action-cache.miss", "an action without a result is NOT_FOUND", "REAPI: GetActionResult", [], miss),
    rule!(
        "action-cache.round-trip",
        "a result is served as it was uploaded",
        "REAPI: UpdateActionResult",
        [Needs::ActionCacheUpdates],
        round_trip
    ),
    rule!(
        "action-cache.without-action",
        "a result is taken although its action is not in the CAS",
        "moon, recc and Bazel's rewriting of cached tests upload results alone",
        [Needs::ActionCacheUpdates],
        without_action
    ),
    rule!(
        "action-cache.replace",
        "a later result takes the place of an earlier one",
        "REAPI: UpdateActionResult; it repairs a wrong result",
        [Needs::ActionCacheUpdates],
        replace
    ),
    rule!(
        "action-cache.apart-from-blobs",
        "results are no blobs, and blobs are no results",
        "REAPI: ActionCache; an action and its result have the same digest",
        [Needs::ActionCacheUpdates],
        apart_from_blobs
    ),
    rule!(
        "action-cache.instances",
        "a result of one instance is not served in another",
        "REAPI: instance_name; instances are tenants",
        [Needs::ActionCacheUpdates],
        instances
    ),
    rule!(
        "action-cache.malformed",
        "digests that are none, of the action or in the result, are INVALID_ARGUMENT",
        "REAPI: UpdateActionResult",
        [Needs::ActionCacheUpdates],
        malformed
    ),
    rule!(
        "action-cache.inline",
        "what is inlined because the request asks for it is right, and keeps its digest",
        "REAPI: GetActionResultRequest.inline_stdout, inline_stderr, inline_output_files",
        [Needs::ActionCacheUpdates],
        inline
    ),
];

/// A result that refers to nothing.
fn result(exit_code: i32) -> ActionResult {
    ActionResult { exit_code, stdout_raw: carry(b"said"), ..ActionResult::default() }
}

pub(super) async fn update(server: &Server, action: &Blob, result: ActionResult) -> Result<(), Status> {
    update_digest(server, action.digest.clone(), result).await
}

async fn update_digest(server: &Server, action: Digest, result: ActionResult) -> Result<(), Status> {
    let request = UpdateActionResultRequest {
        instance_name: server.instance().to_owned(),
        action_digest: Some(action),
        action_result: Some(result),
        digest_function: number(server.function()),
        ..UpdateActionResultRequest::default()
    };
    let mut client = server.action_cache();
    within(server.deadline(), client.update_action_result(request)).await.map(|_| ())
}

fn question(server: &Server, action: &Blob) -> GetActionResultRequest {
    GetActionResultRequest {
        instance_name: server.instance().to_owned(),
        action_digest: Some(action.digest.clone()),
        digest_function: number(action.function),
        ..GetActionResultRequest::default()
    }
}

async fn ask(server: &Server, request: GetActionResultRequest) -> Result<ActionResult, Status> {
    let mut client = server.action_cache();
    within(server.deadline(), client.get_action_result(request)).await.map(tonic::Response::into_inner)
}

pub(super) async fn get(server: &Server, action: &Blob) -> Result<ActionResult, Status> {
    ask(server, question(server, action)).await
}

async fn miss(server: &Server) -> Outcome {
    refused("GetActionResult", &[Code::NotFound], get(server, &server.fresh(100)).await)
}

async fn round_trip(server: &Server) -> Outcome {
    let (action, file) = (server.stored(100).await?, server.stored(1000).await?);
    let output = |path: &str, is_executable| OutputFile {
        path: path.into(),
        digest: Some(file.digest.clone()),
        is_executable,
        ..OutputFile::default()
    };
    let uploaded = ActionResult {
        output_files: vec![output("out/a", true), output("out/b", false)],
        stderr_digest: Some(file.digest.clone()),
        ..result(3)
    };
    ok("UpdateActionResult", update(server, &action, uploaded.clone()).await)?;
    let mut served = ok("GetActionResult", get(server, &action).await)?;
    // Servers may say in the metadata who has written it, and keep what was written to stdout as a blob.
    served.execution_metadata = None;
    if let Some(digest) = served.stdout_digest.take() {
        let said = Blob::new(action.function, b"said".to_vec());
        same("stdout_digest", &said.digest, &digest)?;
        served.stdout_raw.clone_from(&uploaded.stdout_raw);
    }
    same("the result", &uploaded, &served)
}

async fn without_action(server: &Server) -> Outcome {
    let action = server.fresh(100);
    ok("UpdateActionResult", update(server, &action, result(0)).await)?;
    ok("GetActionResult", get(server, &action).await).map(|_| ())
}

async fn replace(server: &Server) -> Outcome {
    let action = server.stored(100).await?;
    for exit_code in [1, 0] {
        ok("UpdateActionResult", update(server, &action, result(exit_code)).await)?;
        let served = ok("GetActionResult", get(server, &action).await)?;
        same("exit_code", &exit_code, &served.exit_code)?;
    }
    Ok(())
}

async fn apart_from_blobs(server: &Server) -> Outcome {
    let (uploaded, action) = (server.stored(100).await?, server.fresh(100));
    refused("GetActionResult of a blob", &[Code::NotFound], get(server, &uploaded).await)?;
    ok("UpdateActionResult", update(server, &action, result(0)).await)?;
    server.lacks(&action).await
}

async fn instances(server: &Server) -> Outcome {
    let action = server.stored(100).await?;
    ok("UpdateActionResult", update(server, &action, result(0)).await)?;
    let elsewhere = GetActionResultRequest {
        instance_name: format!("another-{}", server.uuid()),
        ..question(server, &action)
    };
    let codes = [Code::NotFound, Code::InvalidArgument, Code::PermissionDenied, Code::Unauthenticated];
    refused("GetActionResult in another instance", &codes, ask(server, elsewhere).await)
}

async fn malformed(server: &Server) -> Outcome {
    let nonsense = Digest { hash: "nonsense".into(), size_bytes: 5 };
    let answer = update_digest(server, nonsense.clone(), result(0)).await;
    refused("UpdateActionResult of no action", &[Code::InvalidArgument], answer)?;
    let refers = ActionResult { stdout_digest: Some(nonsense), ..result(0) };
    let answer = update(server, &server.fresh(100), refers).await;
    refused("UpdateActionResult with a malformed stdout_digest", &[Code::InvalidArgument], answer)
}

async fn inline(server: &Server) -> Outcome {
    let action = server.stored(100).await?;
    let blobs = [server.stored(500).await?, server.stored(600).await?, server.stored(700).await?];
    let [stdout, stderr, file] = blobs.clone();
    let output = OutputFile { path: "out".into(), digest: Some(file.digest), ..OutputFile::default() };
    let uploaded = ActionResult {
        output_files: vec![output],
        stdout_digest: Some(stdout.digest),
        stderr_digest: Some(stderr.digest),
        ..ActionResult::default()
    };
    ok("UpdateActionResult", update(server, &action, uploaded).await)?;
    let request = GetActionResultRequest {
        inline_stdout: true,
        inline_stderr: true,
        inline_output_files: vec!["out".into()],
        ..question(server, &action)
    };
    let served = ok("GetActionResult", ask(server, request).await)?;
    let file = served.output_files.first().cloned().unwrap_or_default();
    let inlined = [
        (served.stdout_digest, served.stdout_raw.to_vec()),
        (served.stderr_digest, served.stderr_raw.to_vec()),
        (file.digest, file.contents.to_vec()),
    ];
    for (blob, (digest, bytes)) in blobs.iter().zip(inlined) {
        that(digest.as_ref() == Some(&blob.digest), "the digest that was uploaded", format!("{digest:?}"))?;
        if !bytes.is_empty() {
            same_bytes("what is inlined", &blob.data, &bytes)?;
        }
    }
    Ok(())
}
