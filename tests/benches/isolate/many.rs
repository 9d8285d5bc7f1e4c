//! Many small files: archive, archive again, after a change; fetch with nothing and with everything in the cache.

use super::{
    bench::{Bench, in_memory, transfer},
    measure::{Took, on_all_cores, shell},
    table::{self, Row},
    trees,
};
use crate::number;
use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

struct Rows {
    cold: Row,
    unchanged: Row,
    /// Of a tree that is watched.
    changed: Row,
    /// The same without anybody who watches.
    unwatched: Row,
    /// What no archive that looks at its files can be faster than.
    looked: Row,
    fetch: Row,
    warm: Row,
    /// Calls of an archive of what has not changed.
    calls: f64,
    /// Bytes of uploads beyond those of changed files, in percent of these.
    surplus: f64,
}

/// Prints this part of the table.
pub(crate) async fn bench() {
    let (files, megabytes) = (number("FILES", 100_000), number("MB", 400));
    let dir = TempDir::with_prefix("isoswarm-bench-").unwrap();
    let tree = dir.path().join("tree");
    trees::many(&tree, files, megabytes * 1_000_000);
    // Objects are kept as they are: only the index is of interest.
    let git = format!("git --git-dir={}/git --work-tree={}", dir.path().display(), tree.display());
    let add = "-c core.compression=0 -c gc.auto=0 -c core.fsync=none add -A";
    shell(&format!("{git} init -q && cd {} && {git} {add}", tree.display())).await;

    let mut rows = Rows {
        cold: Row::new("archive, nothing known, empty server", "tar c | zstd -1", 1.0),
        unchanged: Row::new("archive, nothing changed", "git status, warm index", 1.5),
        changed: Row::new("archive, 1 % of files changed, watched", "archive, nothing known", 0.1),
        unwatched: Row::aside("archive, 1 % of files changed, not watched", "archive, nothing known"),
        looked: Row::aside("a bare look at each file, on all cores", "archive, nothing known"),
        fetch: Row::new("fetch and lay out, cold cache", "cp -r from tmpfs + bare transfer", 1.2),
        warm: Row::new("fetch and lay out, warm cache", "cp -r --reflink=auto", 1.0),
        calls: 0.0,
        surplus: 0.0,
    };
    let rounds = number("ROUNDS", 3);
    for round in 0..rounds {
        // Nothing is deleted in between: file systems without a journal make files slowly for a while after that.
        let mut bench = Bench::start(dir.path().join(format!("round-{round}"))).await;
        let cold = measure(&bench, &tree, &git, round, &mut rows).await;
        measure_changes(&mut bench, &tree, round, files, cold, &mut rows).await;
        bench.end().await;
    }
    table::head(&format!("{files} files, {megabytes} MB; medians of {rounds}"));
    let Rows { cold, unchanged, changed, unwatched, looked, fetch, warm, .. } = &rows;
    for row in [cold, unchanged, changed, unwatched, looked, fetch, warm] {
        table::print(row);
    }
    table::figure("calls, nothing changed", rows.calls, 1.0, "calls");
    let surplus = "content sent beyond the changed files (no digests), 1 % changed";
    table::figure(surplus, rows.surplus, 1.0, "%");
}

/// What a cold archive takes, and what is compared with other programs.
async fn measure(bench: &Bench, tree: &Path, git: &str, round: usize, rows: &mut Rows) -> Took {
    let source = tree.display();
    let at = |name: &str| bench.at(name).display().to_string();
    let tar = shell(&format!("tar c -C {source} . | zstd -q -1 > {}", at("tar"))).await.0;
    let (cold, digest) = bench.archive("home", tree).await;
    rows.cold.note(cold, tar);

    let status = format!("cd {source} && {git} status > /dev/null");
    shell(&status).await;
    let status = shell(&status).await.0;
    let before = bench.calls().await;
    let (unchanged, again) = bench.archive("home", tree).await;
    assert_eq!(again, digest);
    rows.calls = rows.calls.max(bench.calls().await - before);
    rows.unchanged.note(unchanged, status);
    rows.looked.note(look(tree), cold);

    let bytes = bench.metric("cas_written_bytes_total").await;
    let memory = in_memory(tree).await;
    let copy = format!("cp -r {} {}", memory.path().join("tree").display(), at("copy"));
    let copy = shell(&copy).await.0;
    drop(memory);
    rows.fetch.note(bench.download("bot", &digest, "cold").await, copy + transfer(bytes as u64));
    let reflink = shell(&format!("cp -r --reflink=auto {source} {}", at("reflink"))).await.0;
    rows.warm.note(bench.download("bot", &digest, "warm").await, reflink);
    let same = format!("diff -r {source} {} && diff -r {source} {}", at("cold"), at("warm"));
    if round == 0 {
        shell(&same).await;
    }
    cold
}

/// Archives after changes, beside a cold one.
async fn measure_changes(
    bench: &mut Bench,
    tree: &Path,
    round: usize,
    files: usize,
    cold: Took,
    rows: &mut Rows,
) {
    trees::change(tree, files, 2 * round);
    rows.unwatched.note(bench.archive("home", tree).await.0, cold);

    // Who watches has to be there when the tree is archived before the change.
    bench.watch("home", tree).await;
    bench.archive("home", tree).await;
    // Content as it came over the wire: blobs and the manifest's patch. Names of blobs and framing are about 150 bytes a blob.
    let received = bench.metric("cas_received_bytes_total").await;
    let changed = trees::change(tree, files, 2 * round + 1) as f64;
    rows.changed.note(bench.archive("home", tree).await.0, cold);
    let sent = bench.metric("cas_received_bytes_total").await - received;
    rows.surplus = rows.surplus.max((sent - changed) / changed * 100.0);
}

/// Reads all directories, and asks for size and times of each file in them.
fn look(tree: &Path) -> Took {
    let below = |dir: PathBuf| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let directories: Vec<PathBuf> = below(tree.to_owned()).flat_map(below).collect();
    let each = |_: &mut (), directory: &PathBuf| {
        let sizes = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        black_box(sizes.sum::<u64>());
    };
    on_all_cores(&directories, || (), each)
}
