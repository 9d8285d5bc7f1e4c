//! A database of PostgreSQL's, and who owns the journal in it.

use super::*;
use crate::journal::{Candidate, PostgresJournal, PostgresUrl};
use runtime::testing::Postgres;

struct Database(Postgres);

impl Database {
    fn open_as(&self, name: &str) -> Result<Arc<PostgresJournal>, JournalError> {
        let candidate = Candidate { holder: name.into(), address: format!("http://{name}:8990") };
        PostgresJournal::open(&self.url(), None, &candidate).map(Arc::new)
    }

    fn url(&self) -> PostgresUrl {
        self.0.url().parse().unwrap()
    }

    fn execute(&self, sql: &str) {
        execute(&self.0.url(), sql);
    }

    fn expire_lease(&self) {
        self.execute("UPDATE isoswarm_owner SET expires = clock_timestamp()");
    }

    /// Whoever takes the journal over does not find the owner's session, as behind a pooler.
    fn hide_session(&self) {
        self.execute("UPDATE isoswarm_owner SET session = 0");
    }
}

/// As an administrator would.
fn execute(url: &str, sql: &str) {
    tokio::runtime::Handle::current().block_on(async {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(connection);
        client.batch_execute(sql).await.unwrap();
    });
}

impl Fixture for Database {
    type Journal = PostgresJournal;

    fn new() -> Self {
        Self(Postgres::start())
    }

    fn open(&self) -> Result<Arc<PostgresJournal>, JournalError> {
        self.open_as("a")
    }

    fn crash(&mut self) {
        self.0.restart();
    }

    fn put_raw(journal: &PostgresJournal, sequence: u64, value: Option<&[u8]>) {
        journal.put_raw(sequence, value);
    }
}

super::suite::keeps_every_promise!(Database);

