//! A process that is killed while it lends: whatever is left half done, nobody gets wrong bytes.

use super::*;
use runtime::{Clock as _, SystemClock};
use std::process::{Command, Stdio};

/// Set in the environment of the process that is killed: the directory.
const VICTIM: &str = "ISOSWARM_TEST_LENDS_IN";

const ROUNDS: u64 = 24;

async fn fetched(large: &LargeFile, cache: &DiskCache) -> Fetched {
    let files = BTreeMap::from([(path("large"), Entry::File { digest: large.digest, mode: Some(0o755) })]);
    let manifest = Isolated { files, ..Isolated::new(FUNCTION) };
    let manifest = store_manifest(&large.store, &manifest).await;
    fetch(&large.store, cache, manifest, &Silent).await.unwrap()
}

fn cache_in(dir: &Path) -> DiskCache {
    let options = DiskCacheOptions { min_free: 0, ..DiskCacheOptions::default() };
    DiskCache::open(&dir.join("cache"), options).unwrap()
}

/// Lays a tree out and spoils it, again and again.
async fn lend_until_killed(dir: &Path) {
    let large = LargeFile::new().await;
    let cache = cache_in(dir);
    for number in 0u64.. {
        let tree = dir.join(format!("tree-{}-{number}", std::process::id()));
        materialize(&fetched(&large, &cache).await, &cache, &tree).unwrap();
        fs::write(dir.join("ready"), "").unwrap();
        if number % 2 == 0 {
            let file = tree.join("large");
            fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
            File::options().write(true).open(file).unwrap().write_all(b"!").unwrap();
        }
        fs::remove_dir_all(tree).unwrap();
    }
}

/// Trees that a killed process has left.
fn left(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("tree-")).collect()
}

#[tokio::test]
async fn a_kill_while_a_file_is_lent_costs_nobody_the_right_bytes() {
    if let Some(dir) = std::env::var_os(VICTIM) {
        return lend_until_killed(Path::new(&dir)).await;
    }
    let (dir, large, clock) = (tempfile::tempdir().unwrap(), LargeFile::new().await, SystemClock::new());
    let module = module_path!().split_once("::").unwrap().1;
    let name = format!("{module}::a_kill_while_a_file_is_lent_costs_nobody_the_right_bytes");
    for round in 0..ROUNDS {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let ready = dir.path().join("ready");
        while !ready.exists() {
            assert!(victim.try_wait().unwrap().is_none());
            clock.sleep(Duration::from_millis(1)).await;
        }
        clock.sleep(Duration::from_micros(round * 1_700 % 23_000)).await;
        victim.kill().unwrap();
        victim.wait().unwrap();
        fs::remove_file(ready).unwrap();
        let cache = cache_in(dir.path());
        // Somebody goes on with what it left, beside others and before them.
        for tree in left(dir.path()).iter().filter(|tree| round % 2 == 0 && tree.join("large").exists()) {
            File::options().append(true).open(tree.join("large")).unwrap().write_all(b"!").unwrap();
        }
        for remains in [true, false] {
            let own = dir.path().join("own");
            materialize(&fetched(&large, &cache).await, &cache, &own).unwrap();
            assert!(fs::read(own.join("large")).unwrap() == large.bytes, "round {round}");
            assert_eq!(mode(&own.join("large")), 0o555);
            let lent = fs::metadata(own.join("large")).unwrap().nlink() > 1;
            fs::remove_dir_all(own).unwrap();
            if remains {
                left(dir.path()).iter().for_each(|tree| fs::remove_dir_all(tree).unwrap());
            } else {
                assert_eq!(lent, !large.can_clone(), "round {round}: it is lent as before");
            }
        }
    }
}
