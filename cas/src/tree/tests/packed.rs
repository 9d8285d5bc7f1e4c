//! Trees of many small files, whose blobs the cache packs.

use super::*;
use crate::Range;
use futures::TryStreamExt as _;

/// So many files in a few directories, some of them equal.
fn many(count: usize) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for number in 0..count {
        let bytes = noise(number as u64 / 2, number % 2000);
        write(&root.path().join(format!("d{}/f{number}", number % 7)), &bytes);
    }
    root
}

fn packs(cache: &Cache) -> Vec<PathBuf> {
    fs::read_dir(cache.dir.path().join("packs")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_tree_of_small_files_is_laid_out_of_packs_and_again_when_they_were_changed() {
    let (root, store) = (many(500), Recording::new(MemoryStore::new()));
    let digest = archive(&store, root.path()).await;
    let home = Cache::new();
    let Cache { dir, cache } = &home;
    let expected = contents(root.path());
    let lay_out = async |name: &str| {
        let target = dir.path().join(name);
        let begun = fetch_into(&store, cache, (Some(digest), &[]), &target, &Silent).await.unwrap();
        let fetched = begun.finish().unwrap();
        assert_eq!(contents(&target), expected, "{name}");
        fetched
    };
    let held = lay_out("cold").await;
    let [pack] = &packs(&home)[..] else { panic!("one pack is expected") };
    assert_eq!(lay_out("warm").await.cold_items, 0);

    // Who has fetched it still has it, whatever another process removes.
    fs::remove_file(pack).unwrap();
    let target = dir.path().join("held");
    let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
    assert!(fetched.cold_items > 200, "it came again");
    drop(held);
    fs::remove_file(&packs(&home)[0]).unwrap();
    materialize(&fetched, cache, &target).unwrap();
    assert_eq!(contents(&target), expected);

    drop(fetched);
    lay_out("again").await;
    let pack = packs(&home).pop().unwrap();
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().write(true).open(&pack).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"!", 1000).unwrap();
    let before = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(9);
    file.set_modified(before).unwrap();
    assert!(lay_out("changed").await.cold_items > 200);
}

#[tokio::test]
async fn parts_of_packed_blobs_are_read() {
    let (root, store) = (many(100), MemoryStore::new());
    let digest = archive(&store, root.path()).await;
    let Cache { cache, .. } = &Cache::new();
    let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
    let disk = crate::disk::DiskStore::new(cache.clone());
    for digest in fetched.isolated.files.values().filter_map(Entry::digest) {
        let whole = store.get(digest).await.unwrap();
        assert_eq!(disk.get(digest).await.unwrap(), whole);
        let range = Range { offset: digest.size() / 3, limit: Some(digest.size() / 2) };
        let part: Vec<bytes::Bytes> = disk.read(digest, range).await.unwrap().try_collect().await.unwrap();
        assert_eq!(part.concat(), range.of(&whole).unwrap());
    }
}
