//! The bytes of records. What is written today has to be read by every later scheduler: these bytes never change.

use super::*;
use crate::{
    queue::{
        After, AttemptStats, BotOrder, Demand, EachBot, Ending, FanOut, Items, Listing, OutputOf, Place,
        Quarantined, Slice, Standing, StepSpec, TestDriver, TestsPolicy, Timeouts,
    },
    sharding::{ListedTest, TestOutcome, TestReport},
};
use proto::{Cut, DigestFunction, RelPath, Requirements};

fn run() -> RunId {
    RunId::new(Timestamp::from_micros(1_700_000_000_000_000), 5)
}

fn shard() -> ShardId {
    ShardId { run: run(), step: 0, index: 3 }
}

fn spec() -> RunSpec {
    let mut requirements = Requirements::default();
    requirements.insert("os=Linux|Mac".parse().unwrap()).unwrap();
    let step = StepSpec {
        name: "unit".into(),
        input: Some(DigestFunction::Sha256.digest(b"x")),
        command: vec!["./t".into()],
        extra_args: vec!["-v".into()],
        first: Slice { requirements, expiration: Duration::from_secs(90), wait_for_capacity: false },
        fallbacks: vec![],
        environment: vec![("A".into(), "b".into())],
        environment_prefixes: vec![],
        outputs: vec![RelPath::new("out/a").unwrap()],
        named_caches: vec![],
        timeouts: Timeouts {
            hard: Duration::from_secs(60),
            io: Some(Duration::from_secs(5)),
            grace: Duration::ZERO,
        },
        fan_out: FanOut::Shards(NonZeroU32::new(4).unwrap()),
        max_attempts: NonZeroU32::new(2).unwrap(),
        idempotent: false,
        after: vec![],
        includes: vec![],
    };
    RunSpec {
        name: "n".into(),
        user: "u".into(),
        tags: vec!["k:v".into()],
        priority: 7,
        steps: vec![Arc::new(step)],
        parent: None,
        secret: None,
    }
}

fn result() -> AttemptResult {
    AttemptResult {
        ending: Ending::TimedOut,
        exit_code: Some(-1),
        signal: Some(9),
        message: "late".into(),
        outputs: Some(DigestFunction::Sha1.digest(b"y")),
        stats: Some(AttemptStats {
            fetch: Duration::from_millis(1),
            run: Duration::from_millis(2),
            upload: Duration::from_millis(3),
            cold_items: 4,
            cold_bytes: 5,
            hot_items: 6,
            hot_bytes: 7,
            uploaded_bytes: 8,
        }),
        out_of_memory: false,
    }
}

/// Its step shares out tests.
fn sharing_spec() -> RunSpec {
    let policy = TestsPolicy {
        driver: TestDriver::Opaque,
        partitions: 9,
        decided: 0,
        max_workers: NonZeroU32::new(3),
        target_time: Some(Duration::from_secs(60)),
        retries: 2,
        fail_fast: true,
        suite: "s".into(),
        only: ["a".to_owned(), "b".to_owned()].into(),
        test_timeout: Some(Duration::from_secs(9)),
    };
    let spec = spec();
    let step = StepSpec { fan_out: FanOut::Tests(Arc::new(policy)), ..StepSpec::clone(&spec.steps[0]) };
    RunSpec { steps: vec![Arc::new(step)], ..spec }
}

/// Its second step waits for the first.
fn waiting_spec() -> RunSpec {
    let mut spec = spec();
    let later = StepSpec {
        input: None,
        after: vec![After { step: 0, demand: Demand::Ended }],
        includes: vec![OutputOf { step: 0, into: "parts/{index}".parse().unwrap() }],
        ..StepSpec::clone(&spec.steps[0])
    };
    spec.steps.push(Arc::new(later));
    spec
}

fn listing() -> Listing {
    let test = |name: &str, group: Option<&str>| ListedTest {
        name: name.into(),
        group: group.map(Into::into),
        exclusive: group.is_some(),
        disabled: group.is_none(),
    };
    Listing {
        tests: [test("a", Some("g")), test("b", None)].into(),
        places: vec![Place { file: "a.cc".into(), line: 7 }, Place::default()],
    }
}

fn report() -> TestReport {
    TestReport {
        test: TestIndex(1),
        outcome: TestOutcome::Crashed("signal 11".into()),
        duration: Duration::from_millis(5),
        started: Timestamp::from_micros(1_700_000_000_000_002),
        message: "signal 11".into(),
        output: "boom".into(),
    }
}

fn items(cut: Cut) -> Items {
    Items::new(vec!["a".into(), "b c".into()], cut).unwrap()
}

/// A run of one step that is cut like this.
fn created(fan_out: FanOut) -> Transition {
    let spec = spec();
    let step = StepSpec { fan_out, ..StepSpec::clone(&spec.steps[0]) };
    let spec = Arc::new(RunSpec { steps: vec![Arc::new(step)], ..spec });
    Transition::RunCreated { run: run(), request: "req".parse().unwrap(), spec }
}

