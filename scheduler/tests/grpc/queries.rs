//! What can be asked beside the main path.

use crate::support::{Bench, eventually, run_spec};
use proto::v1::{
    BotState, Dimension, ExplainRequest, ListBotsRequest, ListQuarantinesRequest, ListRequest,
    QuarantineTestRequest, Requirement, RunState, TestQuarantine,
};

async fn list(bench: &Bench, request: ListRequest) -> (Vec<String>, String) {
    let response = bench.client().list(request).await.unwrap().into_inner();
    (response.runs.into_iter().map(|run| run.spec.unwrap().name).collect(), response.next_page_token)
}

#[tokio::test]
async fn runs_are_listed_newest_first_by_pages_and_filters() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    for number in 0..5 {
        let mut spec = run_spec(1);
        spec.name = format!("run {number}");
        spec.user = if number % 2 == 0 { "even" } else { "odd" }.into();
        spec.tags.push(format!("number:{number}"));
        bench.trigger_spec(&number.to_string(), spec).await.unwrap();
        clock.advance(std::time::Duration::from_millis(1));
    }
    let (first, token) = list(&bench, ListRequest { page_size: 3, ..Default::default() }).await;
    assert_eq!(first, ["run 4", "run 3", "run 2"]);
    let rest = ListRequest { page_size: 3, page_token: token, ..Default::default() };
    assert_eq!(list(&bench, rest).await, (vec!["run 1".into(), "run 0".into()], String::new()));
    let (odd, _) = list(&bench, ListRequest { user: "odd".into(), ..Default::default() }).await;
    assert_eq!(odd, ["run 3", "run 1"]);
    let tags = vec!["suite:unit".into(), "number:2".into()];
    assert_eq!(list(&bench, ListRequest { tags, ..Default::default() }).await.0, ["run 2"]);
    let states = vec![RunState::Running.into()];
    assert_eq!(list(&bench, ListRequest { states, ..Default::default() }).await, (vec![], String::new()));
    let (exact, token) = list(&bench, ListRequest { page_size: 5, ..Default::default() }).await;
    assert_eq!((exact.len(), token.as_str()), (5, ""), "a full last page is the last");
    bench.stop().await;
}

#[tokio::test]
async fn pages_stay_right_while_runs_are_added_and_times_and_names_choose() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    let millisecond = std::time::Duration::from_millis(1);
    let mut times = vec![];
    let trigger = async |number: u32| {
        let mut spec = run_spec(1);
        spec.name = format!("nightly {number}");
        bench.trigger_spec(&number.to_string(), spec).await.unwrap();
        let now = bench.now();
        clock.advance(millisecond * 3 / 2);
        now
    };
    for number in 0..6 {
        times.push(trigger(number).await);
    }
    let (first, page_token) = list(&bench, ListRequest { page_size: 4, ..Default::default() }).await;
    assert_eq!(first, ["nightly 5", "nightly 4", "nightly 3", "nightly 2"]);
    clock.advance(millisecond);
    trigger(6).await;
    let rest = ListRequest { page_size: 4, page_token, ..Default::default() };
    assert_eq!(list(&bench, rest).await, (vec!["nightly 1".into(), "nightly 0".into()], String::new()));

    let between = |after: usize, before: usize| ListRequest {
        created_after: Some(times[after].into()),
        created_before: Some(times[before].into()),
        ..Default::default()
    };
    assert_eq!(list(&bench, between(1, 4)).await.0, ["nightly 3", "nightly 2", "nightly 1"]);
    assert_eq!(list(&bench, between(4, 1)).await.0, Vec::<String>::new());
    let named = ListRequest { name: "ly 4".into(), ..Default::default() };
    assert_eq!(list(&bench, named).await.0, ["nightly 4"]);
    bench.stop().await;
}

#[tokio::test]
async fn bots_are_listed_by_pages_and_states() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    bench.bot("dead").no_wait().synchronize().await.unwrap();
    bench.pass(&clock, 31).await;
    bench.trigger("r", 1).await;
    bench.bot("busy").no_wait().work().await;
    let mut draining = bench.bot("draining").no_wait();
    draining.request.draining = true;
    for mut bot in [draining, bench.bot("idle-1").no_wait(), bench.bot("idle-2").no_wait()] {
        bot.synchronize().await.unwrap();
    }
    let bots = async |states: &[BotState], page_size, page_token: &str| {
        let request = ListBotsRequest {
            states: states.iter().map(|&state| state.into()).collect(),
            page_size,
            page_token: page_token.into(),
            ..Default::default()
        };
        let page = bench.client().list_bots(request).await.unwrap().into_inner();
        let ids: Vec<String> = page.bots.into_iter().map(|bot| bot.id).collect();
        (ids.join(" "), page.next_page_token)
    };
    assert_eq!(bots(&[BotState::Dead], 0, "").await.0, "dead");
    assert_eq!(bots(&[BotState::Busy, BotState::Idle], 0, "").await.0, "busy idle-1 idle-2");
    assert_eq!(bots(&[BotState::Draining], 0, "").await.0, "draining");
    assert_eq!(bots(&[BotState::Alive], 0, "").await.0, "busy draining idle-1 idle-2");
    let (first, token) = bots(&[], 2, "").await;
    assert_eq!(first, "busy dead");
    bench.bot("another").no_wait().synchronize().await.unwrap();
    let (second, token) = bots(&[], 3, &token).await;
    assert_eq!((second.as_str(), token.as_str()), ("draining idle-1 idle-2", ""));
    bench.stop().await;
}

