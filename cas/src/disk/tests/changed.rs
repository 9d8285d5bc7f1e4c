//! Whatever somebody does to a file of the cache, it is not used as what it was.

use super::*;
use std::{fs::File, io::Write as _, os::unix::fs::MetadataExt as _};

type Change = fn(&Path);

fn writable(path: &Path) -> File {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    File::options().write(true).open(path).unwrap()
}

const CHANGES: [(&str, Change); 7] = [
    ("other bytes of the same size", |path| writable(path).write_all(&noise(9, 4096)).unwrap()),
    ("one byte", |path| writable(path).write_all(b"!").unwrap()),
    ("other bytes, and the time put back", |path| {
        let before = fs::metadata(path).unwrap().modified().unwrap();
        let mut file = writable(path);
        file.write_all(&noise(9, 4096)).unwrap();
        file.set_modified(before).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
    }),
    ("another file in its place, with its time", |path| {
        let before = fs::metadata(path).unwrap().modified().unwrap();
        let other = path.with_extension("other");
        fs::write(&other, noise(9, 4096)).unwrap();
        File::open(&other).unwrap().set_modified(before).unwrap();
        fs::rename(other, path).unwrap();
    }),
    ("written to through a hard link", |path| {
        let other = path.with_extension("link");
        fs::hard_link(path, &other).unwrap();
        writable(&other).write_all(b"!").unwrap();
        fs::remove_file(other).unwrap();
    }),
    ("shorter", |path| writable(path).set_len(4095).unwrap()),
    ("longer", |path| writable(path).set_len(4097).unwrap()),
];

#[test]
fn a_changed_file_is_dropped_before_it_is_used_again() {
    for (name, change) in CHANGES {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path(), 1 << 30);
        let digest = insert(&cache, 1);
        let path = cache.path(digest);
        // Until a change is not hidden behind the last use.
        let used = fs::metadata(&path).unwrap().modified().unwrap();
        wait(path.parent().unwrap(), used, Duration::from_millis(150));
        change(&path);
        // Another process, and one that has used it before.
        assert_eq!(open(dir.path(), 1 << 30).missing(&[digest]).unwrap(), [digest], "{name}");
        // One that is too short may be being written.
        assert_eq!(path.exists(), name == "shorter", "{name}");
        insert(&cache, 1);
        assert_eq!(cache.read(digest).unwrap().unwrap(), noise(1, 4096), "{name}");
    }
}

#[test]
fn a_file_whose_bytes_are_right_is_hashed_once_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let digest = insert(&cache, 1);
    let path = cache.path(digest);
    assert!(seal::is_sealed(&fs::metadata(&path).unwrap(), digest));
    // As an older program, or a copy of the whole cache, leaves it.
    let (copy, other) = (path.with_extension("copy"), FUNCTION.digest(b"other"));
    fs::copy(&path, &copy).unwrap();
    fs::rename(&copy, &path).unwrap();
    assert!(!seal::is_sealed(&fs::metadata(&path).unwrap(), digest));
    let inode = fs::metadata(&path).unwrap().ino();
    assert_eq!(cache.missing(&[digest]).unwrap(), []);
    let found = fs::metadata(&path).unwrap();
    assert!(found.ino() == inode && seal::is_sealed(&found, digest));
    assert!(!seal::is_sealed(&found, other), "the seal is one of the name");
}
