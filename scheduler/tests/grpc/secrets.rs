//! Secrets of runs: for bots, and for nobody else.

use crate::support::{Bench, run_spec};
use proto::v1;
use std::{fs, path::Path};
use tonic::Code;

const SECRET: &[u8] = b"correct horse battery staple";

async fn trigger(bench: &Bench, request_id: &str, secret: &[u8]) -> Result<String, tonic::Status> {
    let request = v1::TriggerRequest {
        request_id: request_id.into(),
        run: Some(run_spec(1)),
        secret: Some(v1::Secret { value: secret.to_vec() }),
        ..Default::default()
    };
    Ok(bench.client().trigger(request).await?.into_inner().run_id)
}

/// Whether these bytes are in any file below a directory.
fn is_below(dir: &Path, wanted: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            is_below(&path, wanted)
        } else {
            fs::read(path).unwrap().windows(wanted.len()).any(|window| window == wanted)
        }
    })
}

#[tokio::test]
async fn a_secret_goes_to_the_bot_and_is_nowhere_else() {
    let bench = Bench::start().await;
    let run = trigger(&bench, "r1", SECRET).await.unwrap();
    assert_eq!(trigger(&bench, "r1", SECRET).await.unwrap(), run, "the same again is the same run");
    let other = trigger(&bench, "r1", b"another").await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);
    let bench = bench.restart().await;
    let assignment = bench.bot("b1").work().await.assignment.unwrap();
    assert_eq!(assignment.secret.unwrap().value, SECRET);
    let told = bench.get(&run).await;
    assert!(told.has_secret);
    assert!(!prost::Message::encode_to_vec(&told).windows(SECRET.len()).any(|window| window == SECRET));
    let dir = bench.config.data.parent().unwrap().to_owned();
    assert!(is_below(&dir, b"tester"), "what is no secret is there in clear");
    assert!(!is_below(&dir, SECRET));
}

#[tokio::test]
async fn without_its_key_a_journal_with_secrets_is_not_served() {
    let mut bench = Bench::start().await;
    let run = trigger(&bench, "r1", SECRET).await.unwrap();
    bench.stop().await;
    let key = bench.config.data.with_added_extension("key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let message = bench.start_error().await.to_string();
    assert!(message.contains("another key") && message.contains("journal.key"), "{message}");
    fs::write(&key, kept).unwrap();
    let bench = bench.restart().await;
    bench.cancel(&run, true).await;
    let mut bench = bench;
    bench.stop().await;
    fs::remove_file(&key).unwrap();
    // Nobody is to be given a secret any more.
    bench.restart().await;
}

#[tokio::test]
async fn a_secret_that_is_none_is_refused() {
    let bench = Bench::start().await;
    for bad in [vec![], vec![0; 20 * 1024 + 1]] {
        let refused = trigger(&bench, "r1", &bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(
            refused.message().starts_with("secret: a secret has 1 to 20480 bytes"),
            "{}",
            refused.message()
        );
    }
}