#[tokio::test]
async fn bots_are_listed_and_what_keeps_them_away_is_explained() {
    let mut bench = Bench::start().await;
    let mut bot = bench.bot("b").no_wait();
    bot.request.dimensions = vec![
        Dimension { key: "os".into(), values: vec!["Linux".into()] },
        Dimension { key: "id".into(), values: vec!["somebody-else".into()] },
    ];
    bot.synchronize().await.unwrap();
    let asks = |key: &str, value: &str| Requirement { key: key.into(), any_of: vec![value.into()] };
    let bots = async |requirement| {
        let request = ListBotsRequest { requirements: vec![requirement], ..Default::default() };
        bench.client().list_bots(request).await.unwrap().into_inner().bots.len()
    };
    assert_eq!(bots(asks("os", "Linux")).await, 1);
    assert_eq!(bots(asks("os", "Mac")).await, 0);
    assert_eq!((bots(asks("id", "b")).await, bots(asks("id", "somebody-else")).await), (1, 0));

    let mut spec = run_spec(2);
    spec.steps[0].requirements.push(asks("os", "Mac"));
    let run = bench.trigger_spec("r", spec).await.unwrap().run_id;
    for id in [run.clone(), format!("{run}/0/1")] {
        let request = ExplainRequest { id };
        let steps = bench.client().explain(request).await.unwrap().into_inner().steps;
        assert_eq!(steps[0].obstacles[0].criterion, "os=Mac");
        assert_eq!(steps[0].obstacles[0].bots, ["b"]);
        assert!(steps[0].summary.ends_with("no bot fits: `os=Mac` keeps 1 away"), "{}", steps[0].summary);
    }
    bench.stop().await;
}

#[tokio::test]
async fn health_is_told_over_grpc() {
    let mut bench = Bench::start().await;
    eventually(async || (bench.grpc_health().await == ["SERVING"; 3]).then_some(())).await;
    bench.stop().await;
}

#[tokio::test]
async fn metrics_and_health_are_told_over_http() {
    let mut bench = Bench::start().await;
    bench.trigger("r", 3).await;
    bench.bot("b").no_wait().work().await;
    assert!(bench.http("/healthz").await.ends_with("ok\n"));
    let metrics = bench.http("/metrics").await;
    for line in [
        "scheduler_runs_total 1",
        "scheduler_leases_granted_total 1",
        "scheduler_request_seconds_count{method=\"Trigger\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_page_of_large_runs_is_short_and_leaves_none_out() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    for number in 0..7 {
        let mut spec = run_spec(1);
        spec.name = number.to_string();
        spec.steps[0].extra_args = vec!["x".repeat(500_000)];
        bench.trigger_spec(&number.to_string(), spec).await.unwrap();
        clock.advance(std::time::Duration::from_millis(1));
    }
    let mut client = proto::v1::swarm_client::SwarmClient::new(bench.channel());
    let mut pages = vec![];
    let mut page_token = String::new();
    loop {
        // As any client: it accepts 4 MiB.
        let request = ListRequest { page_token, ..Default::default() };
        let page = client.list(request).await.unwrap().into_inner();
        pages.push(page.runs.into_iter().map(|run| run.spec.unwrap().name).collect::<String>());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, ["6543", "210"]);
    bench.stop().await;
}

#[tokio::test]
async fn quarantines_are_listed_by_suite_and_test_in_pages() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    let expires = |seconds| Some((bench.now() + std::time::Duration::from_secs(seconds)).into());
    for (suite, test, seconds) in
        [("unit", "z 1", 100), ("core", "b", 100), ("unit", "a", 5), ("", "x", 100), ("unit 2", "a", 100)]
    {
        let quarantine = TestQuarantine {
            suite: suite.into(),
            test: test.into(),
            owner: "ann".into(),
            reason: "bug 17".into(),
            expires: expires(seconds),
        };
        let request = QuarantineTestRequest { quarantine: Some(quarantine) };
        bench.client().quarantine_test(request).await.unwrap();
    }
    let pages = async |suite: &str, page_size: u32| {
        let mut request = ListQuarantinesRequest { suite: suite.into(), page_size, ..Default::default() };
        let mut pages = vec![];
        loop {
            let answer = bench.client().list_quarantines(request.clone()).await.unwrap().into_inner();
            let names = answer.quarantines.iter().map(|one| format!("{}/{}", one.suite, one.test));
            pages.push(names.collect::<Vec<_>>());
            if answer.next_page_token.is_empty() {
                return pages;
            }
            request.page_token = answer.next_page_token;
        }
    };
    assert_eq!(pages("unit", 0).await, [["unit/a", "unit/z 1"]]);
    assert_eq!(pages("", 2).await, [vec!["/x", "core/b"], vec!["unit/a", "unit/z 1"], vec!["unit 2/a"]]);
    clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(pages("unit", 1).await, [["unit/z 1"]]);
    for bad in ["x", "9 unit", "1 é"] {
        let request = ListQuarantinesRequest { page_token: bad.into(), ..Default::default() };
        let refused = bench.client().list_quarantines(request).await.unwrap_err();
        assert!(refused.message().contains("page_token"), "{refused:?}");
    }
    bench.stop().await;
}
