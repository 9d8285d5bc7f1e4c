//! Several schedulers on one PostgreSQL database: one serves, the others stand by.

use crate::support::{Bench, eventually, run_spec};
use proto::{
    Timestamp,
    v1::{GetRequest, ReadOutputRequest},
};
use runtime::{Clock, SystemClock, clock::Sleep, testing::Postgres};
use std::{sync::Arc, time::Duration};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_names_the_owner_and_takes_over_when_it_stops() {
    let postgres = Postgres::start();
    let mut owner = Bench::on_postgres(&postgres.url()).await;
    let run = owner.trigger("r", 2).await;
    let mut bot = owner.bot("b");
    let before = bot.work().await;
    bot.print("half of ");
    bot.synchronize().await.unwrap();

    let mut standby = Bench::on_postgres(&postgres.url()).await;
    let refused = standby.trigger_spec("r", run_spec(2)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains(&format!("the one at {} has the journal", owner.url)), "{refused:?}");
    assert!(!refused.message().contains("isoswarm@"), "{refused:?}");
    let health = standby.http("/healthz").await;
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("on standby"), "{health}");
    eventually(async || (standby.grpc_health().await == ["NOT_SERVING"; 3]).then_some(())).await;
    assert_eq!(owner.grpc_health().await, ["SERVING"; 3]);

    owner.stop().await;
    let again = eventually(async || standby.trigger_spec("r", run_spec(2)).await.ok()).await;
    assert_eq!((again.run_id.as_str(), again.created), (run.as_str(), false));
    assert!(standby.http("/healthz").await.ends_with("ok\n"));
    let mut bot = bot.moved_to(&standby).no_wait();
    let [after] = &bot.synchronize().await.unwrap()[..] else { panic!() };
    assert_eq!((&after.lease, after.output_received), (&before.lease, 8));
    bot.print("it");
    bot.finish(0);
    bot.synchronize().await.unwrap();
    let request = ReadOutputRequest { shard_id: format!("{run}/0/0"), ..Default::default() };
    assert_eq!(standby.output(request).await.unwrap(), "half of it");
    standby.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_taken_over_answers_nothing_any_more() {
    let postgres = Postgres::start();
    let mut bench = Bench::on_postgres(&postgres.url()).await;
    let run = bench.trigger("r", 1).await;
    execute(
        &postgres,
        "UPDATE isoswarm_owner SET epoch = epoch + 1, holder = 'other', address = 'http://other:8990',
            expires = clock_timestamp() + interval '1 h'",
    )
    .await;
    let mut client = bench.client();
    let get = proto::v1::GetRequest { run_id: run.clone() };
    assert_eq!(
        client.get(get.clone()).await.unwrap_err().code(),
        Code::Unavailable,
        "nor what it only reads"
    );
    let refused = eventually(async || {
        let refused = bench.trigger_spec("s", run_spec(1)).await.unwrap_err();
        refused.message().contains("the one at http://other:8990").then_some(refused)
    })
    .await;
    assert_eq!(refused.code(), Code::Unavailable);

    execute(&postgres, "UPDATE isoswarm_owner SET expires = clock_timestamp()").await;
    let found = eventually(async || client.get(get.clone()).await.ok()).await.into_inner().run.unwrap();
    assert_eq!(found.id, run);
    assert!(bench.trigger_spec("s", run_spec(1)).await.unwrap().created, "it was not made before");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_said_loses_nothing_and_is_got_over() {
    let mut postgres = Postgres::start();
    let mut bench = Bench::on_postgres(&postgres.url()).await;
    let run = bench.trigger("r", 1).await;
    postgres.kill();
    let refused = eventually(async || {
        let refused = bench.trigger_spec("s", run_spec(1)).await.unwrap_err();
        refused.message().contains("cannot be reached").then_some(refused)
    })
    .await;
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(bench.http("/healthz").await.starts_with("HTTP/1.1 503"));
    postgres.restart();
    eventually(async || bench.trigger_spec("s", run_spec(1)).await.ok()).await;
    assert_eq!(bench.get(&run).await.id, run);
    bench.stop().await;
    drop(postgres);
    let error = bench.start_error().await;
    assert_eq!(error.exit(), runtime::Exit::Unavailable);
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

/// As an administrator would.
async fn execute(postgres: &Postgres, sql: &str) {
    let config: tokio_postgres::Config = postgres.url().parse().unwrap();
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    client.batch_execute(sql).await.unwrap();
}

/// A host whose clock somebody has set a year ahead.
#[derive(Debug)]
struct Ahead(SystemClock);

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.0.now() + YEAR
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.0.sleep(duration)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_over_goes_on_with_the_databases_time_whatever_its_own_clock_says() {
    let postgres = Postgres::start();
    let mut owner = Bench::on_postgres(&postgres.url()).await;
    owner.trigger("before", 1).await;
    owner.stop().await;
    let ahead = Arc::new(Ahead(SystemClock::new()));
    let mut standby = Bench::on_postgres_at(&postgres.url(), ahead).await;
    let run_id = eventually(async || standby.trigger_spec("after", run_spec(1)).await.ok()).await.run_id;
    let run = standby.client().get(GetRequest { run_id }).await.unwrap().into_inner().run.unwrap();
    let created = Timestamp::from(&run.created.unwrap());
    let age = SystemClock::new().now().since(created).max(created.since(SystemClock::new().now()));
    assert!(age < Duration::from_secs(600), "{created:?} is of this very time");
    standby.stop().await;
}
