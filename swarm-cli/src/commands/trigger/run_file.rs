//! A run of several steps, in a file. Its keys are the flags of `swarm run`.

use super::{fallback, tag, tests_args::TestsArgs, variable};
use crate::{
    cli::duration,
    failure::Usage,
    model::{After, Demand, Driver, FanOut, Items, OutputOf, RunSpec, Slice, StepSpec},
};
use clap::ValueEnum as _;
use proto::{Digest, EnvironmentPrefix, IntoDir, NamedCache, RelPath, Requirement, Requirements};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{
    collections::BTreeMap, fmt, io::Read as _, num::NonZeroU32, path::Path, str::FromStr, time::Duration,
};

/// More is no file that somebody has written.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// A run. A name and a priority that are said on the command line, too, are taken from there, a user from here; tags add up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RunFile {
    name: Option<String>,
    user: Option<String>,
    #[serde(default)]
    tag: Vec<Word<Tag>>,
    priority: Option<u8>,
    step: Vec<StepFile>,
}

/// A step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StepFile {
    name: String,
    input: Option<Word<Digest>>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    /// Steps that have to succeed first.
    #[serde(default)]
    after: Vec<String>,
    /// Steps that have to end first, whatever becomes of them.
    #[serde(default)]
    after_ended: Vec<String>,
    #[serde(default)]
    include: Vec<IncludeFile>,
    #[serde(default)]
    dimension: Vec<Word<Requirement>>,
    #[serde(default)]
    fallback: Vec<Word<Fallback>>,
    #[serde(default)]
    wait_for_capacity: bool,
    #[serde(default)]
    env: Vec<Word<Variable>>,
    #[serde(default)]
    env_prefix: Vec<Word<EnvironmentPrefix>>,
    #[serde(default)]
    output: Vec<Word<RelPath>>,
    #[serde(default)]
    named_cache: Vec<Word<NamedCache>>,
    hard_timeout: Option<Word<Time>>,
    io_timeout: Option<Word<Time>>,
    grace: Option<Word<Time>>,
    expiration: Option<Word<Time>>,
    max_attempts: Option<u32>,
    #[serde(default)]
    idempotent: bool,
    shards: Option<u32>,
    items: Option<Vec<String>>,
    per_shard: Option<NonZeroU32>,
    #[serde(default)]
    each_bot: bool,
    seen_within: Option<Word<Time>>,
    driver: Option<Word<DriverName>>,
    partitions: Option<u32>,
    max_bots: Option<u32>,
    target_time: Option<Word<Time>>,
    retries: Option<u32>,
    #[serde(default)]
    fail_fast: bool,
    suite: Option<String>,
    #[serde(default)]
    only: Vec<String>,
    test_timeout: Option<Word<Time>>,
}

/// The outputs of an earlier step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IncludeFile {
    output_of: String,
    #[serde(default)]
    into: Word<IntoDir>,
}

/// A value that is written as text, as on the command line.
#[derive(Clone, Debug, Default)]
struct Word<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
    }
}

/// What flags parse by functions.
macro_rules! word {
    ($name:ident($of:ty), $parse:path) => {
        #[derive(Clone, Debug)]
        struct $name($of);

        impl FromStr for $name {
            type Err = Usage;

            fn from_str(text: &str) -> Result<Self, Usage> {
                $parse(text).map(Self)
            }
        }
    };
}

word!(Tag(String), tag);
word!(Fallback(Slice), fallback);
word!(Variable((String, String)), variable);
word!(Time(Duration), duration);
word!(DriverName(Driver), driver);

fn driver(text: &str) -> Result<Driver, Usage> {
    Driver::from_str(text, false).map_err(|_| {
        let names: Vec<&str> = Driver::value_variants().iter().map(|driver| driver.name()).collect();
        Usage(format!("no driver: give one of {}", names.join(", ")))
    })
}

/// Reads a run. Files that end in `.json` are JSON, all others are TOML. Without a user it has the empty one.
pub(super) fn read(path: &Path) -> Result<RunSpec, Usage> {
    let refuse = |error: &dyn fmt::Display| Usage(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| refuse(&error))?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| refuse(&error))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(refuse(&format!("it has more than {MOST_BYTES} bytes")));
    }
    let file: RunFile = if path.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text).map_err(|error| refuse(&error))?
    } else {
        toml::from_str(&text).map_err(|error| refuse(&error.to_string().trim_end()))?
    };
    run(file).map_err(|wrong| {
        let line = wrong.line(&text).map(|line| format!("line {line}: ")).unwrap_or_default();
        refuse(&format!("{line}step `{}`: {}", wrong.step, wrong.problem))
    })
}

