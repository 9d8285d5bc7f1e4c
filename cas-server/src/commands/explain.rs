//! `cas-server explain`: what is known about a blob.

use crate::report;
use cas_server::{StartError, engine::Offline};
use clap::Args;
use proto::{
    Digest, Timestamp,
    v1::{self, blob_explanation as parts, store_client::StoreClient},
};
use runtime::{Exit, SystemClock};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// A server that does not answer by then will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says where a blob is, since when, when it was used last, what keeps it; or why it is missing, as far as is known.
///
/// Ends with 3 if it is missing. What became of missing blobs is known to running servers only.
#[derive(Args)]
pub(crate) struct Explain {
    /// FUNCTION:HEX/SIZE.
    digest: Digest,
    /// Directory that holds the store. No server may run on it.
    #[arg(long, value_name = "DIR", required_unless_present = "server", conflicts_with = "server")]
    data: Option<PathBuf>,
    /// Server to ask.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// PEM file of the certificates to trust.
    #[arg(long, value_name = "FILE", requires = "server")]
    ca_cert: Option<PathBuf>,
}

impl Explain {
    pub(crate) async fn run(self) -> Exit {
        if self.digest.is_empty() {
            return report::print("every store has the blob without bytes\n");
        }
        let explained = match (&self.server, &self.data) {
            (Some(server), _) => ask(self.digest, server, self.ca_cert.as_deref()).await,
            (None, data) => look(self.digest, data.as_deref().unwrap_or(Path::new("."))),
        };
        match explained {
            Ok(explanation) => {
                report::print(&render(self.digest, &explanation));
                match explanation.state {
                    Some(parts::State::Present(_)) => Exit::Success,
                    _ => Exit::NotFound,
                }
            }
            Err((error, exit)) => report::failed(error, exit),
        }
    }
}

async fn ask(
    digest: Digest,
    server: &str,
    ca_cert: Option<&Path>,
) -> Result<v1::BlobExplanation, (anyhow::Error, Exit)> {
    let channel = runtime::connect::channel(server, ca_cert).map_err(|error| (error.into(), Exit::Usage))?;
    let mut client = StoreClient::new(channel);
    let request = v1::ExplainBlobRequest { digest: Some(digest.into()) };
    let unreachable =
        |error: anyhow::Error| (error.context(format!("cannot ask {server}")), Exit::Unavailable);
    let answer = tokio::time::timeout(PATIENCE, client.explain_blob(request)).await;
    let answer = answer.map_err(|error| unreachable(error.into()))?;
    Ok(answer.map_err(|status| unreachable(cas::status::from_status(&status, None).into()))?.into_inner())
}

fn look(digest: Digest, data: &Path) -> Result<v1::BlobExplanation, (anyhow::Error, Exit)> {
    let store = Offline::open(data, SystemClock::shared()).map_err(|error| {
        let error = StartError::from(error);
        let exit = error.exit();
        (error.into(), exit)
    })?;
    let explanation = store.explain(digest).map_err(|error| (error.into(), Exit::Internal))?;
    Ok(cas_server::explanation(&explanation))
}

fn render(digest: Digest, explanation: &v1::BlobExplanation) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{what:<14}{value}");
    };
    line("blob", digest.to_string());
    match &explanation.state {
        Some(parts::State::Present(present)) => {
            line("state", "present".into());
            line("where", format!("{} at {}", present.file, present.offset));
            let how = if present.compressed { ", compressed" } else { "" };
            line("at rest", format!("{} bytes{how}", present.bytes_at_rest));
            line("since", format!("{} or before", time(present.since.as_ref())));
            line("last use", time(present.touched.as_ref()));
            line("leased until", time(present.leased_until.as_ref()));
        }
        Some(parts::State::Missing(missing)) => {
            line("state", "missing".into());
            line("why", why(missing));
        }
        None => line("state", "unknown".into()),
    }
    for pin in &explanation.pins {
        line("pinned by", format!("{} until {}", pin.name, time(pin.expires.as_ref())));
    }
    for similar in explanation.similar.iter().filter_map(|wire| Digest::try_from(wire).ok()) {
        line("similar", format!("{similar} is present"));
    }
    text
}

fn why(missing: &parts::Missing) -> String {
    let Some(ending) = &missing.ending else {
        let since = time(missing.remembered_since.as_ref());
        return format!("not known: it was never here, or went before {since}");
    };
    let (at, touched) = (time(ending.at.as_ref()), time(ending.touched.as_ref()));
    match ending.cause() {
        parts::Cause::Evicted => format!("evicted at {at} to make room; its last use was at {touched}"),
        parts::Cause::Damaged => format!("found damaged and dropped at {at}"),
        parts::Cause::Unspecified => format!("it went at {at}"),
    }
}

fn time(wire: Option<&prost_types::Timestamp>) -> String {
    let Some(wire) = wire else { return "an unknown time".into() };
    let time = UNIX_EPOCH + Duration::from_micros(Timestamp::from(wire).as_micros());
    humantime::format_rfc3339_seconds(time).to_string()
}
