//! A user who triggers runs until told so, and keeps a list.

use proto::v1::{self, swarm_client::SwarmClient};
use runtime::{Clock as _, SystemClock};
use std::{collections::BTreeMap, time::Duration};
use tests::{System, soon};
use tonic::transport::Channel;

/// What was asked for and acknowledged.
#[derive(Debug)]
pub(super) struct User {
    client: SwarmClient<Channel>,
    digest: proto::Digest,
    /// By request.
    pub(super) runs: BTreeMap<String, String>,
}

impl User {
    /// Calls through the proxy: the scheduler comes and goes.
    pub(super) fn new(system: &System, digest: &str) -> Self {
        let channel = runtime::connect::channel(&system.scheduler_proxy.url(), None).unwrap();
        let client = SwarmClient::new(channel).max_decoding_message_size(usize::MAX);
        Self { client, digest: digest.parse().unwrap(), runs: BTreeMap::new() }
    }

    /// Triggers a run; the same again, as if the answer had been lost, makes no other one.
    pub(super) async fn trigger(&mut self, shards: u32) {
        let request = format!("chaos-{}", self.runs.len());
        let run = self.until_told(&request, shards).await;
        assert_eq!(self.until_told(&request, shards).await, run, "a request makes one run");
        self.runs.insert(request, run);
    }

    async fn until_told(&self, request: &str, shards: u32) -> String {
        let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: shards });
        let step = v1::StepSpec {
            input: Some(self.digest.into()),
            fan_out: Some(v1::FanOut { policy: Some(policy) }),
            // A bot that dies is no fault of the shard's.
            max_attempts: 100,
            ..Default::default()
        };
        let run = v1::RunSpec { name: "chaos".into(), steps: vec![step], ..Default::default() };
        let request = v1::TriggerRequest { request_id: request.into(), run: Some(run), ..Default::default() };
        let trigger = || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { Some(client.trigger(request).await.ok()?.into_inner().run_id) }
        };
        self.told("a trigger", trigger).await
    }

    /// The run, when the scheduler is there to say so.
    pub(super) async fn get(&self, run: &str) -> v1::Run {
        let request = v1::GetRequest { run_id: run.into() };
        let get = || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { client.get(request).await.ok()?.into_inner().run }
        };
        self.told("a run", get).await
    }

    /// Ids of all runs that there are.
    pub(super) async fn list(&self) -> Vec<String> {
        let (mut ids, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListRequest { page_token: page_token.clone(), ..Default::default() };
            let list = || {
                let (mut client, request) = (self.client.clone(), request.clone());
                async move { Some(client.list(request).await.ok()?.into_inner()) }
            };
            let page = self.told("a page of runs", list).await;
            ids.extend(page.runs.into_iter().map(|run| run.id));
            if page.next_page_token.is_empty() {
                return ids;
            }
            page_token = page.next_page_token;
        }
    }

    async fn told<T, F: Future<Output = Option<T>>>(&self, what: &str, mut call: impl FnMut() -> F) -> T {
        let clock = SystemClock::new();
        let calling = async {
            loop {
                if let Some(answer) = call().await {
                    return answer;
                }
                clock.sleep(Duration::from_millis(50)).await;
            }
        };
        soon(what, calling).await
    }
}
