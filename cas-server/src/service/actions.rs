//! Results of actions, as both gRPC and HTTP serve them: checked when they come, and complete when they go.

use super::{
    completeness::{Completeness, Referenced},
    digest::{Named, to_wire},
};
use crate::engine::{Engine, ValueName};
use bytes::Bytes;
use cas::{BlobStore as _, Error, Result};
use prost::Message as _;
use proto::{Digest, DigestFunction, limits, reapi};
use reapi::{ActionResult, GetActionResultRequest};
use std::{mem, sync::Arc};

/// Bytes of an answer that every client takes.
const MAX_ANSWER: usize = limits::MAX_BATCH_BYTES as usize;

/// The results that the store keeps.
#[derive(Clone, Debug)]
pub(super) struct Actions {
    engine: Arc<Engine>,
    /// `None`: results are given whether their blobs are there or not.
    completeness: Option<Completeness>,
}

impl Actions {
    pub(super) fn new(engine: Arc<Engine>, check: bool) -> Self {
        let completeness = check.then(|| Completeness::new(Arc::clone(&engine) as _));
        Self { engine, completeness }
    }

    /// The result of an action, if there is one whose blobs are all there; they are in use from then on.
    pub(super) async fn get(&self, instance: &str, action: Digest) -> Result<Option<ActionResult>> {
        self.engine.check([&action])?;
        let Some(bytes) = self.engine.get_value(&name(instance, action)).await? else { return Ok(None) };
        let Ok(result) = ActionResult::decode(bytes) else { return Ok(None) };
        if let Some(completeness) = &self.completeness
            && !completeness.check(&result, action.function()).await?
        {
            return Ok(None);
        }
        Ok(Some(result))
    }

    /// Keeps the result of an action, in place of an older one, and gives it as it will be answered. What is inlined is
    /// stored as blobs too, and left out where an answer has no room for it.
    pub(super) async fn put(
        &self,
        instance: &str,
        action: Digest,
        mut result: ActionResult,
    ) -> Result<ActionResult> {
        self.engine.check([&action])?;
        let blobs = take_inlined(&mut result, action.function())?;
        Referenced::of(&result, action.function()).map_err(|error| invalid(error.to_string()))?;
        for outcome in self.engine.write_batch(blobs).await? {
            outcome?;
        }
        if !trim(&mut result) {
            let reason =
                format!("the result lists more outputs than an answer of {MAX_ANSWER} bytes has room for");
            return Err(Error::Invalid { reason });
        }
        self.engine.put_value(name(instance, action), result.encode_to_vec().into()).await?;
        Ok(result)
    }

    /// Puts the bytes of outputs into the result, as far as they are asked for and the answer has room.
    pub(super) async fn inline(
        &self,
        result: &mut ActionResult,
        function: DigestFunction,
        request: &GetActionResultRequest,
    ) -> Result<()> {
        let named = Named::of(function);
        let mut room = MAX_ANSWER.saturating_sub(result.encoded_len());
        let mut wanted = Vec::new();
        for (digest, target) in targets(result, request) {
            let Some(Ok(digest)) = digest.as_ref().map(|wire| named.digest(wire)) else { continue };
            // With room for the field's header.
            let bytes = usize::try_from(digest.size()).unwrap_or(usize::MAX).saturating_add(16);
            if target.is_empty() && !digest.is_empty() && bytes <= room {
                room -= bytes;
                wanted.push((digest, target));
            }
        }
        let digests: Vec<Digest> = wanted.iter().map(|(digest, _)| *digest).collect();
        let blobs = self.engine.read_batch(&digests).await?;
        for ((_, target), blob) in wanted.into_iter().zip(blobs) {
            // A hint: without the bytes the digest is there.
            if let Ok(bytes) = blob {
                *target = bytes.into();
            }
        }
        Ok(())
    }
}

fn name(instance: &str, action: Digest) -> ValueName {
    ValueName::Action { instance: instance.to_owned(), digest: action }
}

fn invalid(reason: String) -> Error {
    Error::Invalid { reason }
}

/// Where bytes that the request asks for go, with their digests.
fn targets<'a>(
    result: &'a mut ActionResult,
    request: &'a GetActionResultRequest,
) -> impl Iterator<Item = (Option<reapi::Digest>, &'a mut Vec<u8>)> {
    let stdout = request.inline_stdout.then_some((result.stdout_digest.clone(), &mut result.stdout_raw));
    let stderr = request.inline_stderr.then_some((result.stderr_digest.clone(), &mut result.stderr_raw));
    let files =
        result.output_files.iter_mut().filter(|file| request.inline_output_files.contains(&file.path));
    let files = files.map(|file| (file.digest.clone(), &mut file.contents));
    stdout.into_iter().chain(stderr).chain(files)
}

/// Takes the contents of files out of a result, and copies of what was written to stdout and stderr, which is often
/// short and stays where it is. Each has its digest afterwards.
fn take_inlined(result: &mut ActionResult, function: DigestFunction) -> Result<Vec<(Digest, Bytes)>> {
    let mut blobs = Vec::new();
    let mut take = |bytes: Vec<u8>, claimed: &mut Option<reapi::Digest>, what: &str| {
        if bytes.is_empty() {
            return Ok(());
        }
        let digest = function.digest(&bytes);
        let actual = to_wire(&digest);
        if claimed.as_ref().is_some_and(|claimed| *claimed != actual) {
            return Err(invalid(format!("{what} does not have the digest that is given for it")));
        }
        *claimed = Some(actual);
        blobs.push((digest, Bytes::from(bytes)));
        Ok(())
    };
    take(result.stdout_raw.clone(), &mut result.stdout_digest, "stdout_raw")?;
    take(result.stderr_raw.clone(), &mut result.stderr_digest, "stderr_raw")?;
    for file in &mut result.output_files {
        take(mem::take(&mut file.contents), &mut file.digest, &file.path)?;
    }
    Ok(blobs)
}

/// Makes a result fit into an answer, by leaving out what its digests lead to. Whether it fits.
fn trim(result: &mut ActionResult) -> bool {
    let fits = |result: &ActionResult| result.encoded_len() <= MAX_ANSWER;
    if !fits(result) && result.stdout_digest.is_some() {
        result.stdout_raw.clear();
    }
    if !fits(result) && result.stderr_digest.is_some() {
        result.stderr_raw.clear();
    }
    if !fits(result)
        && let Some(metadata) = &mut result.execution_metadata
    {
        metadata.auxiliary_metadata.clear();
    }
    fits(result)
}
