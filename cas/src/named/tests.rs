use super::*;
use std::os::unix::fs::symlink;

struct Bench {
    dir: tempfile::TempDir,
    options: NamedCacheOptions,
}

impl Bench {
    /// The disk of the tests may be as full as it likes.
    fn new() -> Self {
        let options = NamedCacheOptions { min_free: 0, ..NamedCacheOptions::default() };
        Self { dir: tempfile::tempdir().unwrap(), options }
    }

    fn open(&self) -> NamedCaches {
        NamedCaches::open(&self.dir.path().join("named"), self.options).unwrap()
    }

    fn tree(&self, name: &str) -> PathBuf {
        let tree = self.dir.path().join(name);
        fs::create_dir_all(&tree).unwrap();
        tree
    }

    /// Fills a cache with so many bytes and has it used so many seconds ago.
    fn filled(&self, name: &str, bytes: usize, seconds: u64) {
        let (caches, tree, cache) = (self.open(), self.tree("filling"), named(&format!("{name}=c")));
        caches.install(&cache, &tree).unwrap();
        fs::write(tree.join("c/file"), vec![b'x'; bytes]).unwrap();
        caches.uninstall(&cache, &tree).unwrap();
        let size = File::open(caches.cache(&cache.name).join("bytes")).unwrap();
        let now = size.metadata().unwrap().modified().unwrap();
        size.set_modified(now - Duration::from_secs(seconds)).unwrap();
    }

    fn names(&self) -> Vec<String> {
        self.open().names().unwrap().iter().map(ToString::to_string).collect()
    }
}

fn named(text: &str) -> NamedCache {
    text.parse().unwrap()
}

#[test]
fn a_cache_comes_back_with_what_was_put_into_it() {
    let bench = Bench::new();
    let (caches, first, second) = (bench.open(), bench.tree("first"), bench.tree("second"));
    let cache = named("deps=a/b/c");
    assert_eq!(caches.install(&cache, &first).unwrap(), Installed::Cold);
    fs::write(first.join("a/b/c/file"), "kept").unwrap();
    assert_eq!(caches.names().unwrap(), [], "it is out");
    caches.uninstall(&cache, &first).unwrap();
    assert!(!first.join("a/b/c").exists());
    assert_eq!(bench.open().names().unwrap(), std::slice::from_ref(&cache.name));

    let elsewhere = named("deps=x");
    fs::create_dir(second.join("x")).unwrap();
    assert_eq!(bench.open().install(&elsewhere, &second).unwrap(), Installed::Warm);
    assert_eq!(fs::read_to_string(second.join("x/file")).unwrap(), "kept");
    // Somebody else wants it meanwhile; the one that comes back later stays.
    assert_eq!(caches.install(&cache, &first).unwrap(), Installed::Cold);
    fs::write(first.join("a/b/c/file"), "newer").unwrap();
    caches.uninstall(&elsewhere, &second).unwrap();
    caches.uninstall(&cache, &first).unwrap();
    caches.install(&elsewhere, &second).unwrap();
    assert_eq!(fs::read_to_string(second.join("x/file")).unwrap(), "newer");
}

#[test]
fn what_is_empty_or_no_directory_any_more_is_not_kept() {
    let bench = Bench::new();
    let (caches, tree) = (bench.open(), bench.tree("tree"));
    let outside = bench.tree("outside");
    fs::create_dir(outside.join("c")).unwrap();
    fs::write(outside.join("c/precious"), "x").unwrap();
    let cache = named("n=d/c");
    let spoils: [fn(&Path, &Path); 4] = [
        |_, _| {},
        |tree, _| fs::remove_dir(tree.join("d/c")).unwrap(),
        |tree, outside| {
            fs::remove_dir(tree.join("d/c")).unwrap();
            symlink(outside.join("c"), tree.join("d/c")).unwrap();
        },
        |tree, outside| {
            fs::remove_dir_all(tree.join("d")).unwrap();
            symlink(outside, tree.join("d")).unwrap();
        },
    ];
    for spoil in spoils {
        assert_eq!(caches.install(&cache, &tree).unwrap(), Installed::Cold);
        spoil(&tree, &outside);
        caches.uninstall(&cache, &tree).unwrap();
        assert_eq!(caches.names().unwrap(), []);
        remove(bench.dir.path(), OsStr::new("tree")).unwrap();
        fs::create_dir(&tree).unwrap();
    }
    assert!(outside.join("c/precious").exists());
}