/// What is wrong with a step that makes sense for itself.
#[derive(Debug)]
struct Wrong {
    step: String,
    problem: String,
    /// A text of the step that this is about.
    about: Option<String>,
}

impl Wrong {
    /// Where in the file that text stands first after the step's name, or else that name itself.
    fn line(&self, text: &str) -> Option<usize> {
        let named = |line: &str, name: &str| line.contains(&format!("\"{name}\""));
        let lines = || text.lines().zip(1..);
        let step = lines().find(|(line, _)| named(line, &self.step) && line.contains("name"))?.1;
        let about = self.about.as_ref();
        let found = about.and_then(|about| lines().skip(step - 1).find(|(line, _)| named(line, about)));
        Some(found.map_or(step, |(_, number)| number))
    }
}

fn run(file: RunFile) -> Result<RunSpec, Wrong> {
    let mut steps = Vec::new();
    let mut numbers = BTreeMap::new();
    for (number, step) in (0u32..).zip(file.step) {
        let name = step.name.clone();
        let wrong = |(problem, about)| Wrong { step: name.clone(), problem, about };
        steps.push(step.spec(&numbers).map_err(wrong)?);
        if numbers.insert(name.clone(), number).is_some() {
            return Err(wrong(("there is an earlier step of this name".into(), None)));
        }
    }
    Ok(RunSpec {
        name: file.name.unwrap_or_else(|| "run".into()),
        user: file.user.unwrap_or_default(),
        tags: file.tag.into_iter().map(|tag| tag.0.0).collect(),
        priority: file.priority.unwrap_or(super::PRIORITY),
        steps,
        parent: None,
    })
}

/// What is wrong, and the text that it is about.
type Problem = (String, Option<String>);

impl StepFile {
    /// After those that have these numbers.
    fn spec(self, numbers: &BTreeMap<String, u32>) -> Result<StepSpec, Problem> {
        let fan_out = self.fan_out().map_err(|problem| (problem, None))?;
        let (after, includes) = self.earlier(numbers)?;
        let plain = |problem: &dyn fmt::Display| (problem.to_string(), None);
        let mut requirements = Requirements::default();
        for requirement in self.dimension {
            requirements.insert(requirement.0).map_err(|error| plain(&error))?;
        }
        let named_caches: Vec<NamedCache> = self.named_cache.into_iter().map(|cache| cache.0).collect();
        NamedCache::check(&named_caches).map_err(|error| plain(&error))?;
        let (wait_for_capacity, time) = (self.wait_for_capacity, |time: Option<Word<Time>>| Some(time?.0.0));
        let fallbacks = self.fallback.into_iter().map(|slice| Slice { wait_for_capacity, ..slice.0.0 });
        Ok(StepSpec {
            name: self.name,
            input: self.input.map(|input| input.0),
            command: self.command,
            extra_args: self.args,
            first: Slice { requirements, expiration: time(self.expiration), wait_for_capacity },
            fallbacks: fallbacks.collect(),
            environment: self.env.into_iter().map(|variable| variable.0.0).collect(),
            environment_prefixes: self.env_prefix.into_iter().map(|prefix| prefix.0).collect(),
            outputs: self.output.into_iter().map(|path| path.0).collect(),
            named_caches,
            hard_timeout: time(self.hard_timeout),
            io_timeout: time(self.io_timeout),
            grace: time(self.grace),
            fan_out,
            max_attempts: self.max_attempts,
            idempotent: self.idempotent,
            after,
            includes,
        })
    }

