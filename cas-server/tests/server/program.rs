//! The program: what it prints and how it ends.

use crate::support::{Program, command};
use cas::{BlobStoreExt as _, remote::RemoteStore, testing};
use proto::DigestFunction;
use runtime::testing::SmallDisk;
use std::{fs, net::TcpListener, path::Path};

/// Runs it to its end. Gives the exit code and what it wrote to stderr.
fn fail(arguments: &[&str], dir: &Path) -> (Option<i32>, String) {
    let output = command().args(arguments).current_dir(dir).output().unwrap();
    assert!(output.stdout.is_empty(), "a server that does not start says nothing on stdout");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_port_in_use_is_said_and_ends_with_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--listen={}", taken.local_addr().unwrap());
    let (code, error) = fail(&[&listen], dir.path());
    assert_eq!(code, Some(2));
    assert!(error.contains("port is in use"), "{error}");
}

#[test]
fn a_directory_in_use_is_said_and_ends_with_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(&dir.path().join("cas-data"));
    let (code, error) = fail(&["--listen=127.0.0.1:0"], dir.path());
    assert_eq!(code, Some(2));
    assert!(error.contains("another cas-server"), "{error}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn wrong_configuration_ends_with_code_2_and_names_the_key() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.toml"), "max_sise = \"1GiB\"").unwrap();
    let (code, error) = fail(&["--config", "c.toml"], dir.path());
    assert_eq!(code, Some(2));
    assert!(error.contains("max_sise") && error.contains("c.toml"), "{error}");
    let (code, error) = fail(&["--lease", "soon"], dir.path());
    assert!(code == Some(2) && error.contains("lease"), "{error}");
    let (code, error) = fail(&["--config", "nowhere.toml"], dir.path());
    assert!(code == Some(2) && error.contains("nowhere.toml"), "{error}");
}

#[test]
fn other_machines_are_not_served_in_plain_text_unless_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (code, error) = fail(&["--listen=0.0.0.0:0"], dir.path());
    assert!(code == Some(2) && error.contains("--insecure"), "{error}");
    let (code, error) = fail(&["--listen=127.0.0.1:0", "--tls-cert=c.pem"], dir.path());
    assert!(code == Some(2) && error.contains("--tls-key"), "{error}");
}

#[test]
fn a_data_directory_that_cannot_be_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let (code, error) = fail(&["--listen=127.0.0.1:0", "--data=file/data"], dir.path());
    assert!(code == Some(2) && error.contains("file/data"), "{error}");
}

#[test]
fn the_printed_configuration_is_the_sample_file() {
    let output = command().arg("--print-config").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), cas_server::SAMPLE);
    assert!(output.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_ends_with_code_0_and_keeps_its_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path());
    let digest = server.store().put(DigestFunction::Blake3, testing::noise(1, 100)).await.unwrap();
    assert_eq!(server.terminate(), Some(0));
    let server = Program::start(dir.path());
    assert_eq!(server.store().get(digest).await.unwrap(), testing::noise(1, 100));
    server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_files_may_be_open_as_the_hard_limit_allows() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start_limited("-Sn 200", dir.path());
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid().as_raw_nonzero())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = files.split_whitespace().filter(|word| word.parse::<u64>().is_ok()).collect();
    assert!(numbers.len() == 2 && numbers[0] == numbers[1], "{files}");
    server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_speaks_tls_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| runtime::testing::package().join("tests/server/tls").join(name);
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let mut tls = command();
    tls.arg("--tls-cert").arg(&cert).arg("--tls-key").arg(&key);
    let server = Program::start_by(tls, dir.path());
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let store =
        |address: &str| RemoteStore::new(runtime::connect::channel(address, Some(&cert)).unwrap(), "");
    let digest = store(&server.url).put(DigestFunction::Blake3, testing::noise(1, 3_000_000)).await.unwrap();
    assert_eq!(store(&server.url).get(digest).await.unwrap(), testing::noise(1, 3_000_000));
    let plain = store(&server.url.replace("https", "http")).get(digest).await;
    assert!(plain.is_err(), "plain text is not answered");
    assert_eq!(server.terminate(), Some(0));
    // The key in place of the certificate.
    let (cert, key) = (format!("--tls-cert={}", key.display()), format!("--tls-key={}", key.display()));
    let (code, error) = fail(&["--listen=127.0.0.1:0", &cert, &key], dir.path());
    assert!(code == Some(2) && error.contains("key.pem"), "{error}");
}

#[test]
fn a_full_disk_is_said_and_ends_with_code_5() {
    let disk = SmallDisk::new(1);
    disk.fill();
    let (code, error) = fail(&["--listen=127.0.0.1:0"], disk.path());
    assert!(code == Some(5) && error.contains("cas-data"), "{code:?} {error}");
}
