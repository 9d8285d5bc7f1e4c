//! A CAS that speaks TLS, as a client trusts it: by what the machine trusts, or by what it is told to.

use std::fs;
use tests::{Finished, Program, binary};
use tokio::process::Command;

#[tokio::test]
async fn what_the_machine_trusts_is_trusted_where_nothing_else_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let pem = |name: &str| runtime::testing::package().join("../cas-server/tests/server/tls").join(name);
    let (cert, key, data) = (pem("cert.pem"), pem("key.pem"), dir.path().join("data"));
    let [cert, key, data] = [&cert, &key, &data].map(|path| path.to_str().unwrap());
    let flags = ["--listen", "127.0.0.1:0", "--data", data, "--tls-cert", cert, "--tls-key", key];
    let server = Program::start("cas-server", flags).await;
    fs::write(dir.path().join("file"), "content").unwrap();
    let archive = async |trusted: (&str, &str), more: &[&str]| {
        let mut command = Command::new(binary("isolate"));
        command.current_dir(dir.path()).env("XDG_CACHE_HOME", dir.path().join("cache"));
        command.env_remove("SSL_CERT_DIR").env(trusted.0, trusted.1);
        command.args(["archive", "--cas", server.url()]).args(more).args(["file", "--", "true"]);
        Finished::of(&mut command).await
    };
    archive(("SSL_CERT_FILE", cert), &[]).await.expect(0);
    archive(("ISOSWARM_CA_CERT", cert), &[]).await.expect(0);
    let told = archive(("SSL_CERT_FILE", cert), &["--client-cert", cert]).await.expect(2);
    assert!(told.stderr.contains("--client-key"), "{}", told.stderr);
    let told = archive(("SSL_CERT_FILE", cert), &["--client-cert", cert, "--client-key", "none.pem"]).await;
    assert!(told.code == 2 && told.stderr.contains("none.pem"), "{told:?}");
    let told = archive(("ISOSWARM_HEADERS", "secret"), &[]).await.expect(2);
    assert!(told.stderr.contains("write NAME=VALUE"), "{}", told.stderr);
    assert!(server.terminate().await.success());
}
