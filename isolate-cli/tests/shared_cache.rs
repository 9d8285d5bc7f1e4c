//! Several processes on one local cache, of which some are killed.
#![expect(clippy::unwrap_used, reason = "tests may, also in their helpers")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const FILES: usize = 300;

/// Every so many files is one that is no part of a pack.
const LARGE: usize = 3;

struct Bench {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("tree")).unwrap();
        for number in 0..FILES {
            fs::write(root.join("tree").join(number.to_string()), content(number)).unwrap();
        }
        Self { _dir: dir, root }
    }

    /// Lays the tree out by way of the cache.
    fn remap(&self, name: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isolate"));
        command.args(["remap", "tree", "--no-hash-cache", "-o"]).arg(self.root.join(name));
        command.current_dir(&self.root).env("XDG_CACHE_HOME", self.root.join("cache"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn cache(&self, name: &str) -> PathBuf {
        self.root.join("cache/isoswarm/blobs").join(name)
    }

    /// Files of one kind in the cache, and their bytes in blocks of the disk.
    fn files(&self, kind: &str) -> (u64, u64) {
        let files = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
        let is_dir = |file: &fs::DirEntry| file.file_type().is_ok_and(|kind| kind.is_dir());
        let (shards, flat): (Vec<_>, Vec<_>) = files(self.cache(kind)).partition(is_dir);
        let all = flat.into_iter().chain(shards.iter().flat_map(|shard| files(shard.path())));
        all.fold((0, 0), |(count, bytes), file| {
            (count + 1, bytes + file.metadata().map_or(0, |found| found.len().next_multiple_of(4096)))
        })
    }

    fn is_whole(&self, name: &str) -> bool {
        let is_right =
            |number: usize| fs::read(self.root.join(name).join("tree").join(number.to_string())).unwrap();
        (0..FILES).all(|number| is_right(number) == content(number).as_bytes())
    }
}

fn content(number: usize) -> String {
    let words = if number.is_multiple_of(LARGE) { 50_000 } else { 100 + number * 10 };
    format!("{number:3} ").repeat(words)
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn processes_share_a_cache_and_the_death_of_one_harms_none() {
    let bench = Bench::new();
    let mut killed = Vec::new();
    for round in 0..4_u64 {
        let mut victim = bench.remap(&format!("victim-{round}"));
        let mut others: Vec<Child> =
            (0..2).map(|number| bench.remap(&format!("out-{round}-{number}"))).collect();
        // At some other point of its work each time; the first one while the cache is being filled.
        while bench.files("blobs").0 < 5 + 25 * round && victim.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        victim.kill().unwrap();
        killed.push(victim.wait().unwrap());
        for (number, other) in others.iter_mut().enumerate() {
            assert!(other.wait().unwrap().success());
            assert!(bench.is_whole(&format!("out-{round}-{number}")));
        }
    }
    assert!(killed.iter().any(|status| status.code().is_none()), "none was killed in time: {killed:?}");

    assert!(bench.remap("last").wait().unwrap().success());
    assert!(bench.is_whole("last"));
    assert_eq!(entries(&bench.cache("staging")), 0, "what the dead left is gone");
    let (blobs, packs) = (bench.files("blobs"), bench.files("packs"));
    // Small ones are packed where many of them come in one batch.
    assert!(
        ((FILES / LARGE) as u64 + 1..=FILES as u64).contains(&blobs.0) && packs.0 > 0,
        "{blobs:?} {packs:?}"
    );
    let usage = fs::read_to_string(bench.cache("usage")).unwrap();
    let counted: Vec<u64> = usage.split_whitespace().flat_map(str::parse).collect();
    let (bytes, count) = (blobs.1 + packs.1, FILES as u64 + 1);
    assert!(counted[0] >= bytes && counted[1] >= count, "never too little: {usage} for {count} and {bytes}");
}
