use super::*;
use crate::{
    model::{Driver, RunState},
    testing::{completed, merged_by, run, run_with_tests},
};
use cas::memory::MemoryStore;
use proto::DigestFunction;
use std::fs;

const GOOD: &str = r#"<testsuite name="S"><testcase name="a"/></testsuite>"#;

/// Stores these files and a manifest of them.
async fn stored(store: &MemoryStore, files: &[(&str, &str)]) -> Digest {
    let function = DigestFunction::Blake3;
    let mut isolated = Isolated::new(function);
    for (path, content) in files {
        let digest = store.put(function, content.to_string().into()).await.unwrap();
        isolated.files.insert(RelPath::new(path).unwrap(), Entry::File { digest, mode: Some(0o644) });
    }
    store.put(function, isolated.to_bytes().into()).await.unwrap()
}

/// A run with a shard for each of these outputs.
fn run_with(outputs: &[Option<Digest>]) -> Run {
    let shards = outputs.iter().zip(0..).map(|(outputs, index)| {
        let mut shard = completed(index, 0);
        shard.attempts[0].result.as_mut().unwrap().outputs = *outputs;
        shard
    });
    run(RunState::Succeeded, shards.collect())
}

#[tokio::test]
async fn reports_are_found_among_all_that_shards_left() {
    let store = MemoryStore::new();
    let large =
        format!("<testsuite name='L'><testcase name='b'/><!--{}--></testsuite>", "x".repeat(5_000_000));
    let first = stored(
        &store,
        &[
            ("log.txt", GOOD),
            ("coverage.xml", "<coverage/>"),
            ("sub/Report.XML", GOOD),
            ("z/same.xml", GOOD),
            ("big.xml", &large),
        ],
    )
    .await;
    let run = run_with(&[Some(first), None]);
    let reports = reports(&store, &run).await;
    let paths: Vec<_> = reports[&run.shards[0].id].files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["big.xml", "sub/Report.XML"], "each content once, and nothing that is no report");
    assert!(reports[&run.shards[0].id].unreadable.is_empty());
    assert!(reports[&run.shards[1].id].files.is_empty());
}

#[tokio::test]
async fn outputs_that_are_gone_or_malformed_are_told() {
    let store = MemoryStore::new();
    let function = DigestFunction::Blake3;
    let lost = function.digest(b"lost");
    let malformed = store.put(function, "no manifest".into()).await.unwrap();
    let mut isolated = Isolated::new(function);
    isolated.files.insert(RelPath::new("r.xml").unwrap(), Entry::File { digest: lost, mode: None });
    let holes = store.put(function, isolated.to_bytes().into()).await.unwrap();
    let run = run_with(&[Some(lost), Some(malformed), Some(holes)]);
    let reports = reports(&store, &run).await;
    let told = |index: usize| reports[&run.shards[index].id].unreadable.join("\n");
    assert!(told(0).contains("is not in the store"), "{}", told(0));
    assert!(told(1).contains("is refused"), "{}", told(1));
    assert!(told(2).starts_with("r.xml: "), "{}", told(2));
}

#[tokio::test]
async fn a_report_that_is_too_large_is_left_alone() {
    let mut isolated = Isolated::new(DigestFunction::Blake3);
    let huge = Digest::new(DigestFunction::Blake3, &[7; 32], MAX_REPORT + 1).unwrap();
    isolated.files.insert(RelPath::new("r.xml").unwrap(), Entry::File { digest: huge, mode: None });
    let mut unreadable = vec![];
    assert_eq!(candidates(&isolated, |_, _| true, &mut unreadable), []);
    assert_eq!(unreadable, ["r.xml: 67108865 bytes are more than are read"]);
}

#[tokio::test]
async fn outputs_are_laid_out_by_step_and_index() {
    let store = MemoryStore::new();
    let outputs = stored(&store, &[("a.txt", "text"), ("sub/b.txt", "text")]).await;
    let mut run = run_with(&[Some(outputs), None, Some(outputs)]);
    run.spec.steps[0].name = "../unit tests".into();
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new/outputs");
    assert_eq!(download(&store, &run, &target).await.unwrap(), 2);
    let mut names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["_unit_tests-0", "_unit_tests-2"], "no cache is left behind");
    assert_eq!(fs::read_to_string(target.join("_unit_tests-2/sub/b.txt")).unwrap(), "text");
    fs::write(target.join("_unit_tests-2/a.txt"), "mine").unwrap();
    assert_eq!(fs::read_to_string(target.join("_unit_tests-0/a.txt")).unwrap(), "text");
    let error = format!("{:#}", download(&store, &run, &target).await.unwrap_err());
    assert!(error.contains("is there already"), "{error}");
}

