//! The main path through real processes: archive, trigger, run on bots, collect.

use tests::{Suite, System};

#[tokio::test]
async fn a_suite_is_packaged_sharded_over_bots_and_collected() {
    let system = System::start(2).await;
    let suite = Suite::new(3, "0.01");
    let digest = system.archive(&suite).await;
    let run = system.run("swarm", ["run", &digest, "--shards", "4", "--name", "main-path"]).await.expect(0);
    let runs = system.run("swarm", ["runs"]).await.expect(0);
    let id =
        runs.stdout.split_whitespace().find(|word| word.len() == 13 && word.parse::<proto::RunId>().is_ok());
    let id = id.unwrap_or_else(|| panic!("no run id in\n{}\nafter\n{}", runs.stdout, run.stdout));
    let run = system.get(id).await;
    assert_eq!(run.shards.len(), 4);
    system.assert_whole(&run, &suite).await;
}

#[tokio::test]
async fn everything_stops_on_sigterm_and_leaves_no_process() {
    let mut system = System::start(1).await;
    for program in [system.bots[0].take(), system.scheduler.take(), system.cas.take()] {
        let status = program.unwrap().terminate().await;
        assert!(status.success(), "{status}");
    }
}
