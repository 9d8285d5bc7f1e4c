//! The linear algebra, FFT and polynomial parts of numpy's own suite.

use crate::support::{archive, isolate, run, suite};
use std::fs;
use tests::System;

#[tokio::test]
async fn a_part_of_numpys_suite_runs_on_bots_from_its_digest_alone() {
    let system = System::start(2).await;
    let venv = suite("numpy", &system).await;
    let pack = |tests: &[&str]| {
        let base = ["pack", "python", "-o", "numpy.isolate", "--venv", "numpy", "--", "-m", "pytest", "-q"];
        let args: Vec<String> = base.iter().chain(tests).map(|arg| (*arg).to_owned()).collect();
        isolate(&system, system.path(), args)
    };
    let tests = ["-p", "no:cacheprovider", "--pyargs", "numpy.linalg", "numpy.fft", "numpy.polynomial"];
    pack(&tests).await;
    let digest = archive(&system, system.path(), "numpy.isolate").await;
    pack(&tests).await;
    assert_eq!(archive(&system, system.path(), "numpy.isolate").await, digest, "nothing changed");
    fs::remove_dir_all(&venv).unwrap();
    fs::remove_dir_all(system.path().join("numpy.pack")).unwrap();

    let report = run(&system, &digest, 2).await;
    assert!(report.tests > 1200 && report.failed == 0, "{} tests, {} failed", report.tests, report.failed);
}
