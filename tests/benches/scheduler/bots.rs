//! Bots that do everything but run commands.

use super::server::channel;
use proto::v1::{self, AttemptResult, HeldAttempt, ShardState, bots_client::BotsClient};
use runtime::{Clock as _, SystemClock};
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// One bot of one slot, with a connection of its own.
#[derive(Clone, Debug)]
pub(crate) struct Bot {
    client: BotsClient<Channel>,
    request: v1::SynchronizeRequest,
}

impl Bot {
    pub(crate) fn new(url: &str, number: usize) -> Self {
        let dimension = |key: &str, value: String| v1::Dimension { key: key.into(), values: vec![value] };
        let id = format!("bot-{number:05}");
        let request = v1::SynchronizeRequest {
            dimensions: vec![dimension("id", id.clone()), dimension("os", "Linux".into())],
            bot_id: id,
            session_id: format!("session-{number}"),
            version: "bench".into(),
            slots: 1,
            ..Default::default()
        };
        Self { client: BotsClient::new(channel(url)), request }
    }

    /// It has this system and no other.
    pub(crate) fn of_os(mut self, os: &str) -> Self {
        self.request
            .dimensions
            .iter_mut()
            .filter(|known| known.key == "os")
            .for_each(|known| known.values = vec![os.into()]);
        self
    }

    /// Reports that what it holds has run, and takes what is next. Waits for work for as long as it is allowed to. Says
    /// whether it got some.
    pub(crate) async fn next(&mut self, wait: Duration) -> bool {
        for held in &mut self.request.held {
            held.result = Some(AttemptResult {
                state: ShardState::Completed.into(),
                exit_code: Some(0),
                ..Default::default()
            });
        }
        self.call(wait).await
    }

    /// Says what it holds.
    pub(crate) async fn call(&mut self, wait: Duration) -> bool {
        self.request.wait = Some(prost_types::Duration::try_from(wait).unwrap());
        let answer = self.client.synchronize(self.request.clone()).await.unwrap().into_inner();
        let held = |desired: v1::DesiredAttempt| HeldAttempt { lease: desired.lease, ..Default::default() };
        self.request.held = answer.desired.into_iter().map(held).collect();
        !self.request.held.is_empty()
    }
}

/// How fast bots went.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Calls a second.
    pub(crate) rate: f64,
    /// Of all calls, sorted.
    latencies: Vec<Duration>,
}

impl Pace {
    /// Of calls that took so long.
    pub(crate) fn new(mut latencies: Vec<Duration>, took: Duration) -> Self {
        latencies.sort_unstable();
        Self { rate: latencies.len() as f64 / took.as_secs_f64(), latencies }
    }

    /// The time that so many of a hundred calls took at most, in milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len() - 1);
        self.latencies[index].as_secs_f64() * 1e3
    }
}

/// So many bots complete a shard and take the next, as fast as they can and for so long.
pub(crate) async fn race(url: &str, bots: usize, duration: Duration) -> Pace {
    let clock = SystemClock::new();
    let mut racing = JoinSet::new();
    // All are there before the clock starts.
    for number in 0..bots {
        let mut bot = Bot::new(url, number);
        racing.spawn(async move {
            assert!(bot.next(Duration::ZERO).await, "there is work");
            bot
        });
    }
    let bots = racing.join_all().await;
    let start = clock.elapsed();
    let mut racing = JoinSet::new();
    for mut bot in bots {
        racing.spawn(async move {
            let mut latencies = Vec::new();
            while clock.elapsed() - start < duration {
                let called = clock.elapsed();
                assert!(bot.next(Duration::ZERO).await, "there is work for all of the time");
                latencies.push(clock.elapsed() - called);
            }
            latencies
        });
    }
    let latencies = racing.join_all().await.concat();
    Pace::new(latencies, clock.elapsed() - start)
}
