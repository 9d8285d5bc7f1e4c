//! The verbs as a library, over a store in memory.
#![expect(clippy::unwrap_used, reason = "tests may, also in their helpers")]

use cas::{
    BlobStoreExt as _, Silent,
    disk::{DiskCache, DiskCacheOptions},
    isolated::Isolated,
    memory::MemoryStore,
    testing::{Call, Recording},
    tree::Broken,
};
use isolate_cli::{
    ArchiveOptions, Archived, Error, RunOptions, WorkItem, archive, archive_batch, download,
    isolate_file::Variables, prepare,
};
use proto::{Digest, DigestFunction};
use runtime::{Exit, Shutdown, SystemClock};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

struct Bench {
    root: TempDir,
    store: Recording<MemoryStore>,
    cache: DiskCache,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(&root.path().join("cache"), DiskCacheOptions::default()).unwrap();
        let bench = Self { root, store: Recording::default(), cache };
        bench.write("src/test/run.sh", "#!/bin/sh\necho ran \"$@\"; cat data/deep/a\n");
        fs::set_permissions(bench.path("src/test/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        bench.write("src/test/data/deep/a", "a\n");
        bench.write("src/test/data/b", "b\n");
        bench.write("src/out/lib", "lib\n");
        bench
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn isolate_file(&self, text: &str) -> Result<WorkItem, Error> {
        self.write("src/test/a.isolate", text);
        let mut variables = Variables::default();
        variables.path.insert("OUT".into(), fs::canonicalize(self.path("src/out")).unwrap());
        WorkItem::from_isolate_file(&self.path("src/test/a.isolate"), &variables, Broken::Refuse)
    }

    async fn archive(&self, item: WorkItem, function: DigestFunction) -> Archived {
        let options = ArchiveOptions {
            function,
            hash_cache: Some(self.path("hashes")),
            ..ArchiveOptions::new().unwrap()
        };
        archive(&self.store, item, &options, Arc::new(Silent)).await.unwrap()
    }

    async fn suite(&self) -> Archived {
        let text = "{'variables': {'command': ['./run.sh'], 'files': ['run.sh', 'data/', '<(OUT)/lib']}}";
        self.archive(self.isolate_file(text).unwrap(), DigestFunction::Blake3).await
    }

    async fn download(&self, digest: Digest, target: &Path) -> Result<(), Error> {
        download(&self.store, &self.cache, digest, target, &Silent, &Shutdown::new()).await.map(|_| ())
    }

    async fn run(&self, digest: Digest, options: RunOptions) -> Result<Exit, Error> {
        let options = RunOptions { work_dir: Some(self.path("work")), ..options };
        let prepared = prepare(&self.store, &self.cache, digest, &options, &Silent, &Shutdown::new()).await?;
        prepared.run(&*SystemClock::shared()).await
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => found.push(path.strip_prefix(dir).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn an_isolate_file_becomes_a_manifest_that_starts_where_the_file_is() {
    let bench = Bench::new();
    let archived = bench.suite().await;
    let manifest = Isolated::parse(&bench.store.inner().get(archived.item.digest).await.unwrap()).unwrap();
    assert_eq!(manifest.command, ["./run.sh"]);
    assert_eq!(manifest.relative_cwd.unwrap().as_str(), "test");
    let paths: Vec<&str> = manifest.files.keys().map(|path| path.as_str()).collect();
    assert_eq!(paths, ["out/lib", "test/data/b", "test/data/deep/a", "test/run.sh"]);
    assert_eq!((archived.item.files, archived.item.manifest.len() as u64), (4, archived.item.digest.size()));
}

#[tokio::test]
async fn an_unchanged_tree_is_one_round_trip_and_what_changed_is_sent() {
    let bench = Bench::new();
    let first = bench.suite().await;
    assert_eq!(bench.store.calls(), [Call::FindMissing(5), Call::WriteBatch(5)]);
    let again = bench.suite().await;
    assert_eq!(bench.store.calls(), [Call::FindMissing(5)]);
    assert_eq!((again.item.digest, again.uploaded.uploaded_blobs), (first.item.digest, 0));
    bench.write("src/test/data/b", "changed\n");
    let changed = bench.suite().await;
    assert_ne!(changed.item.digest, first.item.digest);
    assert_eq!(bench.store.calls(), [Call::FindMissing(5), Call::WriteBatch(2)]);
}

#[tokio::test]
async fn a_batch_sends_once_what_its_work_items_share() {
    let bench = Bench::new();
    let options =
        || ArchiveOptions { hash_cache: Some(bench.path("hashes")), ..ArchiveOptions::new().unwrap() };
    let item = |paths: &[&str]| {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        WorkItem::from_paths(&bench.path("src"), &paths).unwrap()
    };
    let items = vec![(item(&["test"]), options()), (item(&["test/data", "out"]), options())];
    let batch = archive_batch(&bench.store, items, Arc::new(Silent)).await.unwrap();
    // run.sh, a, b, lib, and two manifests.
    assert_eq!(bench.store.calls(), [Call::FindMissing(6), Call::WriteBatch(6)]);
    assert_eq!(batch.uploaded.uploaded_blobs, 6);
    for (item, count) in batch.items.iter().zip([3, 3]) {
        assert_eq!(item.files, count);
        let target = bench.path(&item.digest.hex());
        bench.download(item.digest, &target).await.unwrap();
        assert_eq!(files(&target).len() as u64, count);
    }
}

#[tokio::test]
async fn plain_files_are_packaged_with_every_function() {
    let bench = Bench::new();
    for function in DigestFunction::ALL {
        let paths = [PathBuf::from("test/run.sh"), PathBuf::from("./test/data")];
        let item = WorkItem::from_paths(&bench.path("src"), &paths).unwrap();
        let item = WorkItem { command: vec!["sh".into(), "-c".into(), "exit 4".into()], ..item };
        let archived = bench.archive(item, function).await;
        assert_eq!((archived.item.digest.function(), archived.item.files), (function, 3));
        assert_eq!(bench.run(archived.item.digest, RunOptions::default()).await.unwrap(), Exit::Command(4));
    }
}

#[tokio::test]
async fn a_download_appears_in_a_new_directory_and_fills_an_empty_one() {
    let bench = Bench::new();
    let digest = bench.suite().await.item.digest;
    let all = ["out/lib", "test/data/b", "test/data/deep/a", "test/run.sh"];
    let new = bench.path("new");
    bench.download(digest, &new).await.unwrap();
    assert_eq!(files(&new), all);
    assert_eq!(fs::metadata(new.join("test/run.sh")).unwrap().permissions().mode() & 0o100, 0o100);

    let empty = bench.path("empty");
    fs::create_dir(&empty).unwrap();
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&empty);
    bench.download(digest, &empty.join(".")).await.unwrap();
    assert_eq!((files(&empty), inode(&empty)), (all.map(str::to_owned).to_vec(), before));

    let error = bench.download(digest, &empty).await.unwrap_err();
    assert!(error.to_string().contains("must be a new or an empty directory"), "{error}");
    assert_eq!(error.exit(), Exit::Usage);
    let occupied = bench.download(digest, &empty.join("out/lib")).await.unwrap_err();
    assert_eq!(occupied.exit(), Exit::Usage, "{occupied}");
}

#[tokio::test]
async fn what_is_not_in_the_store_leaves_no_directory_and_is_not_found() {
    let bench = Bench::new();
    let unknown = DigestFunction::Blake3.digest(b"unknown");
    let error = bench.download(unknown, &bench.path("new")).await.unwrap_err();
    assert!(error.to_string().contains(&unknown.to_string()), "{error}");
    assert_eq!(error.exit(), Exit::NotFound);
    let archived = bench.suite().await;
    bench.store.inner().remove(DigestFunction::Blake3.digest(b"b\n"));
    let error = bench.download(archived.item.digest, &bench.path("new")).await.unwrap_err();
    assert_eq!(error.exit(), Exit::NotFound);
    assert!(!bench.path("new").exists());
}

#[tokio::test]
async fn a_run_has_its_arguments_and_outputs_and_leaves_nothing_else() {
    let bench = Bench::new();
    let text = "{'variables': {
        'command': ['sh', '-c', 'cat data/b > $1/copy && echo $ISOLATED_OUTDIR > $1/env; exit $2', 'x'],
        'files': ['data/'],
    }}";
    let archived = bench.archive(bench.isolate_file(text).unwrap(), DigestFunction::Blake3).await;
    let outdir = bench.path("results");
    let options = RunOptions {
        extra_args: vec!["${ISOLATED_OUTDIR}".into(), "9".into()],
        outdir: Some(outdir.clone()),
        work_dir: None,
        named_caches: None,
    };
    assert_eq!(bench.run(archived.item.digest, options.clone()).await.unwrap(), Exit::Command(9));
    assert_eq!(files(&outdir), ["copy", "env"]);
    assert_eq!(fs::read_to_string(outdir.join("copy")).unwrap(), "b\n");
    let real = fs::canonicalize(&outdir).unwrap();
    assert_eq!(fs::read_to_string(outdir.join("env")).unwrap().trim_end(), real.to_str().unwrap());
    assert_eq!(fs::read_dir(bench.path("work")).unwrap().count(), 0);
    let again = bench.run(archived.item.digest, options).await.unwrap_err();
    assert_eq!(again.exit(), Exit::Usage, "{again}");
}

#[tokio::test]
async fn a_command_that_is_missing_or_cannot_be_started_is_told_with_a_remedy() {
    let bench = Bench::new();
    let none = bench.archive(bench.isolate_file("{}").unwrap(), DigestFunction::Blake3).await;
    let error = bench.run(none.item.digest, RunOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("isolate run DIGEST -- COMMAND"), "{error}");
    let extra_args = vec!["./missing".into()];
    let error =
        bench.run(none.item.digest, RunOptions { extra_args, ..RunOptions::default() }).await.unwrap_err();
    assert!(error.to_string().contains("is it among the files"), "{error}");
    assert_eq!((error.exit(), fs::read_dir(bench.path("work")).unwrap().count()), (Exit::Usage, 0));
}

#[test]
fn inputs_that_are_not_as_written_are_refused_where_they_are_named() {
    let bench = Bench::new();
    let refused = [
        ("'gone'", "a.isolate:1:26: input ", "does not exist: build it first"),
        ("'data'", "a.isolate:1:26: input directory ", "must have a trailing slash"),
        ("'run.sh/'", "a.isolate:1:26: input ", "is a file: remove the trailing slash"),
    ];
    for (input, place, problem) in refused {
        let error = bench.isolate_file(&format!("{{'variables': {{'files': [{input}]}}}}")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(place) && text.contains(problem), "{text}");
        assert_eq!(error.exit(), Exit::Usage);
    }
}

#[test]
fn a_description_without_end_is_refused_without_being_read_to_it() {
    let refuse = |path: &str| {
        WorkItem::from_isolate_file(Path::new(path), &Variables::default(), Broken::Refuse).unwrap_err()
    };
    let endless = refuse("/dev/zero");
    assert!(endless.to_string().contains("is larger than the 4194304 bytes"), "{endless}");
    let missing = refuse("/no/such/dir/a.isolate");
    assert_eq!(
        (missing.to_string().as_str(), missing.exit()),
        ("/no/such/dir/a.isolate: no such file or directory", Exit::Usage)
    );
}

#[test]
fn paths_outside_of_the_root_are_refused() {
    let bench = Bench::new();
    for path in ["../cache", "/etc/passwd", "test/../../cache"] {
        let error = WorkItem::from_paths(&bench.path("src"), &[path.into()]).unwrap_err();
        assert!(error.to_string().contains("choose a --root"), "{error}");
    }
}
