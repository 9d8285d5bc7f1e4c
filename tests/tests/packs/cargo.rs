//! The crate `bytes`.

use crate::support::{archive, isolate, run, run_with, suite};
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

    // One by one, without the one that takes as long as all others.
    let args = ["--driver", "libtest", "--", "--skip", "advance_bytes_mut_remaining_capacity"];
    let report = run_with(&system, &digest, &args).await;
    assert_eq!((report.tests, report.failed), (1079, 0), "{}", report.text);
    assert!(
        report.text.contains("classname=\"bytes::test_buf chain_u8_slice\" name=\"copy_to_slice_big\""),
        "{}",
        report.text
    );
}