#[test]
fn a_cache_is_not_put_over_inputs_or_through_their_symlinks() {
    let bench = Bench::new();
    let (caches, tree) = (bench.open(), bench.tree("tree"));
    fs::create_dir_all(tree.join("full/dir")).unwrap();
    fs::write(tree.join("file"), "x").unwrap();
    symlink(bench.tree("outside"), tree.join("link")).unwrap();
    for path in ["full", "file", "file/c", "link", "link/c"] {
        let error = caches.install(&named(&format!("n={path}")), &tree).unwrap_err();
        assert!(matches!(&error, Error::Invalid { reason } if reason.contains("the input has")), "{error}");
    }
    assert_eq!(fs::read_dir(bench.tree("outside")).unwrap().count(), 0);
}

#[test]
fn closed_directories_move_too() {
    let bench = Bench::new();
    let (caches, tree) = (bench.open(), bench.tree("tree"));
    let cache = named("n=sealed/c");
    fs::create_dir(tree.join("sealed")).unwrap();
    fs::set_permissions(tree.join("sealed"), Permissions::from_mode(0o555)).unwrap();
    caches.install(&cache, &tree).unwrap();
    fs::create_dir(tree.join("sealed/c/inner")).unwrap();
    for closed in ["sealed/c/inner", "sealed/c", "sealed"] {
        fs::set_permissions(tree.join(closed), Permissions::from_mode(0o500)).unwrap();
    }
    caches.uninstall(&cache, &tree).unwrap();
    assert_eq!(bench.names(), ["n"]);
    let greedy = NamedCacheOptions { max_caches: 0, ..bench.options };
    NamedCaches::open(&bench.dir.path().join("named"), greedy).unwrap();
    assert_eq!(fs::read_dir(caches.leaving()).unwrap().count(), 0);
}

#[test]
fn the_least_recently_used_go_when_there_are_too_many_or_too_much() {
    let mut bench = Bench::new();
    for (name, bytes, seconds) in [("a", 1000, 40), ("b", 2000, 50), ("c", 3000, 30), ("d", 4000, 20)] {
        bench.filled(name, bytes, seconds);
    }
    assert_eq!(bench.names(), ["d", "c", "a", "b"], "the last one used comes first");
    bench.options.max_caches = 3;
    assert_eq!(bench.names(), ["d", "c", "a"]);
    bench.options.max_bytes = 7999;
    assert_eq!(bench.names(), ["d", "c"]);
    bench.options.max_age = Duration::from_secs(25);
    assert_eq!(bench.names(), ["d"]);
    // No disk has as much.
    bench.options.min_free = 1 << 62;
    assert_eq!(bench.names(), Vec::<String>::new());
    assert_eq!(fs::read_dir(bench.dir.path().join("named/leaving")).unwrap().count(), 0);
}

#[test]
fn what_a_killed_process_left_is_used_or_removed() {
    let bench = Bench::new();
    bench.filled("a", 10, 0);
    let caches = bench.open();
    // Killed while it took a cache back, and while it removed one.
    fs::remove_file(caches.cache(&named("a=x").name).join("bytes")).unwrap();
    fs::create_dir_all(caches.leaving().join("half/tree")).unwrap();
    assert_eq!(bench.names(), ["a"]);
    assert_eq!(fs::read_dir(caches.leaving()).unwrap().count(), 0);
    let tree = bench.tree("tree");
    assert_eq!(bench.open().install(&named("a=x"), &tree).unwrap(), Installed::Warm);
}
