//! Our server under the suite that asks any server about every rule of the Remote Execution API.
#![expect(clippy::unwrap_used, reason = "tests may unwrap, also in their helpers")]

use runtime::SystemEntropy;
use std::time::Duration;
use tests::{
    Program,
    conformance::{Report, Server, Target, Verdict, rules, run},
};

#[tokio::test]
async fn our_server_keeps_every_rule() {
    keeps_every_rule("off").await;
}

#[tokio::test]
async fn our_server_keeps_every_rule_with_blobs_that_are_compressed_at_rest() {
    keeps_every_rule("zstd").await;
}

async fn keeps_every_rule(compress: &str) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("cas");
    let arguments = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap(), "--compress", compress];
    let program = Program::start("cas-server", arguments).await;
    let target = Target {
        address: program.url().to_owned(),
        instance: String::new(),
        ca_cert: None,
        deadline: Duration::from_secs(30),
    };
    let server = Server::connect(target, SystemEntropy::shared()).await.unwrap();
    let mut failures = Vec::new();
    let report = run(&server, rules(""), |rule, verdict| {
        if matches!(verdict, Verdict::Fail { .. }) {
            failures.push(Report::describe(rule, verdict));
        }
    })
    .await;
    assert!(failures.is_empty(), "{report}\n{}", failures.join("\n"));
    let skipped: Vec<_> = report.skips().collect();
    assert!(skipped.is_empty(), "features that the server does not say it has: {skipped:#?}");
}

#[test]
fn ids_are_unique_and_grouped() {
    let mut ids: Vec<_> = rules("").map(|rule| rule.id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert!(ids.iter().all(|id| id.contains('.') && id.len() <= 34), "{ids:?}");
}
