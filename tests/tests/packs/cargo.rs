//! The crate `bytes`.

use crate::support::{archive, isolate, run, suite};
use std::fs;
use tests::System;

#[tokio::test]
async fn a_crates_whole_suite_runs_on_bots_from_its_digest_alone() {
    let system = System::start(2).await;
    let source = suite("bytes", &system).await;
    isolate(&system, &source, ["pack", "cargo", "-o", "tests.isolate"]).await;
    let digest = archive(&system, &source, "tests.isolate").await;
    isolate(&system, &source, ["pack", "cargo", "-o", "tests.isolate"]).await;
    assert_eq!(archive(&system, &source, "tests.isolate").await, digest, "nothing changed");
    fs::remove_dir_all(&source).unwrap();

    let report = run(&system, &digest, 3).await;
    assert_eq!((report.tests, report.failed), (1080, 0), "{}", report.text);
}
