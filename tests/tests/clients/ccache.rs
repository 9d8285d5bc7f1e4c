//! ccache over HTTP.

use crate::support::{Cache, client, finished};
use std::{collections::BTreeMap, fs};
use tokio::process::Command;

/// Compiles with an empty local cache; the client's statistics of that.
async fn compile(cache: &Cache, storage: &str) -> BTreeMap<String, u64> {
    let ccache = client("ccache").await;
    let dir = cache.path("local");
    let _ = fs::remove_dir_all(&dir);
    let command = |args: &[&str]| {
        let mut command = Command::new(&ccache);
        command.args(args).current_dir(cache.path("")).env("CCACHE_DIR", &dir);
        command.env("CCACHE_CONFIGPATH", dir.join("none")).env("CCACHE_REMOTE_STORAGE", storage);
        command
    };
    fs::write(cache.path("a.c"), "int times_42(int x) { return x * 42; }\n").unwrap();
    let _ = fs::remove_file(cache.path("a.o"));
    finished(&mut command(&["gcc", "-c", "a.c", "-o", "a.o"])).await.expect(0);
    assert!(cache.path("a.o").exists());
    let statistics = finished(&mut command(&["--print-stats"])).await.expect(0).stdout;
    let lines = statistics.lines().filter_map(|line| line.split_once('\t'));
    lines.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

async fn hits_on_second_compilation(cache: &Cache, storage: &str, route: &str) {
    let cold = compile(cache, storage).await;
    assert_eq!((cold["remote_storage_error"], cold["remote_storage_hit"]), (0, 0), "{cold:#?}");
    assert!(cold["remote_storage_write"] >= 2, "{cold:#?}");
    assert_eq!(cache.calls(&format!("PUT {route}")).await, cold["remote_storage_write"]);

    let read = cache.calls(&format!("GET {route}")).await;
    let warm = compile(cache, storage).await;
    let expected = (0, 1, 0);
    let seen = (warm["remote_storage_error"], warm["remote_storage_hit"], warm["remote_storage_write"]);
    assert_eq!(seen, expected, "{warm:#?}");
    assert_eq!(cache.calls(&format!("GET {route}")).await - read, warm["remote_storage_read_hit"]);
}

#[tokio::test]
async fn layout_bazel_in_the_action_cache_when_it_is_not_validated() {
    let cache = Cache::start(&["--http-ac-validation=false"]).await;
    let storage = format!("http://{}|layout=bazel", cache.address());
    hits_on_second_compilation(&cache, &storage, "/ac").await;
}

#[tokio::test]
async fn every_layout_below_a_prefix_of_keys() {
    for layout in ["bazel", "flat", "subdirs"] {
        let cache = Cache::start(&[]).await;
        let storage = format!("http://{}/ccache|layout={layout}", cache.address());
        hits_on_second_compilation(&cache, &storage, "/ccache").await;
    }
}
