//! The output of attempts, on its way in and out.

use crate::support::{Bench, FakeBot, soon};
use proto::v1::{ReadOutputRequest, RunState};
use runtime::{Entropy as _, SeededEntropy};
use tokio::task::JoinSet;
use tonic::Code;

async fn printing() -> (Bench, FakeBot, ReadOutputRequest) {
    let bench = Bench::start().await;
    let run = bench.trigger("r", 1).await;
    let mut bot = bench.bot("b").no_wait();
    bot.work().await;
    (bench, bot, ReadOutputRequest { shard_id: format!("{run}/0/0"), ..Default::default() })
}

#[tokio::test]
async fn output_is_acknowledged_not_doubled_and_resumed_by_offset() {
    let (mut bench, mut bot, read) = printing().await;
    bot.print("hello ");
    let mut again = bot.clone();
    assert_eq!(bot.synchronize().await.unwrap()[0].output_received, 6);
    assert_eq!(again.synchronize().await.unwrap()[0].output_received, 6, "the same once more");
    bot.request.held[0].output_offset = 3;
    bot.print("lo world");
    assert_eq!(bot.synchronize().await.unwrap()[0].output_received, 11, "half of it is new");
    bot.request.held[0].output_offset = 20;
    bot.print("beyond a gap");
    assert_eq!(bot.synchronize().await.unwrap()[0].output_received, 11, "go on from there");

    assert_eq!(bench.output(read.clone()).await.unwrap(), "hello world");
    assert_eq!(bench.output(ReadOutputRequest { offset: 4, ..read.clone() }).await.unwrap(), "o world");
    assert_eq!(bench.output(ReadOutputRequest { offset: 99, ..read.clone() }).await.unwrap(), "");
    let missing = bench.output(ReadOutputRequest { attempt: 2, ..read }).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    bench.stop().await;
}

#[tokio::test]
async fn a_result_counts_when_all_output_before_it_is_there() {
    let (mut bench, mut bot, read) = printing().await;
    let run = read.shard_id.split('/').next().unwrap().to_owned();
    bot.request.held[0].output_offset = 5;
    bot.print("world");
    bot.finish(0);
    let desired = bot.synchronize().await.unwrap();
    assert_eq!(desired[0].output_received, 0);
    assert_eq!(bench.get(&run).await.state(), RunState::Running);
    bot.print("helloworld");
    assert_eq!(bot.synchronize().await.unwrap(), []);
    assert_eq!(bench.get(&run).await.state(), RunState::Succeeded);
    assert_eq!(bench.output(read).await.unwrap(), "helloworld");
    bench.stop().await;
}

#[tokio::test]
async fn following_starts_before_the_attempt_and_ends_with_it() {
    let mut bench = Bench::start().await;
    let run = bench.trigger("r", 1).await;
    let request = ReadOutputRequest { shard_id: format!("{run}/0/0"), follow: true, ..Default::default() };
    let mut client = bench.client();
    let (first_seen, first) = tokio::sync::oneshot::channel();
    let mut following = JoinSet::new();
    following.spawn(async move {
        let mut first_seen = Some(first_seen);
        let mut stream = client.read_output(request).await.unwrap().into_inner();
        let mut seen = String::new();
        while let Some(message) = stream.message().await.unwrap() {
            assert_eq!(message.offset, seen.len() as u64);
            seen += std::str::from_utf8(&message.data).unwrap();
            first_seen.take().map(|seen| seen.send(()));
        }
        seen
    });
    let mut bot = bench.bot("b").no_wait();
    bot.work().await;
    bot.print("one ");
    bot.synchronize().await.unwrap();
    soon(first).await.unwrap();
    bot.print("two ");
    bot.synchronize().await.unwrap();
    bot.print("three");
    bot.finish(0);
    bot.synchronize().await.unwrap();
    assert_eq!(soon(following.join_next()).await.unwrap().unwrap(), "one two three");
    bench.stop().await;
}

#[tokio::test]
async fn a_large_output_comes_back_whole() {
    let (mut bench, mut bot, read) = printing().await;
    let line = "0123456789abcdef".repeat(1 << 14);
    for _ in 0..10 {
        bot.print(&line);
        bot.synchronize().await.unwrap();
    }
    assert!(bench.output(read).await.unwrap() == line.repeat(10));
    bench.stop().await;
}

#[tokio::test]
async fn output_is_whole_through_lost_answers_repeats_cuts_and_restarts() {
    let (mut bench, mut bot, read) = printing().await;
    let entropy = SeededEntropy::new(5);
    let text: String = (0..3000).map(|line| format!("line {line}\n")).collect();
    let mut said = vec![];
    let mut received = 0;
    let mut restarts = 0;
    while received < text.len() {
        let held = &mut bot.request.held[0];
        held.output_offset = received as u64;
        let end = text.len().min(received + entropy.next() as usize % 400);
        held.output = text.as_bytes()[received..end].to_vec().into();
        said.push(bot.clone());
        match entropy.next() % 64 {
            // The answer is lost.
            0..10 => drop(bot.say().await.unwrap()),
            // Something said before arrives once more.
            10..20 => {
                let earlier = entropy.next() as usize % said.len();
                drop(said[earlier].say().await.unwrap());
            }
            // The call is cut, wherever it is.
            20..30 => {
                let mut cut = JoinSet::new();
                let mut bot = bot.clone();
                cut.spawn(async move { drop(bot.say().await) });
                tokio::task::yield_now().await;
                cut.shutdown().await;
            }
            30 => {
                bench = bench.restart().await;
                said.clear();
                bot = bot.moved_to(&bench);
                restarts += 1;
            }
            _ => received = bot.say().await.unwrap().desired[0].output_received as usize,
        }
    }
    assert!(restarts > 0);
    bot.request.held[0].output_offset = received as u64;
    bot.print("");
    bot.finish(0);
    assert_eq!(bot.synchronize().await.unwrap(), []);
    assert!(bench.output(read.clone()).await.unwrap() == text);
    let run = bench.get(read.shard_id.split('/').next().unwrap()).await;
    assert_eq!(run.shards[0].attempts.len(), 1);
    assert_eq!(run.shards[0].attempts[0].output_size, text.len() as u64);
    bench.stop().await;
}
