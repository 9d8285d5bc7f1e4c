//! What a bot did, done again by hand, through real processes.

use std::{collections::BTreeMap, fs};
use tests::{System, calls_since};

#[tokio::test]
async fn a_shard_is_reproduced_with_all_that_its_command_had() {
    let system = System::start(1).await;
    fs::write(system.path().join("input"), "x").unwrap();
    fs::write(system.path().join("secret"), "hunter2").unwrap();
    let script = "echo $COLOUR $SHARD_INDEX/$SHARD_TOTAL $(cat input) $(cat $SWARM_SECRET_FILE 2>/dev/null) $0; \
                  echo done > ${ISOLATED_OUTDIR}/report; exit 3";
    let archived = system.run("isolate", ["archive", "input", "--", "sh", "-c", script]).await.expect(0);
    let digest = archived.stdout.split_whitespace().next().unwrap().to_owned();
    let run = ["trigger", &digest, "--shards", "2", "--env", "COLOUR=red", "--secret-file", "secret"];
    let run = system.run("swarm", run).await.expect(0).stdout.trim().to_owned();
    let ended = system.wait_for(&run, |run| run.ended.is_some()).await;
    let shard = ended.shards[1].id.clone();
    assert_eq!(system.output(&shard).await, "red 1/2 x hunter2 sh\n");

    let before = system.cas_calls().await;
    let reproduce = ["reproduce", &shard, "--output-dir", "here", "--secret-file", "secret"];
    let first = system.run("swarm", reproduce).await.expect(3);
    assert_eq!(first.stdout, "red 1/2 x hunter2 sh\n");
    assert_eq!(fs::read_to_string(system.path().join("here/report")).unwrap(), "done\n");
    let calls = calls_since(&before, &system.cas_calls().await);
    let is_upload = |method: &&String| method.contains("BatchUpdate") || method.contains("/Write");
    assert_eq!(calls.keys().find(is_upload), None, "{calls:?}");

    let before = system.cas_calls().await;
    let again = system.run("swarm", ["reproduce", &shard, "--work", "look", "--", "extra"]).await.expect(3);
    assert_eq!(again.stdout, "red 1/2 x extra\n", "without its secret");
    assert!(again.stderr.contains("give it with --secret-file"), "{}", again.stderr);
    assert_eq!(calls_since(&before, &system.cas_calls().await), BTreeMap::new(), "all of it is in the cache");
    assert_eq!(fs::read_to_string(system.path().join("look/work/1/in/input")).unwrap(), "x");
    let refused = system.run("swarm", ["reproduce", &shard, "--work", "look"]).await.expect(2);
    assert!(refused.stderr.contains("look is not empty"), "{}", refused.stderr);
    let told = system.run("swarm", ["reproduce", &shard, "--json"]).await.expect(0).stdout;
    assert!(told.contains(&format!("\"shard\": \"{shard}\"")) && told.contains(&digest), "{told}");
    assert!(told.contains("COLOUR") && told.contains("\"has_secret\": true"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    system.run("swarm", ["reproduce", &format!("{run}/0/7")]).await.expect(3);
}