/// One of each kind, with a value in every field.
fn one_of_each() -> Vec<Transition> {
    let (run, shard, token) = (run(), shard(), Token(77));
    vec![
        Transition::RunCreated { run, request: "req".parse().unwrap(), spec: Arc::new(spec()) },
        Transition::Leased {
            shard,
            attempt: 2,
            token,
            bot: "b1".parse().unwrap(),
            session: "s1".parse().unwrap(),
        },
        Transition::AttemptLost { shard, token, reason: "gone".into(), output_size: 9, loss: Loss::Counted },
        Transition::AttemptFinished { shard, token, result: result(), output_size: 9 },
        Transition::ShardEnded { shard, ending: Ending::Expired, message: "late".into() },
        Transition::KillRequested { shard },
        Transition::CancelRequested { run },
        Transition::AttemptLost { shard, token, reason: "stop".into(), output_size: 9, loss: Loss::Returned },
        Transition::BotOrdered {
            bot: "b1".parse().unwrap(),
            standing: Standing {
                order: BotOrder::Terminate("s1".parse().unwrap()),
                message: "new disk".into(),
                lenient: false,
            },
        },
        Transition::ShardDeduped {
            shard,
            reused: Reused { from: ShardId { index: 2, ..shard }, result: result() },
        },
        Transition::SliceGivenUp { shard, next: 1 },
        Transition::AttemptFinished {
            shard,
            token,
            result: AttemptResult { out_of_memory: true, ..result() },
            output_size: 0,
        },
        Transition::RunDeleted { run, last_token: Token(78) },
        Transition::RunCreated { run, request: "req".parse().unwrap(), spec: Arc::new(sharing_spec()) },
        Transition::TestsListed { run, step: 0, listing: Arc::new(listing()), workers: 3 },
        Transition::TestsGranted { shard, token, tests: [TestIndex(1), TestIndex(0)].into() },
        Transition::TestsReported { shard, token, reports: vec![report()] },
        Transition::TestQuarantined {
            quarantined: Quarantined {
                suite: "s".into(),
                test: "t".into(),
                owner: "ann".into(),
                reason: "slow".into(),
                expires: Timestamp::from_micros(1_800_000_000_000_000),
            },
        },
        Transition::ShardEnded { shard, ending: Ending::NotNeeded, message: "none left".into() },
        Transition::ShardEnded { shard, ending: Ending::Skipped, message: "step `a` was skipped".into() },
        Transition::RunCreated { run, request: "req".parse().unwrap(), spec: Arc::new(waiting_spec()) },
        created(FanOut::Items(items(Cut::PerShard(NonZeroU32::MIN)))),
        created(FanOut::Items(items(Cut::Shards(NonZeroU32::MIN)))),
        created(FanOut::EachBot(EachBot {
            seen_within: Some(Duration::from_secs(3600)),
            bots: ["b1".parse().unwrap(), "b2".parse().unwrap()].into(),
        })),
        Transition::WorkersAdded { run, step: 2, more: 3 },
    ]
}

/// Their bytes in hex, one record a line.
const GOLDEN: &str = include_str!("golden.txt");

fn unhex(text: &str) -> Vec<u8> {
    let digit = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

#[test]
fn old_records_stay_readable_and_new_ones_look_the_same() {
    let at = Timestamp::from_micros(1_700_000_000_000_001);
    let records: Vec<Record> =
        one_of_each().into_iter().map(|transition| Record { at, transition }).collect();
    let hex = |record| encode(record).iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    assert_eq!(records.iter().map(hex).collect::<String>(), GOLDEN);
    let read: Vec<Record> = GOLDEN.lines().map(|line| decode(&unhex(line)).unwrap()).collect();
    assert_eq!(read, records);
}

#[test]
fn no_bytes_make_it_panic() {
    for transition in one_of_each() {
        let bytes = encode(&Record { at: Timestamp::from_micros(1), transition });
        for position in 0..bytes.len() {
            let _ = decode(&bytes[..position]);
            let mut changed = bytes.clone();
            changed[position] ^= 0x55;
            let _ = decode(&changed);
        }
    }
}

#[test]
fn what_a_step_has_gained_since_is_kept() {
    let mut spec = spec();
    let first = Slice { wait_for_capacity: true, ..spec.steps[0].first.clone() };
    let step = StepSpec {
        fallbacks: vec![Slice { requirements: Requirements::default(), ..first.clone() }],
        first,
        environment_prefixes: vec!["PATH=tools/bin".parse().unwrap(), "PATH=bin".parse().unwrap()],
        named_caches: vec!["pip=.cache/pip".parse().unwrap()],
        idempotent: true,
        ..(*spec.steps[0]).clone()
    };
    spec.steps = vec![Arc::new(step)];
    spec.parent = Some(shard());
    spec.secret = Some(SealedSecret { sealed: Arc::new([1, 2, 3]), fingerprint: [7; 32] });
    let transition =
        Transition::RunCreated { run: run(), request: "req".parse().unwrap(), spec: Arc::new(spec) };
    let record = Record { at: Timestamp::from_micros(1), transition };
    let read = decode(&encode(&record)).unwrap();
    assert_eq!(read, record);
    let Transition::RunCreated { spec, .. } = read.transition else { panic!("it is a run") };
    assert_eq!(&*spec.secret.as_ref().unwrap().sealed, [1, 2, 3]);
}
