//! Triggering, and the state of a run.

use super::super::{testing::*, *};
use proto::RunId;
use std::sync::Arc;

fn trigger(bench: &mut Bench, number: u32, priority: u8) -> Result<Decided, Refusal> {
    let run = RunId::new(bench.now, number);
    let spec = Arc::new(spec(priority, [step(1, &[])]));
    bench.apply(Event::Trigger(Trigger { run, request: "same".parse().unwrap(), spec, reuses: vec![] }))
}

#[test]
fn the_same_request_again_is_the_same_run() {
    let mut bench = Bench::new();
    assert_eq!(trigger(&mut bench, 1, 5).unwrap().records.len(), 1);
    bench.restart();
    assert!(trigger(&mut bench, 2, 5).unwrap().records.is_empty());
    let run = bench.queue.run_of(&"same".parse().unwrap()).unwrap().id;
    assert_eq!(run, RunId::new(bench.now, 1));
    let other = trigger(&mut bench, 3, 6).unwrap_err();
    assert_eq!(other, Refusal::RequestReused { request: "same".parse().unwrap(), run });
}

#[test]
fn more_shards_than_there_is_room_for_are_refused() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(999, &[])]));
    let run = RunId::new(bench.now, 77);
    let spec = Arc::new(spec(0, [step(2, &[])]));
    let trigger = Trigger { run, request: "r".parse().unwrap(), spec, reuses: vec![] };
    let refused = bench.apply(Event::Trigger(trigger));
    assert_eq!(refused.unwrap_err(), Refusal::Full { pending: 999, most: 1000 });
}

#[test]
fn the_state_of_a_run_follows_from_its_shards() {
    use Ending::{ClientError, Completed, InternalError, TimedOut};
    let cases = [
        (vec![(Completed, 0), (Completed, 0)], RunState::Succeeded),
        (vec![(Completed, 0), (Completed, 1)], RunState::Failed),
        (vec![(TimedOut, 0), (Completed, 0)], RunState::Failed),
        (vec![(Completed, 1), (ClientError, 0)], RunState::Incomplete),
        // Both attempts of the first shard.
        (vec![(InternalError, 0), (InternalError, 0), (Completed, 0)], RunState::Incomplete),
    ];
    for (endings, expected) in cases {
        let mut bench = Bench::new();
        let run = bench.run(spec(0, [step(2, &[])]));
        assert_eq!(bench.run_state(run), RunState::Pending);
        for (ending, exit_code) in endings.clone() {
            let [lease] = bench.bot("b", vec![])[..] else { panic!() };
            assert_eq!(bench.run_state(run), RunState::Running);
            let held = Held { result: Some(result(ending, exit_code)), ..finished(lease, 0) };
            bench.call(BotReport { slots: 0, ..report("b", "s1", vec![held]) });
        }
        assert_eq!(bench.run_state(run), expected, "{endings:?}");
        assert_eq!(bench.queue.run(run).unwrap().ended, Some(bench.now));
    }
}

#[test]
fn runs_are_listed_newest_first_from_anywhere() {
    let mut bench = Bench::new();
    let runs: Vec<RunId> = (0..3).map(|_| bench.run(spec(0, [step(1, &[])]))).collect();
    let listed =
        |before| bench.queue.candidates(&RunFilter::default(), before).map(|run| run.id).collect::<Vec<_>>();
    assert_eq!(listed(None), [runs[2], runs[1], runs[0]]);
    assert_eq!(listed(Some(runs[1])), [runs[0]]);
}
