//! Bazel 4.2.3 while the server dies, and while it evicts.

use crate::{
    bazel_workspace::{ACTIONS, Bazel},
    support::Cache,
};
use tests::{Proxy, eventually};

#[tokio::test]
async fn a_server_killed_in_the_middle_of_a_build_fails_no_build_and_forgets_no_result() {
    let mut cache = Cache::start(&[]).await;
    let proxy = Proxy::start(cache.address()).await;
    let bazel = Bazel::new("1", 20_000).await;
    let url = proxy.url().replace("http://", "grpc://");
    let fault = async {
        let acknowledged = eventually("some results", || async {
            Some(cache.calls("UpdateActionResult").await).filter(|results| *results >= 4)
        })
        .await;
        cache.kill().await;
        proxy.cut();
        cache.restart().await;
        proxy.retarget(cache.address());
        acknowledged
    };
    let (built, acknowledged) = tokio::join!(bazel.with(&url, &["build", "//:sum"]), fault);
    assert_eq!((built.hits, built.ran), (0, ACTIONS), "{built:#?}");
    let sum = bazel.output("sum.txt").unwrap();

    bazel.clean().await;
    let again = bazel.with(&url, &["build", "//:sum"]).await;
    assert!(again.hits >= acknowledged, "{acknowledged} results were acknowledged: {again:#?}");
    assert_eq!(again.hits + again.ran, ACTIONS, "{again:#?}");
    assert_eq!(bazel.output("sum.txt"), Some(sum));
}

#[tokio::test]
async fn a_store_too_small_for_the_build_fails_no_build() {
    const OUTPUT: u32 = 4 << 20;
    // Room for about half of the outputs.
    let cache = Cache::start(&["--max-size=32MiB", "--lease=1s"]).await;
    // Slow enough for leases to end meanwhile.
    let bazel = Bazel::new("2", OUTPUT).await;
    let url = format!("grpc://{}", cache.address());
    let cold = bazel.with(&url, &["build", "//:sum"]).await;
    assert_eq!((cold.hits, cold.ran), (0, ACTIONS), "{cold:#?}");
    let sum = bazel.output("sum.txt").unwrap();
    let evicted = cache.metrics().await["cas_evicted_blobs_total"];
    assert!(evicted > 0.0, "nothing was evicted");

    bazel.clean().await;
    let again = bazel.with(&url, &["build", "//:sum"]).await;
    assert_eq!(again.hits + again.ran, ACTIONS, "{again:#?}");
    assert!(again.ran > 0, "a result whose output is gone is no hit: {again:#?}");
    assert_eq!(bazel.output("sum.txt"), Some(sum));
}
