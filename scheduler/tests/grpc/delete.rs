//! Runs leave history, and their records the journal.

use crate::support::Bench;
use proto::v1;
use tonic::{Code, Status};

async fn delete(bench: &Bench, run: &str) -> Result<(), Status> {
    bench.client().delete_run(v1::DeleteRunRequest { run_id: run.into() }).await.map(drop)
}

#[tokio::test]
async fn a_deleted_run_is_gone_and_stays_so() {
    let bench = Bench::start().await;
    let mut bot = bench.bot("b1");
    let run = bench.trigger("r1", 1).await;
    assert_eq!(delete(&bench, &run).await.unwrap_err().code(), Code::FailedPrecondition);
    bot.work().await;
    bot.print("hello\n");
    bot.finish(0);
    bot.clone().no_wait().synchronize().await.unwrap();
    let other = bench.trigger("r2", 1).await;
    delete(&bench, &run).await.unwrap();
    let mut bench = bench;
    // The first start after it drops the records, the second does without them.
    for _ in 0..2 {
        let get = v1::GetRequest { run_id: run.clone() };
        assert_eq!(bench.client().get(get).await.unwrap_err().code(), Code::NotFound);
        let read = v1::ReadOutputRequest { shard_id: format!("{run}/0/0"), ..Default::default() };
        assert_eq!(bench.output(read).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(delete(&bench, &run).await.unwrap_err().code(), Code::NotFound);
        bench.get(&other).await;
        bench = bench.restart().await;
    }
    assert_ne!(bench.trigger("r1", 1).await, run, "the request id is free again");
}
