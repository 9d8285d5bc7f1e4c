//! Whatever is wrong, a person reads what it is and what to do, a script gets a documented exit code, and servers stay up.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use proto::DigestFunction;
use runtime::{Exit, testing::SmallDisk};
use std::fs;
use tests::{Finished, Program, Suite, System, binary, http};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, process::Command};

fn code(exit: Exit) -> i32 {
    exit.code().into()
}

/// Fails unless stderr has each of these words.
#[track_caller]
fn assert_says(finished: &Finished, words: &[&str]) {
    for word in words {
        assert!(finished.stderr.contains(word), "expected {word:?} in:\n{}", finished.stderr);
    }
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
}

#[tokio::test]
async fn what_a_user_gets_wrong_is_named_with_its_remedy() {
    let system = System::start(0).await;
    let dir = system.path();

    fs::write(dir.join("bad.isolate"), "{\n  'variables': {\n    'fils': ['a.txt'],\n  },\n}\n").unwrap();
    let malformed = system.run("isolate", ["archive", "-i", "bad.isolate"]).await.expect(code(Exit::Usage));
    assert_says(&malformed, &["bad.isolate", "3", "fils", "files"]);

    fs::write(dir.join("gone.isolate"), "{'variables': {'files': ['gone.txt']}}").unwrap();
    let missing = system.run("isolate", ["archive", "-i", "gone.isolate"]).await.expect(code(Exit::Usage));
    assert_says(&missing, &["gone.txt"]);

    let unknown = DigestFunction::Blake3.digest(b"nobody has uploaded this").to_string();
    let download =
        system.run("isolate", ["download", &unknown, "-o", "out"]).await.expect(code(Exit::NotFound));
    assert_says(&download, &[&unknown]);
    assert!(!dir.join("out").exists() || fs::read_dir(dir.join("out")).unwrap().next().is_none());

    let short =
        system.run("isolate", ["download", "blake3:abcd/4", "-o", "out"]).await.expect(code(Exit::Usage));
    assert_says(&short, &["64"]);

    let digest = system.archive(&Suite::new(1, "0")).await;
    fs::create_dir(dir.join("full")).unwrap();
    fs::write(dir.join("full/mine.txt"), "mine").unwrap();
    let refused = system.run("isolate", ["download", &digest, "-o", "full"]).await.expect(code(Exit::Usage));
    assert_says(&refused, &["full", "empty"]);
    assert_eq!(fs::read_to_string(dir.join("full/mine.txt")).unwrap(), "mine");
}

#[tokio::test]
async fn a_manifest_cannot_reach_outside_of_its_directory() {
    let system = System::start(0).await;
    let dir = system.path();
    let blob = b"reached outside";
    let sha = DigestFunction::Sha256.digest(blob).hex();
    fs::write(dir.join("blob"), blob).unwrap();
    assert_eq!(put(&system, blob, &sha).await, 200);
    for (number, hostile) in
        ["/tmp/isoswarm-escaped", "../escaped", "a/../../escaped"].into_iter().enumerate()
    {
        let manifest = format!(
            r#"{{"algo":"sha-256","files":{{"{hostile}":{{"h":"{sha}","m":420,"s":{}}}}},"version":"1.6"}}"#,
            blob.len()
        );
        let digest = DigestFunction::Sha256.digest(manifest.as_bytes());
        assert_eq!(put(&system, manifest.as_bytes(), &digest.hex()).await, 200);
        let out = dir.join(format!("in/{number}"));
        let args = ["download", &digest.to_string(), "-o", out.to_str().unwrap()];
        let refused = system.run("isolate", args).await.expect(code(Exit::Usage));
        assert_says(&refused, &[hostile]);
    }
    assert!(!dir.join("in/escaped").exists() && !dir.join("escaped").exists());
    assert!(!std::path::Path::new("/tmp/isoswarm-escaped").exists());
}

#[tokio::test]
async fn a_truncated_upload_stays_invisible_and_the_server_stays_up() {
    let system = System::start(0).await;
    let whole = vec![7u8; 100_000];
    let sha = DigestFunction::Sha256.digest(&whole).hex();
    let address = system.cas.as_ref().unwrap().address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        format!("PUT /cas/{sha} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", whole.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&whole[..50_000]).await.unwrap();
    drop(stream);

    let path = format!("/cas/{sha}");
    assert_eq!(
        put(&system, b"other bytes", &sha).await,
        400,
        "bytes that do not match their name are refused"
    );
    assert_eq!(http(address, "GET", &path, b"").await.0, 404);
    assert_eq!(put(&system, &whole, &sha).await, 200);
    assert_eq!(http(address, "GET", &path, b"").await, (200, whole));
}