#[tokio::test]
async fn outputs_that_cannot_be_had_leave_nothing_in_the_way() {
    let store = MemoryStore::new();
    let run = run_with(&[Some(DigestFunction::Blake3.digest(b"lost"))]);
    let dir = tempfile::tempdir().unwrap();
    let error = format!("{:#}", download(&store, &run, dir.path()).await.unwrap_err());
    assert!(error.starts_with("cannot download the outputs of shard 1hf7yat000007/0/0: "), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn steps_of_one_name_have_directories_of_their_own() {
    let mut run = run_with(&[None, None]);
    run.spec.steps.push(run.spec.steps[0].clone());
    run.shards[1].id.step = 1;
    let names: Vec<_> = directory_names(&run).into_values().collect();
    assert_eq!(names, ["suite-0-0", "suite-1-1"]);
}

#[tokio::test]
async fn logs_of_tests_are_gathered_from_all_workers() {
    let store = MemoryStore::new();
    let first =
        stored(&store, &[("test-logs/A/b.log", "one"), ("test-logs/A/c.log", "c"), ("kept", "k")]).await;
    let second = stored(&store, &[("test-logs/A/b.log", "two"), ("test-logs/d.log", "d")]).await;
    let shards = run_with(&[Some(first), Some(second), None]).shards;
    let run = run_with_tests(Driver::Gtest, RunState::Succeeded, shards);
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(download(&store, &run, dir.path()).await.unwrap(), 2);
    let text = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
    assert_eq!(text("suite-test-logs/A/b.log") + &text("suite-test-logs/A/b.log.1"), "onetwo");
    assert_eq!(
        text("suite-test-logs/A/c.log") + &text("suite-test-logs/d.log") + &text("suite-0/kept"),
        "cdk"
    );
    assert!(!dir.path().join("suite-0/test-logs").exists());

    let tree = whole(&store, &run).await.unwrap().unwrap();
    let tree = Isolated::parse(&store.get(tree).await.unwrap()).unwrap();
    let paths: Vec<&str> = tree.files.keys().map(RelPath::as_str).collect();
    let logs = ["suite-test-logs/A/b.log", "suite-test-logs/A/b.log.1", "suite-test-logs/A/c.log"];
    assert_eq!(paths, [&["suite-0/kept"], &logs[..], &["suite-test-logs/d.log"]].concat());
    let content = tree.files[logs[1]].digest().unwrap();
    assert_eq!(store.get(content).await.unwrap(), "two");
    assert!(whole(&store, &run_with(&[None])).await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_later_step_has_made_something_of_is_neither_laid_out_nor_counted_twice() {
    let store = MemoryStore::new();
    let one = stored(&store, &[("r.xml", GOOD), ("log", "one")]).await;
    let all = stored(&store, &[("all.xml", GOOD), ("log", "all")]).await;
    let merge = run_with(&[Some(all)]).shards;
    let run = merged_by(run_with(&[Some(one), Some(one)]), merge);
    let target = tempfile::tempdir().unwrap();
    let dir = target.path().join("out");
    assert_eq!(download(&store, &run, &dir).await.unwrap(), 1);
    assert_eq!(fs::read_to_string(dir.join("merge-0/log")).unwrap(), "all");
    assert!(!dir.join("suite-0").exists());
    let reports = reports(&store, &run).await;
    let files: Vec<usize> = run.shards.iter().map(|shard| reports[&shard.id].files.len()).collect();
    assert_eq!(files, [1, 1, 0], "the merged report says nothing new");

    // One that leaves nothing leaves the parts as the result.
    let merge = run_with(&[None]).shards;
    let run = merged_by(run_with(&[Some(one), Some(one)]), merge);
    let dir = target.path().join("parts");
    assert_eq!(download(&store, &run, &dir).await.unwrap(), 2);
    assert_eq!(fs::read_to_string(dir.join("suite-1/log")).unwrap(), "one");
}

#[test]
fn outputs_of_each_bot_are_laid_out_by_bot_unless_that_is_ambiguous() {
    let mut run = run_with(&[None, None]);
    for (shard, bot) in run.shards.iter_mut().zip(["b1", "1"]) {
        shard.bot = Some(bot.parse().unwrap());
    }
    let names = |run: &Run| directory_names(run).into_values().collect::<Vec<_>>();
    assert_eq!(names(&run), ["suite-b1", "suite-1"]);
    let mut other = completed(1, 0);
    other.id.step = 1;
    run.shards.push(other);
    let named = |name: &str| crate::model::StepSpec { name: name.into(), ..run.spec.steps[0].clone() };
    run.spec.steps = vec![named("a"), named("a-1")];
    run.shards[0].bot = Some("1-1".parse().unwrap());
    assert_eq!(names(&run), ["a-0", "a-1", "a-1-1"], "`a-1-1` would be two");
}
