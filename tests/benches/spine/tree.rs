//! Archive and fetch of a tree of 10,000 files and 200 MB.

use super::table::{line, median, ratio};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use runtime::{Clock as _, SystemClock};
use std::{fs, path::Path, time::Duration};
use tempfile::TempDir;
use tests::{Finished, System};
use tokio::process::Command;

const FILES: usize = 10_000;
const BYTES: usize = 200_000_000;
const ROUNDS: usize = 3;

/// Prints the tree part of the table.
pub(crate) async fn bench() {
    let dir = TempDir::with_prefix("isoswarm-bench-").unwrap();
    let tree = dir.path().join("tree");
    make_tree(&tree);
    println!(
        "\ntree of {FILES} files, {} MB, half of each file compressible; medians of {ROUNDS}",
        BYTES / 1_000_000
    );

    let archive = dir.path().join("tree.tar.zst");
    let tar = repeat(async || {
        shell(&format!("tar c -C {} . | zstd -q -1 > {}", show(&tree), show(&archive))).await
    })
    .await;
    let to = dir.path().join("copy");
    let untar = repeat(async || {
        fs::create_dir(&to).unwrap();
        let took = shell(&format!("zstd -q -dc {} | tar x -C {}", show(&archive), show(&to))).await;
        fs::remove_dir_all(&to).unwrap();
        took
    })
    .await;
    let copy = repeat(async || {
        let took = shell(&format!("cp -r {} {}", show(&tree), show(&to))).await;
        fs::remove_dir_all(&to).unwrap();
        took
    })
    .await;

    let mut cold = Vec::new();
    let mut unchanged = Vec::new();
    let mut fetch_cold = Vec::new();
    let mut fetch_warm = Vec::new();
    for _ in 0..ROUNDS {
        let system = System::start(0).await;
        let root = tree.to_str().unwrap();
        let archive = ["archive", "-q", "--root", root, "./", "--", "true"];
        let (took, first) = timed(system.command("isolate").args(archive)).await;
        cold.push(took);
        let (took, again) = timed(system.command("isolate").args(archive)).await;
        unchanged.push(took);
        assert_eq!(first.stdout, again.stdout);
        let digest = first.stdout.split_whitespace().next().unwrap();
        for times in [&mut fetch_cold, &mut fetch_warm] {
            let download = ["download", "-q", digest, "-o", to.to_str().unwrap()];
            times.push(timed(system.command("isolate").args(download)).await.0);
            fs::remove_dir_all(&to).unwrap();
        }
    }
    line("tar c | zstd -1", tar, "");
    line("zstd -d | tar x", untar, "");
    line("cp -r", copy, "");
    let cold = median(cold);
    line("isolate archive, empty server", cold, &ratio(cold, tar, "tar | zstd"));
    let unchanged = median(unchanged);
    line("isolate archive, unchanged", unchanged, &ratio(unchanged, tar, "tar | zstd"));
    let fetch = median(fetch_cold);
    line(
        "isolate download, empty cache",
        fetch,
        &format!("{}, {}", ratio(fetch, copy, "cp -r"), ratio(fetch, untar, "untar")),
    );
    let fetch = median(fetch_warm);
    line("isolate download, warm cache", fetch, &ratio(fetch, copy, "cp -r"));
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Files in 100 directories, of sizes that vary as sources and fixtures do; the same tree each time.
fn make_tree(root: &Path) {
    let mut rng = StdRng::seed_from_u64(1);
    let weights: Vec<f64> = (0..FILES)
        .map(|_| {
            // The sum of twelve uniform numbers is close to a normal one; its exponential is log-normal.
            let normal: f64 =
                (0..12).map(|_| f64::from(rng.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0;
            (normal * 1.2).exp()
        })
        .collect();
    let total: f64 = weights.iter().sum();
    for (number, weight) in weights.iter().enumerate() {
        let dir = root.join(format!("dir-{:02}", number % 100));
        fs::create_dir_all(&dir).unwrap();
        let mut bytes = vec![0; (weight / total * BYTES as f64) as usize];
        let half = bytes.len() / 2;
        rng.fill_bytes(&mut bytes[..half]);
        bytes[half..].fill(b'a' + (number % 26) as u8);
        fs::write(dir.join(format!("file-{number}")), bytes).unwrap();
    }
}

async fn repeat(mut once: impl AsyncFnMut() -> Duration) -> Duration {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        all.push(once().await);
    }
    median(all)
}

async fn shell(script: &str) -> Duration {
    timed(Command::new("sh").args(["-c", script])).await.0
}

/// What was written before is on the disk before the clock starts, so that nobody pays for somebody else's bytes.
async fn timed(command: &mut Command) -> (Duration, Finished) {
    rustix::fs::sync();
    let clock = SystemClock::new();
    let finished = Finished::of(command).await.expect(0);
    (clock.elapsed(), finished)
}