    /// What its shards are.
    fn fan_out(&self) -> Result<FanOut, String> {
        let tests = self.tests()?;
        let both =
            |one: &str, other: &str| Err(format!("`{one}` and `{other}` cannot both be had: leave one out"));
        if self.each_bot {
            let given = [
                ("shards", self.shards.is_some()),
                ("items", self.items.is_some()),
                ("per-shard", self.per_shard.is_some()),
                ("driver", self.driver.is_some()),
                ("fallback", !self.fallback.is_empty()),
                ("idempotent", self.idempotent),
            ];
            return match given.iter().find(|(_, is_given)| *is_given) {
                Some((key, _)) => both("each-bot", key),
                None => Ok(FanOut::EachBot { seen_within: self.seen_within.as_ref().map(|time| time.0.0) }),
            };
        }
        if self.seen_within.is_some() {
            return Err("`seen-within` is for a shard on every bot: give `each-bot = true`, too".into());
        }
        if self.per_shard.is_some() && tests.shards().is_some() {
            return both("per-shard", "shards");
        }
        let Some(items) = &self.items else {
            if self.per_shard.is_some() {
                return Err("`per-shard` says how many `items` a shard gets: give them, too".into());
            }
            return tests.fan_out().map_err(|error| error.0);
        };
        if self.driver.is_some() {
            return both("items", "driver");
        }
        if items.is_empty() || items.iter().any(String::is_empty) {
            return Err("`items` is empty, or has an empty text: each text is an item".into());
        }
        let cut = tests.cut(self.per_shard).ok_or(
            "say how many of the `items` a shard gets with `per-shard`, or how many shards there are to be with \
             `shards`",
        )?;
        Ok(FanOut::Items(Items::new(items.clone(), cut)))
    }

    /// How its tests are shared out.
    fn tests(&self) -> Result<TestsArgs, String> {
        let time = |time: &Option<Word<Time>>| time.as_ref().map(|time| time.0.0);
        let of_driver = [
            ("partitions", self.partitions.is_some()),
            ("max-bots", self.max_bots.is_some()),
            ("target-time", self.target_time.is_some()),
            ("retries", self.retries.is_some()),
            ("fail-fast", self.fail_fast),
            ("suite", self.suite.is_some()),
            ("only", !self.only.is_empty()),
            ("test-timeout", self.test_timeout.is_some()),
        ];
        if self.driver.is_none()
            && let Some((key, _)) = of_driver.iter().find(|(_, is_given)| *is_given)
        {
            return Err(format!("`{key}` is for tests that are shared out: give a `driver`, too"));
        }
        Ok(TestsArgs {
            shards: self.shards,
            driver: self.driver.as_ref().map(|driver| driver.0.0),
            partitions: self.partitions,
            max_bots: self.max_bots,
            target_time: time(&self.target_time),
            retries: self.retries,
            fail_fast: self.fail_fast,
            suite: self.suite.clone(),
            only: self.only.clone(),
            test_timeout: time(&self.test_timeout),
        })
    }

