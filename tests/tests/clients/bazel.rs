//! Bazel 4.2.3, cold and warm.

use crate::{
    bazel_workspace::{ACTIONS, Bazel},
    support::Cache,
};

#[tokio::test]
async fn over_grpc_a_clean_workspace_runs_nothing_again() {
    let cache = Cache::start(&[]).await;
    let bazel = Bazel::new("0", 20_000).await;
    let url = format!("grpc://{}", cache.address());
    let cold = bazel.with(&url, &["build", "//:sum"]).await;
    assert_eq!((cold.hits, cold.ran), (0, ACTIONS), "{cold:#?}");
    assert_eq!(cache.calls("UpdateActionResult").await, ACTIONS);
    let sum = bazel.output("sum.txt").unwrap();
    let tested = bazel.with(&url, &["test", "//:check"]).await;
    assert!(tested.ran >= 2, "both shards: {tested:#?}");

    bazel.clean().await;
    let warm = bazel.with(&url, &["build", "//:sum"]).await;
    assert_eq!((warm.hits, warm.ran), (ACTIONS, 0), "{warm:#?}");
    assert_eq!(bazel.output("sum.txt"), Some(sum));
    let tested = bazel.with(&url, &["test", "//:check"]).await;
    assert_eq!(tested.ran, 0, "the test's result is cached: {tested:#?}");
    assert!(tested.said.contains("cached) PASSED"), "{tested:#?}");

    bazel.clean().await;
    let read = cache.calls("Read").await;
    let minimal = bazel.with(&url, &["build", "//:sum", "--remote_download_minimal"]).await;
    assert_eq!((minimal.hits, minimal.ran), (ACTIONS, 0), "{minimal:#?}");
    assert_eq!(bazel.output("gen_0.txt"), None, "outputs stay in the cache");
    assert_eq!(cache.calls("Read").await, read);
}

#[tokio::test]
async fn over_http_a_clean_workspace_runs_nothing_again() {
    let cache = Cache::start(&[]).await;
    let bazel = Bazel::new("0", 20_000).await;
    let url = format!("http://{}", cache.address());
    let cold = bazel.with(&url, &["build", "//:sum"]).await;
    assert_eq!((cold.hits, cold.ran), (0, ACTIONS), "{cold:#?}");
    assert_eq!(cache.calls("PUT /ac").await, ACTIONS);
    let sum = bazel.output("sum.txt").unwrap();
    bazel.clean().await;
    let warm = bazel.with(&url, &["build", "//:sum"]).await;
    assert_eq!((warm.hits, warm.ran), (ACTIONS, 0), "{warm:#?}");
    assert_eq!(bazel.output("sum.txt"), Some(sum));
}
