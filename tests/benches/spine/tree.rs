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

    // What is compared is measured side by side, and nothing is deleted in between: discards would slow the next one.
    let mut columns: [Vec<Duration>; 7] = Default::default();
    for round in 0..ROUNDS {
        let times = measure(dir.path(), &tree, round).await;
        columns.iter_mut().zip(times).for_each(|(column, took)| column.push(took));
    }
    let [tar, untar, copy, archive, unchanged, fetch, warm] = columns.map(median);
    line("tar c | zstd -1", tar, "");
    line("zstd -d | tar x", untar, "");
    line("cp -r", copy, "");
    line("isolate archive, empty server", archive, &ratio(archive, tar, "tar | zstd"));
    line("isolate archive, unchanged", unchanged, &ratio(unchanged, tar, "tar | zstd"));
    let note = format!("{}, {}", ratio(fetch, copy, "cp -r"), ratio(fetch, untar, "untar"));
    line("isolate download, empty cache", fetch, &note);
    line("isolate download, warm cache", warm, &ratio(warm, copy, "cp -r"));
}

/// One round: tar, untar, copy, archive, archive again, fetch, fetch again.
async fn measure(dir: &Path, tree: &Path, round: usize) -> [Duration; 7] {
    let system = System::start(0).await;
    let at = |name: &str| dir.join(format!("{name}-{round}"));
    let root = tree.to_str().unwrap();
    let packed = at("tar").display().to_string();
    let untarred = at("untar");
    fs::create_dir(&untarred).unwrap();
    let archive = ["archive", "-q", "--root", root, "./", "--", "true"];
    let isolate = |args: &[&str]| {
        let mut command = system.command("isolate");
        command.args(args).env("XDG_CACHE_HOME", at("cache"));
        command
    };

    let tar = shell(&format!("tar c -C {root} . | zstd -q -1 > {packed}")).await;
    let (first, digest) = timed(&mut isolate(&archive)).await;
    let (unchanged, again) = timed(&mut isolate(&archive)).await;
    assert_eq!(digest.stdout, again.stdout);
    let untar = shell(&format!("zstd -q -dc {packed} | tar x -C {}", untarred.display())).await;
    let copy = shell(&format!("cp -r {root} {}", at("copy").display())).await;
    let digest = digest.stdout.split_whitespace().next().unwrap();
    let mut fetches = Vec::new();
    for to in [at("cold"), at("warm")] {
        let download = ["download", "-q", digest, "-o", to.to_str().unwrap()];
        fetches.push(timed(&mut isolate(&download)).await.0);
    }
    [tar, untar, copy, first, unchanged, fetches[0], fetches[1]]
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