    /// What it has to do with the steps before it.
    fn earlier(&self, numbers: &BTreeMap<String, u32>) -> Result<(Vec<After>, Vec<OutputOf>), Problem> {
        let find = |name: &String| {
            numbers.get(name).copied().ok_or_else(|| {
                let problem = format!("there is no earlier step `{name}`: a step waits for those above it");
                (problem, Some(name.clone()))
            })
        };
        let after = |names: &[String], demand| -> Result<Vec<After>, Problem> {
            names.iter().map(|name| Ok(After { step: find(name)?, demand })).collect()
        };
        let mut all = after(&self.after, Demand::Succeeded)?;
        all.extend(after(&self.after_ended, Demand::Ended)?);
        let includes = self
            .include
            .iter()
            .map(|include| Ok(OutputOf { step: find(&include.output_of)?, into: include.into.0.clone() }));
        Ok((all, includes.collect::<Result<_, Problem>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Cut;

    fn read_text(name: &str, text: &str) -> Result<RunSpec, Usage> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let prefix = format!("{}/", dir.path().display());
        read(&path).map_err(|error| Usage(error.0.replace(&prefix, "")))
    }

    /// As the documentation has it.
    fn sample() -> &'static str {
        let documented = include_str!("../../../../docs/testing.md");
        let (_, rest) = documented.split_once("```toml\n# nightly.toml\n").unwrap();
        rest.split_once("```").unwrap().0
    }

    #[test]
    fn the_sample_in_the_documentation_is_a_run() {
        let run = read_text("nightly.toml", sample()).unwrap();
        assert_eq!((run.name.as_str(), run.priority, run.steps.len()), ("nightly", 50, 3));
        let [build, tests, merge] = &run.steps[..] else { panic!("{:?}", run.steps) };
        assert!(build.idempotent && build.after.is_empty());
        assert_eq!(tests.fan_out, FanOut::Shards(3));
        assert_eq!(tests.hard_timeout, Some(Duration::from_secs(1800)));
        assert_eq!(tests.environment, [("RUST_LOG".to_owned(), "info".to_owned())]);
        assert_eq!(tests.includes, [OutputOf { step: 0, into: "built".parse().unwrap() }]);
        assert_eq!(merge.input, None);
        assert_eq!(merge.after, [After { step: 1, demand: Demand::Ended }]);
        assert_eq!(merge.includes[0].into.as_str(), "parts/{index}");
    }

    #[test]
    fn items_and_every_bot_are_told_as_on_the_command_line() {
        let step = |keys: &str| {
            let input = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262/0";
            let run = read_text("run.toml", &format!("[[step]]\nname = \"a\"\ninput = \"{input}\"\n{keys}"));
            run.map(|run| run.steps[0].fan_out.clone()).map_err(|error| error.0)
        };
        let items = |cut| FanOut::Items(Items::new(vec!["x".into(), "y".into()], cut));
        let two = NonZeroU32::new(2).unwrap();
        assert_eq!(step("items = [\"x\", \"y\"]\nper-shard = 2"), Ok(items(Cut::PerShard(two))));
        assert_eq!(step("items = [\"x\", \"y\"]\nshards = 2"), Ok(items(Cut::Shards(two))));
        let seen_within = Some(Duration::from_secs(3600));
        assert_eq!(step("each-bot = true\nseen-within = \"1h\""), Ok(FanOut::EachBot { seen_within }));
        for (keys, problem) in [
            ("items = [\"x\"]", "say how many of the `items`"),
            ("items = []\nshards = 2", "`items` is empty"),
            ("items = [\"x\"]\nshards = 2\nper-shard = 2", "`per-shard` and `shards` cannot both be had"),
            ("items = [\"x\"]\nshards = 2\ndriver = \"gtest\"", "`items` and `driver` cannot both be had"),
            ("items = [\"x\"]\nshards = 2\nretries = 1", "`retries` is for tests"),
            ("per-shard = 2", "`per-shard` says how many `items`"),
            ("seen-within = \"1h\"", "`seen-within` is for a shard on every bot"),
            ("each-bot = true\nshards = 2", "`each-bot` and `shards` cannot both be had"),
        ] {
            let refused = step(keys).unwrap_err();
            assert!(refused.contains(problem), "{keys}: {refused}");
        }
    }

    #[test]
    fn json_says_the_same() {
        let text = r#"{"step": [
            {"name": "a", "command": ["x"], "input": "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262/0"},
            {"name": "b", "command": ["y"], "include": [{"output-of": "a", "into": "in"}], "driver": "gtest", "retries": 3}
        ]}"#;
        let run = read_text("run.json", text).unwrap();
        assert_eq!(run.steps[1].includes[0].step, 0);
        assert!(matches!(&run.steps[1].fan_out, FanOut::Tests(policy) if policy.retries == 3));
    }

    #[test]
    fn errors_name_the_file_the_line_and_the_remedy() {
        let step = "[[step]]\nname = \"a\"\ncommand = [\"x\"]\n";
        let second = format!("{step}[[step]]\nname = \"b\"\ncommand = [\"x\"]\n");
        let wrong: [(&str, String, &[&str]); 9] = [
            ("run.toml", "[[step]]\nnaem = \"a\"\n".into(), &["line 2", "unknown field `naem`", "`name`"]),
            ("run.toml", format!("{step}hard-timeout = \"soon\"\n"), &["line 4", "`soon`: ", "90s, 15m"]),
            (
                "run.toml",
                format!("{step}include = [{{ output-of = \"a\", into = \"../x\" }}]\n"),
                &["line 4", "`../x`", "`..`"],
            ),
            ("run.toml", format!("{step}retries = 1\n"), &["line 2: step `a`: `retries`", "give a `driver`"]),
            ("run.toml", format!("{step}driver = \"junit\"\n"), &["line 4", "give one of gtest, libtest"]),
            ("run.toml", format!("{step}{step}"), &["step `a`: there is an earlier step of this name"]),
            (
                "run.toml",
                format!("{second}after = [\"a\",\n \"c\"]\n"),
                &["line 8: step `b`: there is no earlier step `c`"],
            ),
            (
                "run.toml",
                format!("{step}after-ended = [\"a\"]\n"),
                &["step `a`: there is no earlier step `a`"],
            ),
            ("run.json", "{\"step\": [\n{\"name\": 1}]}".into(), &["line 2 column"]),
        ];
        for (name, text, parts) in wrong {
            let told = read_text(name, &text).unwrap_err().0;
            assert!(told.starts_with(&format!("{name}: ")), "{told}");
            for part in parts {
                assert!(told.contains(part), "{part}: {told}");
            }
        }
    }
}