async fn put(system: &System, bytes: &[u8], sha256: &str) -> u16 {
    http(system.cas.as_ref().unwrap().address(), "PUT", &format!("/cas/{sha256}"), bytes).await.0
}

#[tokio::test]
async fn an_unreachable_server_is_said_so() {
    let digest = DigestFunction::Blake3.digest(b"x").to_string();
    let nobody = "http://127.0.0.1:1";
    for (name, args) in [
        ("isolate", vec!["download", &digest, "-o", "never", "--cas", nobody]),
        ("swarm", vec!["runs", "--scheduler", nobody]),
        ("swarm", vec!["trigger", &digest, "--scheduler", nobody]),
    ] {
        let failed =
            Finished::of(Command::new(binary(name)).args(args)).await.expect(code(Exit::Unavailable));
        assert_says(&failed, &["127.0.0.1:1"]);
    }
}

#[tokio::test]
async fn a_port_in_use_and_a_bad_configuration_are_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let first = Program::start("cas-server", ["--listen", "127.0.0.1:0", "--data", &data("first")]).await;
    let taken = first.address().to_string();
    for name in ["cas-server", "scheduler"] {
        let args = ["--listen", &taken, "--data", &data(name)];
        let second = Finished::of(Command::new(binary(name)).args(args)).await.expect(code(Exit::Usage));
        assert_says(&second, &[&taken, "in use"]);

        let exposed = ["--listen", "0.0.0.0:0", "--data", &data(name)];
        let exposed = Finished::of(Command::new(binary(name)).args(exposed)).await.expect(code(Exit::Usage));
        assert_says(&exposed, &["--tls-cert", "--insecure"]);

        let file = dir.path().join("config.toml");
        fs::write(&file, "lissten = \"127.0.0.1:0\"\n").unwrap();
        let config = ["--config", file.to_str().unwrap()];
        let unknown = Finished::of(Command::new(binary(name)).args(config)).await.expect(code(Exit::Usage));
        assert_says(&unknown, &["config.toml", "lissten"]);
    }
}

#[tokio::test]
async fn garbage_on_the_port_leaves_a_server_up() {
    let system = System::start(0).await;
    for address in [system.cas.as_ref().unwrap().address(), system.scheduler.as_ref().unwrap().address()] {
        for garbage in [
            &b"\x00\xff\xfe garbage \r\n\r\n"[..],
            b"GET /cas/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff",
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(garbage).await.unwrap();
        }
        assert_eq!(http(address, "GET", "/healthz", b"").await, (200, b"ok\n".to_vec()));
    }
}

#[tokio::test]
async fn a_full_disk_is_said_so_and_harms_nothing() {
    let disk = SmallDisk::new(96);
    let data = disk.path().join("cas");
    let server = Program::start(
        "cas-server",
        ["--listen", "127.0.0.1:0", "--min-free", "1MiB", "--data", data.to_str().unwrap()],
    )
    .await;
    let dir = tempfile::tempdir().unwrap();
    let isolate = |args: &[&str]| {
        let mut command = Command::new(binary("isolate"));
        command.args(args).args(["--cas", server.url()]).current_dir(dir.path());
        command.env("XDG_CACHE_HOME", dir.path().join("cache"));
        command
    };
    fs::write(dir.path().join("kept"), vec![1; 2_000_000]).unwrap();
    let kept = Finished::of(&mut isolate(&["archive", "kept"])).await.expect(0).stdout;
    let kept = kept.split_whitespace().next().unwrap();

    disk.fill();
    fs::write(dir.path().join("more"), vec![2; 4_000_000]).unwrap();
    let refused = Finished::of(&mut isolate(&["archive", "more"])).await.expect(code(Exit::NoSpace));
    assert_says(&refused, &["full"]);
    assert_eq!(http(server.address(), "GET", "/healthz", b"").await.0, 200);
    Finished::of(&mut isolate(&["download", kept, "-o", "back"])).await.expect(0);
    assert_eq!(fs::read(dir.path().join("back/kept")).unwrap(), vec![1; 2_000_000]);

    let full = disk.path().join("out");
    let no_room = isolate(&["download", kept, "-o", full.to_str().unwrap()]).output().await.unwrap();
    assert_eq!(no_room.status.code(), Some(code(Exit::NoSpace)), "{no_room:?}");
    assert!(!full.exists(), "nothing is left of a download that failed");

    disk.relieve();
    Finished::of(&mut isolate(&["archive", "more"])).await.expect(0);
}
