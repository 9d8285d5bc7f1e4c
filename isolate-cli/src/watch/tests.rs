//! Real directories that are watched, and those who ask.

use super::{
    events::Event,
    journal::Told,
    place::Place,
    watched::{WatchError, Watched},
};
use rustix::fs::{CWD, RenameFlags, inotify::ReadFlags, renameat_with};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

mod random;
mod serving;

/// A tree, and who watches it.
struct Bench {
    dir: TempDir,
    watched: Watched,
    token: Option<String>,
}

impl Bench {
    fn new() -> Self {
        Self::of(10_000)
    }

    /// Who keeps `most` paths.
    fn of(most: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("root");
        for name in ["dir/file", "dir/deep/file", "file"] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name).unwrap();
        }
        let mut bench = Self { dir, watched: Watched::begin(&root, "t".into(), most).unwrap(), token: None };
        assert_eq!(bench.told(), None, "nothing is known of what was before");
        bench
    }

    fn at(&self, path: &str) -> PathBuf {
        self.watched.root().join(path)
    }

    fn write(&self, path: &str) {
        fs::write(self.at(path), "written").unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    /// What changed since it was asked for last.
    fn told(&mut self) -> Option<BTreeSet<String>> {
        let Told { token, paths } = self.watched.changes(self.token.as_deref()).unwrap();
        self.token = Some(token);
        Some(paths?.into_iter().collect())
    }

    /// Exactly these changed.
    fn expect<const N: usize>(&mut self, paths: [&str; N]) {
        assert_eq!(self.told(), Some(paths.map(str::to_owned).into()));
    }
}

#[test]
fn what_happens_to_files_is_told_once() {
    let mut bench = Bench::new();
    bench.expect([]);
    bench.write("file");
    bench.write("dir/deep/file");
    bench.expect(["file", "dir/deep/file"]);
    bench.expect([]);
    fs::set_permissions(bench.at("file"), fs::Permissions::from_mode(0o700)).unwrap();
    bench.expect(["file"]);
    bench.rename("file", "dir/other");
    symlink("other", bench.at("dir/link")).unwrap();
    fs::remove_file(bench.at("dir/file")).unwrap();
    bench.expect(["file", "dir/other", "dir/link", "dir/file"]);
    // Looking is no change.
    fs::read(bench.at("dir/other")).unwrap();
    fs::read_dir(bench.at("dir")).unwrap().count();
    bench.expect([]);
    // Written to while it stays open.
    let mut file = fs::File::options().append(true).open(bench.at("dir/other")).unwrap();
    for _ in 0..2 {
        std::io::Write::write_all(&mut file, b"more").unwrap();
        bench.expect(["dir/other"]);
    }
    drop(file);
    bench.expect(["dir/other"]);
}

#[test]
fn directories_that_come_are_told_and_watched_however_deep() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.at("new/a/b")).unwrap();
    bench.write("new/a/b/c");
    let told = bench.told().unwrap();
    assert!(told.contains("new"), "{told:?}");
    bench.write("new/a/b/c");
    bench.expect(["new/a/b/c"]);
    fs::remove_dir_all(bench.at("new")).unwrap();
    assert!(bench.told().unwrap().contains("new"));
    // Another one of that name.
    fs::create_dir(bench.at("new")).unwrap();
    bench.expect(["new"]);
    bench.write("new/x");
    bench.expect(["new/x"]);
}

#[test]
fn directories_that_are_renamed_are_told_by_both_names_and_then_by_the_new_one() {
    let mut bench = Bench::new();
    bench.rename("dir", "other");
    bench.expect(["dir", "other"]);
    bench.write("other/deep/file");
    bench.expect(["other/deep/file"]);
    // Into one that is not watched yet.
    fs::create_dir(bench.at("new")).unwrap();
    bench.rename("other", "new/dir");
    fs::create_dir(bench.at("other")).unwrap();
    assert!(bench.told().unwrap().is_superset(&["new", "other"].map(str::to_owned).into()));
    bench.write("new/dir/deep/file");
    bench.write("other/x");
    bench.expect(["new/dir/deep/file", "other/x"]);
    // There and back again.
    bench.rename("new/dir", "away");
    bench.rename("away", "new/dir");
    bench.told().unwrap();
    bench.write("new/dir/deep/file");
    bench.expect(["new/dir/deep/file"]);
    // Over one that is empty.
    fs::create_dir(bench.at("empty")).unwrap();
    bench.told().unwrap();
    bench.rename("new/dir", "empty");
    bench.expect(["new/dir", "empty"]);
    bench.write("empty/deep/file");
    bench.expect(["empty/deep/file"]);
}

#[test]
fn directories_that_change_places_are_both_watched_where_they_are() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.at("other/deep")).unwrap();
    bench.told().unwrap();
    for _ in 0..3 {
        let exchange = RenameFlags::EXCHANGE;
        renameat_with(CWD, bench.at("dir"), CWD, bench.at("other"), exchange).unwrap();
        bench.expect(["dir", "other"]);
        let all = ["dir/x", "dir/deep/x", "other/x", "other/deep/x"];
        all.iter().for_each(|path| bench.write(path));
        bench.expect(all);
    }
}

#[test]
fn directories_that_come_from_outside_are_watched_and_those_that_leave_no_more() {
    let mut bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    fs::rename(bench.at("dir"), &outside).unwrap();
    bench.expect(["dir"]);
    fs::write(outside.join("deep/file"), "elsewhere").unwrap();
    bench.expect([]);
    fs::rename(&outside, bench.at("back")).unwrap();
    bench.expect(["back"]);
    bench.write("back/deep/file");
    bench.expect(["back/deep/file"]);
}

