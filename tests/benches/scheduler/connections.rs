//! As many bots as there may be, all of them waiting for work.

use super::{
    bots::Bot,
    server::Server,
    table::{Table, Target},
};
use proto::v1;
use runtime::{Clock as _, SystemClock};
use std::time::Duration;
use tokio::task::JoinSet;

/// Bots of one load process, each with a connection of its own.
pub(crate) const BOTS: usize = 10_000;

/// Bots that connect at a time.
const AT_ONCE: usize = 200;

/// All wait for so long: more than twice the time after which each of them calls again.
const WATCHED: Duration = Duration::from_secs(25);

/// Longer than the scheduler lets anybody wait.
const WAIT: Duration = Duration::from_secs(60);

/// Bots that have said who they are.
pub(crate) async fn fleet(server: &Server, bots: usize) -> Vec<Bot> {
    let mut fleet = Vec::new();
    let mut connecting = JoinSet::new();
    for number in 0..bots {
        if connecting.len() == AT_ONCE {
            fleet.extend(connecting.join_next().await.unwrap());
        }
        let mut bot = Bot::new(server.url(), number);
        connecting.spawn(async move {
            bot.call(Duration::ZERO).await;
            bot
        });
    }
    fleet.extend(connecting.join_all().await);
    fleet
}

/// Notes the scheduler's memory.
pub(crate) async fn measure(table: &mut Table) {
    let server = Server::start().await;
    let bots = fleet(&server, BOTS).await;
    let clock = SystemClock::new();
    let mut waiting = JoinSet::new();
    for mut bot in bots {
        waiting.spawn(async move {
            let start = clock.elapsed();
            let mut calls = 0;
            while clock.elapsed() - start < WATCHED {
                bot.call(WAIT).await;
                calls += 1;
            }
            calls
        });
    }
    clock.sleep(WATCHED / 2).await;
    assert_eq!(alive(&server).await, BOTS, "all are there");
    let calls: Vec<u32> = waiting.join_all().await;
    assert!(calls.iter().all(|calls| *calls <= 4), "calls were held back: {:?}", calls.iter().max());
    let what = "10,000 bots connected and long-polling: the scheduler's memory at most";
    table.note(what, server.peak_memory(), "MiB", Target::AtMost(1024.0));
}

async fn alive(server: &Server) -> usize {
    let mut alive = 0;
    let mut request = v1::ListBotsRequest { states: vec![v1::BotState::Alive.into()], ..Default::default() };
    loop {
        let page = server.client().list_bots(request.clone()).await.unwrap().into_inner();
        alive += page.bots.len();
        if page.next_page_token.is_empty() {
            return alive;
        }
        request.page_token = page.next_page_token;
    }
}