/// On a thread that may block, as the journal is used.
async fn with_database(test: impl FnOnce(Database) + Send + 'static) {
    tokio::task::spawn_blocking(|| test(Database::new())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_scheduler_stands_by_until_the_owner_is_silent_or_closes_it() {
    with_database(|database| {
        let first = database.open_as("a").unwrap();
        let standby = database.open_as("b").unwrap_err();
        let JournalError::Standby { owner, .. } = &standby else { panic!("{standby:?}") };
        assert_eq!(owner, "http://a:8990");
        assert!(standby.to_string().contains("on standby: the one at http://a:8990"), "{standby}");
        write(&*first, 1, &[1], &[]);
        first.close();
        let second = database.open_as("b").unwrap();
        assert_eq!(replayed(&*second).unwrap(), [record(1)]);
        assert!(matches!(database.open_as("a"), Err(JournalError::Standby { .. })));
        database.expire_lease();
        database.open_as("a").unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_only_asked_keeps_its_lease() {
    with_database(|database| {
        let owner = database.open_as("a").unwrap();
        database.execute("UPDATE isoswarm_owner SET expires = clock_timestamp() + interval '10 ms'");
        owner.write(&Group::default()).unwrap();
        database.execute("SELECT pg_sleep(0.1)");
        assert!(matches!(database.open_as("b"), Err(JournalError::Standby { .. })));
        // Also while it replays a long history.
        database.execute("UPDATE isoswarm_owner SET expires = clock_timestamp() + interval '10 ms'");
        replayed(&*owner).unwrap();
        assert!(matches!(database.open_as("b"), Err(JournalError::Standby { .. })));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_former_owner_is_accepted_nor_confirmed() {
    with_database(|database| {
        let former = database.open_as("a").unwrap();
        write(&*former, 1, &[1], &[chunk(1, 0, "before")]);
        database.hide_session();
        database.expire_lease();
        let owner = database.open_as("b").unwrap();
        let fenced = |result: Result<(), JournalError>| {
            let error = result.unwrap_err();
            assert!(matches!(error, JournalError::Fenced { .. }), "{error:?}");
        };
        fenced(try_write(&*former, 2, &[2], &[chunk(1, 6, "after")]));
        fenced(former.write(&Group::default()));
        fenced(former.write(&Group { holes: vec![1], ..Group::default() }));
        fenced(former.write(&Group { deleted: vec![attempt(1).shard.run], ..Group::default() }));
        fenced(replayed(&*former).map(drop));
        former.close();
        assert_eq!(replayed(&*owner).unwrap(), [record(1)]);
        assert_eq!(owner.output_sizes(&[attempt(1)]).unwrap(), [6]);
        write(&*owner, 2, &[3], &[]);
        assert!(
            matches!(database.open_as("a"), Err(JournalError::Standby { .. })),
            "it has released nothing"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_owner_that_was_stopped_in_the_middle_of_a_statement_is_in_nobodys_way() {
    with_database(|database| {
        let former = database.open_as("a").unwrap();
        database.expire_lease();
        former.execute(
            "SET idle_in_transaction_session_timeout = 0; BEGIN; SELECT FROM isoswarm_owner FOR SHARE",
        );
        let owner = database.open_as("b").unwrap();
        write(&*owner, 1, &[1], &[]);
        let ended = try_write(&*former, 1, &[2], &[]).unwrap_err();
        assert!(matches!(ended, JournalError::Unreachable { .. } | JournalError::Store { .. }), "{ended:?}");
    })
    .await;
}

/// A scheduler that opens its journal again has lost its connection, not its statements.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_connection_has_left_under_way_is_refused_after_reopening() {
    with_database(|database| {
        let lost = database.open_as("a").unwrap();
        database.hide_session();
        let again = database.open_as("a").unwrap();
        assert!(matches!(try_write(&*lost, 1, &[1], &[]), Err(JournalError::Fenced { .. })));
        write(&*again, 1, &[2], &[]);
        assert_eq!(replayed(&*again).unwrap(), [record(2)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_scheduler_are_refused_and_left_alone() {
    with_database(|database| {
        database.open_as("a").unwrap().close();
        database.execute("UPDATE isoswarm_schema SET version = 2");
        let error = database.open_as("a").unwrap_err();
        assert!(matches!(error, JournalError::Outdated { found: 2, known: 1, .. }), "{error:?}");
        assert!(error.to_string().contains("upgrade this scheduler"), "{error}");
        database.execute("UPDATE isoswarm_schema SET version = 1");
        database.open_as("a").unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_make_the_tables_at_once_end_as_owner_and_standby() {
    with_database(|database| {
        let opened = std::thread::scope(|scope| {
            let runtime = tokio::runtime::Handle::current();
            let opening = ["a", "b", "c"].map(|name| {
                let (database, runtime) = (&database, runtime.clone());
                scope.spawn(move || {
                    let _entered = runtime.enter();
                    database.open_as(name)
                })
            });
            opening.map(|thread| thread.join().unwrap())
        });
        let owners = opened.iter().filter(|opened| opened.is_ok()).count();
        let standbys =
            opened.iter().filter(|opened| matches!(opened, Err(JournalError::Standby { .. }))).count();
        assert_eq!((owners, standbys), (1, 2), "{opened:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_and_one_that_refuses_are_told_apart() {
    with_database(|mut database| {
        let journal = database.open_as("a").unwrap();
        let unknown: PostgresUrl = database.0.url().replace("/postgres?", "/nowhere?").parse().unwrap();
        let candidate = Candidate { holder: "a".into(), address: String::new() };
        let refused = PostgresJournal::open(&unknown, None, &candidate).unwrap_err();
        assert!(matches!(refused, JournalError::Refused { .. }), "{refused:?}");
        assert!(refused.to_string().contains("\"nowhere\" does not exist"), "{refused}");
        database.0.kill();
        let lost = try_write(&*journal, 1, &[1], &[]).unwrap_err();
        assert!(matches!(lost, JournalError::Unreachable { .. }), "{lost:?}");
        let away = database.open_as("a").unwrap_err();
        assert!(matches!(away, JournalError::Unreachable { .. }), "{away:?}");
        database.0.restart();
        database.open_as("a").unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_url_wants_tls_the_server_must_show_a_certificate_that_is_trusted() {
    let tls = runtime::testing::package().join("../cas-server/tests/server/tls");
    let (cert, key) = (tls.join("cert.pem"), tls.join("key.pem"));
    let test = move || {
        let postgres = Postgres::start_with_tls(&cert, &key);
        let url: PostgresUrl = postgres.tls_url().parse().unwrap();
        let candidate = Candidate { holder: "a".into(), address: String::new() };
        let journal = PostgresJournal::open(&url, Some(&cert), &candidate).unwrap();
        write(&journal, 1, &[1], &[]);
        let ssl = "DO $$ BEGIN ASSERT (SELECT bool_or(ssl) FROM pg_stat_ssl); END $$";
        execute(&postgres.tls_url().replace("require", "disable"), ssl);
        let unusable = PostgresJournal::open(&url, Some(&key), &candidate).unwrap_err();
        assert!(unusable.to_string().contains("key.pem: there are none"), "{unusable}");
    };
    tokio::task::spawn_blocking(test).await.unwrap();
}