#[test]
fn one_that_nobody_may_read_is_watched_once_somebody_may() {
    let mut bench = Bench::new();
    let mode = |mode| fs::set_permissions(bench.at("dir/deep"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0);
    mode(0o755);
    bench.expect(["dir/deep"]);
    bench.write("dir/deep/file");
    bench.expect(["dir/deep/file"]);
}

#[test]
fn a_name_that_cannot_be_told_is_told_by_its_directory() {
    use std::os::unix::ffi::OsStrExt as _;
    let mut bench = Bench::new();
    let odd = std::ffi::OsStr::from_bytes(b"odd \xff");
    fs::write(bench.at("dir").join(odd), "x").unwrap();
    bench.expect(["dir"]);
    fs::create_dir(bench.at("dir/back\\slash")).unwrap();
    fs::write(bench.at("dir/back\\slash/x"), "x").unwrap();
    bench.expect(["dir"]);
    fs::write(bench.at("").join(odd), "x").unwrap();
    assert_eq!(bench.told(), None, "in the root that is everything");
    bench.expect([]);
}

/// Runs a test of this program as a user who is nobody.
fn as_nobody(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = dir.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(["--exact", test]);
    let output = command.env("TMPDIR", dir.path()).output();
    let output = output.unwrap_or_else(|error| panic!("setpriv: {error}: install util-linux"));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{output:?}");
}

#[test]
fn what_may_not_be_read_counts_as_changed_until_it_may() {
    if rustix::process::geteuid().is_root() {
        // Who may read everything.
        return as_nobody("watch::tests::what_may_not_be_read_counts_as_changed_until_it_may");
    }
    let mut bench = Bench::new();
    let mode = |bench: &Bench, path, mode| {
        fs::set_permissions(bench.at(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    // One that is watched stays so, but what comes below it does not become so.
    mode(&bench, "dir", 0o300);
    bench.expect(["dir"]);
    bench.expect(["dir"]);
    mode(&bench, "dir", 0o755);
    bench.expect(["dir"]);
    bench.expect([]);
    mode(&bench, "", 0o300);
    fs::create_dir(bench.at("new")).unwrap();
    (0..2).for_each(|_| assert_eq!(bench.told(), None));
    bench.write("new/unseen");
    mode(&bench, "", 0o755);
    assert_eq!(bench.told(), None);
    bench.write("new/x");
    bench.write("dir/deep/x");
    bench.expect(["new/x", "dir/deep/x"]);
    // Its name is gone before it may be read.
    mode(&bench, "dir/deep", 0);
    bench.expect(["dir/deep"]);
    bench.rename("dir/deep", "dir/other");
    bench.expect(["dir/deep", "dir/other"]);
    bench.expect(["dir/other"]);
    mode(&bench, "dir/other", 0o755);
    bench.expect(["dir/other"]);
    bench.write("dir/other/x");
    bench.expect(["dir/other/x"]);
    mode(&bench, "", 0);
    assert!(matches!(Watched::begin(&bench.at(""), "t".into(), 9), Err(WatchError::Io { .. })));
    mode(&bench, "", 0o755);
}

#[test]
fn of_what_is_at_two_places_nothing_is_certain() {
    let mut bench = Bench::new();
    // As if it had been found by another path that it has, too.
    bench.watched.find_twice().unwrap();
    assert_eq!(bench.told(), None);
    bench.expect([]);
    bench.watched.find_twice().unwrap();
    (0..3).for_each(|_| assert_eq!(bench.told(), None));
}

#[test]
fn after_events_were_lost_anything_may_have_changed_and_all_is_watched_again() {
    let mut bench = Bench::new();
    fs::create_dir(bench.at("made meanwhile")).unwrap();
    bench.rename("dir/deep", "moved meanwhile");
    let lost = Event { watch: -1, what: ReadFlags::QUEUE_OVERFLOW, name: b"" };
    bench.watched.lose(&lost).unwrap();
    assert_eq!(bench.told(), None);
    bench.told().unwrap();
    bench.write("made meanwhile/x");
    bench.write("moved meanwhile/file");
    bench.expect(["made meanwhile/x", "moved meanwhile/file"]);
}

#[test]
fn where_more_changes_than_is_kept_anything_may_have() {
    let mut bench = Bench::of(3);
    for round in 0..3 {
        (0..3).for_each(|number| bench.write(&format!("{round}-{number}")));
        assert_eq!(bench.told().map(|told| told.len()), if round == 0 { Some(3) } else { None });
    }
}

#[test]
fn a_root_that_moved_or_went_is_watched_no_more() {
    let is_gone = |mut bench: Bench| {
        let outcome = bench.watched.changes(None);
        assert!(matches!(outcome, Err(WatchError::Gone)), "{outcome:?}");
        let gone = bench.watched.root().to_owned();
        assert!(matches!(Watched::begin(&gone.join("gone"), "t".into(), 1), Err(WatchError::Gone)));
    };
    let bench = Bench::new();
    fs::rename(bench.at(""), bench.dir.path().join("elsewhere")).unwrap();
    is_gone(bench);
    let bench = Bench::new();
    fs::remove_dir_all(bench.at("")).unwrap();
    is_gone(bench);
    // Another one is in its place, and nothing happened to the root itself.
    let bench = Bench::new();
    let above = bench.dir.path().to_owned();
    let aside = above.with_extension("aside");
    fs::rename(&above, &aside).unwrap();
    fs::create_dir_all(above.join("root")).unwrap();
    is_gone(bench);
    fs::remove_dir_all(aside).unwrap();
}
