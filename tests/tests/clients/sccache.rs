//! sccache over WebDAV.

use crate::support::{Cache, client, finished, free_port};
use std::{fs, path::PathBuf, process::Stdio};
use tokio::process::Command;

/// The server process that sccache compiles through. Stopped when dropped.
struct Sccache {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Sccache {
    async fn start(cache: &Cache) -> Self {
        // Before a port is looked for: this may take minutes.
        let program = client("sccache").await;
        let environment = vec![
            ("SCCACHE_SERVER_PORT", free_port().to_string()),
            ("SCCACHE_WEBDAV_ENDPOINT", format!("http://{}", cache.address())),
            ("SCCACHE_WEBDAV_KEY_PREFIX", "/sccache".to_owned()),
            ("SCCACHE_CONF", cache.path("none").to_str().unwrap().to_owned()),
            ("SCCACHE_IDLE_TIMEOUT", "120".to_owned()),
        ];
        let sccache = Self { program, environment };
        // What it starts would keep our pipes open.
        let mut command = sccache.command(&["--start-server"]);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(tests::soon("sccache to start", status).await.unwrap().success());
        sccache
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    async fn compile(&self, cache: &Cache) {
        let mut command = self.command(&["gcc", "-c", "a.c", "-o", "a.o"]);
        finished(command.current_dir(cache.path(""))).await.expect(0);
    }

    async fn statistics(&self) -> serde_json::Value {
        let mut command = self.command(&["--show-stats", "--stats-format", "json"]);
        let text = finished(&mut command).await.expect(0).stdout;
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["stats"].clone()
    }
}

impl Drop for Sccache {
    fn drop(&mut self) {
        let mut command = std::process::Command::new(&self.program);
        command.arg("--stop-server").envs(self.environment.iter().map(|(name, value)| (name, value)));
        // A test that failed before must say why it did, and not why this does.
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

#[tokio::test]
async fn a_second_machine_compiles_nothing() {
    let cache = Cache::start(&[]).await;
    fs::write(cache.path("a.c"), "int times_43(int x) { return x * 43; }\n").unwrap();
    let first = Sccache::start(&cache).await;
    first.compile(&cache).await;
    // The object is on its way to the cache when the compiler's caller already goes on.
    let written = tests::eventually("the object to be written", || async {
        let statistics = first.statistics().await;
        (statistics["cache_writes"] == 1).then_some(statistics)
    })
    .await;
    assert_eq!(written["cache_misses"]["counts"]["C/C++"], 1, "{written:#}");
    assert_eq!(written["cache_write_errors"], 0, "{written:#}");
    drop(first);
    assert!(cache.calls("PUT /sccache").await >= 2, "its check of the store, and the object");

    let read = cache.calls("GET /sccache").await;
    let second = Sccache::start(&cache).await;
    second.compile(&cache).await;
    let statistics = second.statistics().await;
    assert_eq!(statistics["cache_hits"]["counts"]["C/C++"], 1, "{statistics:#}");
    assert_eq!(statistics["compilations"], 0, "{statistics:#}");
    assert_eq!(statistics["cache_read_errors"], 0, "{statistics:#}");
    assert!(cache.calls("GET /sccache").await > read);
}
