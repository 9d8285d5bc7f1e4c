//! Items for commands, and something on every bot, through real processes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use proto::v1::{RunState, ShardState};
use std::{collections::BTreeMap, fs, path::Path};
use tests::System;

/// Archives a command that leaves its words, and the name of its bot, as outputs.
async fn archive(system: &System) -> String {
    fs::write(system.path().join("input"), "x").unwrap();
    let script =
        "printf '%s\n' \"$@\" > \"$ISOLATED_OUTDIR/words\"; echo $SWARM_BOT_ID > \"$ISOLATED_OUTDIR/bot\"";
    let archived =
        system.run("isolate", ["archive", "input", "--", "sh", "-c", script, "sh"]).await.expect(0);
    archived.stdout.split_whitespace().next().unwrap().to_owned()
}

/// The lines of this file of each shard, by the name of the shard's directory.
fn lines(dir: &Path, file: &str) -> BTreeMap<String, Vec<String>> {
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join(file)).unwrap();
        (entry.file_name().into_string().unwrap(), text.lines().map(str::to_owned).collect())
    };
    fs::read_dir(dir).unwrap().map(|entry| read(entry.unwrap())).collect()
}

fn id(stdout: &str) -> String {
    stdout.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn each_item_reaches_one_command_and_a_longer_list_costs_what_is_new_in_it() {
    let system = System::start(2).await;
    let digest = archive(&system).await;
    let list = |items: &[&str]| fs::write(system.path().join("list"), items.join("\n")).unwrap();
    let run = async |more: &[&str]| {
        let base = ["run", &digest, "--name", "words", "--idempotent", "--items", "list"];
        system.run("swarm", base.iter().chain(more)).await.expect(0)
    };
    list(&["a", "b c", "d", "e"]);
    run(&["--shards", "3", "--output-dir", "evenly"]).await;
    let evenly = lines(&system.path().join("evenly"), "words");
    let expected = [("words-0", vec!["a", "b c"]), ("words-1", vec!["d"]), ("words-2", vec!["e"])];
    let expected =
        expected.map(|(name, words)| (name.to_owned(), words.iter().map(ToString::to_string).collect()));
    assert_eq!(evenly, BTreeMap::from(expected));

    list(&["new", "a", "d", "e"]);
    let placed =
        ["--per-shard", "1", "--output-dir", "placed", "--json", "placed.json", "--", "-x", "{items}", "-y"];
    run(&placed).await;
    let placed = lines(&system.path().join("placed"), "words");
    assert_eq!(placed["words-0"], ["-x", "new", "-y"]);
    assert_eq!(placed["words-3"], ["-x", "e", "-y"]);

    let args = ["trigger", &digest, "--idempotent", "--items", "list", "--per-shard", "1", "--json"];
    let again = system.run("swarm", args).await.expect(0).stdout;
    assert!(
        again.contains("\"shards\":4") && again.contains("\"deduped\":2"),
        "`d` and `e` were alone: {again}"
    );

    let run = again.split('"').nth(3).unwrap();
    let told = system.run("swarm", ["reproduce", &format!("{run}/0/1"), "--json"]).await.expect(0).stdout;
    assert!(told.contains("\"extra_args\": [\n    \"a\"\n  ]"), "{told}");
    let shown = system.run("swarm", ["show", &format!("{run}/0/1"), "--json"]).await.expect(0).stdout;
    assert!(shown.contains("\"items\": [\n    1,\n    1\n  ]"), "{shown}");
}

#[tokio::test]
async fn every_bot_does_its_own_shard_also_when_it_was_away() {
    let mut system = System::start(2).await;
    let digest = archive(&system).await;
    let refused = system.run("swarm", ["run", &digest, "-d", "os=Plan9", "--each-bot"]).await.expect(2);
    assert!(refused.stderr.contains("none does: `os=Plan9` keeps 2 away"), "{}", refused.stderr);

    let ran = system.run("swarm", ["run", &digest, "--each-bot", "--output-dir", "each"]).await.expect(0);
    assert!(ran.stdout.contains("bot-0") && ran.stdout.contains("bot-1"), "{}", ran.stdout);
    let expected = ["bot-0", "bot-1"].map(|bot| (format!("run-{bot}"), vec![bot.to_owned()]));
    assert_eq!(lines(&system.path().join("each"), "bot"), BTreeMap::from(expected));

    system.kill_bot(1).await;
    let dead = |line: &str| line.contains("bot-1") && line.contains("dead");
    tests::eventually("bot-1 to be dead", || async {
        let bots = system.run("swarm", ["bots"]).await.expect(0).stdout;
        bots.lines().any(dead).then_some(())
    })
    .await;
    let trigger = ["trigger", &digest, "--each-bot", "--seen-within", "1h"];
    let run = id(&system.run("swarm", trigger).await.expect(0).stdout);
    let half = system.wait_for(&run, |run| run.shards[0].state() == ShardState::Completed).await;
    let bots: Vec<&str> = half.shards.iter().map(|shard| shard.bot_id.as_str()).collect();
    assert_eq!((bots, half.shards[1].state()), (vec!["bot-0", "bot-1"], ShardState::Pending));
    let why = system.run("swarm", ["explain", &run]).await.expect(0).stdout;
    assert!(
        why.contains("1 shard waits, each for its bot: 0 free, 0 busy, `the bot is dead` keeps 1 away"),
        "{why}"
    );

    // The bot is told of what it has to do, whoever has forgotten it meanwhile.
    system.kill_scheduler().await;
    system.restart_scheduler().await;
    system.restart_bot(1).await;
    let whole = system.wait_for(&run, |run| run.ended.is_some()).await;
    assert_eq!(whole.state(), RunState::Succeeded);
    assert_eq!(whole.shards[1].attempts[0].bot_id, "bot-1");
}
