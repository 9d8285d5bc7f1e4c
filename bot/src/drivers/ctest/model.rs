//! `ctest --show-only=json-v1`: the tests and those of their properties that matter to us.

use super::{TIMEOUT, expression};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// All tests, in CTest's order.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) tests: Vec<Arc<Test>>,
    places: HashMap<String, usize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) name: String,
    /// Empty when its program does not exist.
    pub(super) command: Vec<String>,
    pub(super) properties: Properties,
}

/// What decides how it is run, and what comes of it.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) directory: Option<String>,
    environment: Vec<String>,
    modifications: Vec<String>,
    /// CTest's own default where the test has none.
    pub(super) timeout: Option<Duration>,
    pub(super) will_fail: bool,
    pub(super) skip_code: Option<i32>,
    pub(super) pass_expressions: Vec<Regex>,
    pub(super) fail_expressions: Vec<Regex>,
    pub(super) skip_expressions: Vec<Regex>,
    pub(super) sets_up: Vec<String>,
    pub(super) requires: Vec<String>,
    pub(super) cleans_up: Vec<String>,
    depends: Vec<String>,
    files: Vec<String>,
    pub(super) exclusive: bool,
    pub(super) disabled: bool,
}

#[derive(Debug, Deserialize)]
struct Document {
    tests: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Debug, Deserialize)]
struct Property {
    name: String,
    #[serde(default)]
    value: Value,
}

impl Model {
    /// The model in what ctest printed.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| format!("what ctest prints is no list: {error}"))?;
        let test = |Entry { name, command, properties }: Entry| {
            let properties = Properties::of(&name, properties)?;
            Ok(Arc::new(Test { name, command, properties }))
        };
        let tests: Vec<Arc<Test>> = document.tests.into_iter().map(test).collect::<Result<_, String>>()?;
        let places = tests.iter().enumerate().map(|(place, test)| (test.name.clone(), place)).collect();
        Ok(Self { tests, places })
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Test>> {
        self.places.get(name).map(|&place| Arc::clone(&self.tests[place]))
    }

    /// The tests that have to run before `test`, in their order: those that it depends on, those that set up its fixtures,
    /// and what these need.
    pub(super) fn needed(&self, test: &Test) -> Vec<Arc<Test>> {
        let mut seen = HashSet::from([test.name.as_str()]);
        let mut order = Vec::new();
        // From `test` on, each with what is left of its needs. Chains may be too long for recursion.
        let mut path = vec![(None, self.needs(test).into_iter())];
        while let Some((current, needs)) = path.last_mut() {
            let Some(need) = needs.next() else {
                order.extend(current.map(Arc::clone));
                path.pop();
                continue;
            };
            if seen.insert(need.name.as_str()) {
                path.push((Some(need), self.needs(need).into_iter()));
            }
        }
        order
    }

    /// What `test` needs itself. A disabled one does not run, and nothing waits for it.
    fn needs(&self, test: &Test) -> Vec<&Arc<Test>> {
        let Properties { requires, cleans_up, .. } = &test.properties;
        // What clears away comes after what has set up, as CTest has it.
        let set_ups = self.set_ups(requires).chain(self.set_ups(cleans_up));
        self.depends(test).chain(set_ups).filter(|need| !need.properties.disabled).collect()
    }

    /// The tests that set up one of `fixtures`.
    pub(super) fn set_ups<'a>(&'a self, fixtures: &[String]) -> impl Iterator<Item = &'a Arc<Test>> {
        // Most tests have none.
        let tests: &[Arc<Test>] = if fixtures.is_empty() { &[] } else { self.tests.as_slice() };
        tests
            .iter()
            .filter(move |test| test.properties.sets_up.iter().any(|fixture| fixtures.contains(fixture)))
    }

    /// The tests that `test` depends on.
    pub(super) fn depends<'a>(&'a self, test: &Test) -> impl Iterator<Item = &'a Arc<Test>> {
        self.depends_places(test).map(move |place| &self.tests[place])
    }

    /// The same, by their places. CTest itself lets what clears a fixture away depend on all tests that use it: these it does
    /// not need.
    pub(super) fn depends_places(&self, test: &Test) -> impl Iterator<Item = usize> {
        let cleared = &test.properties.cleans_up;
        let uses = move |place: &usize| {
            self.tests[*place].properties.requires.iter().any(|fixture| cleared.contains(fixture))
        };
        let places = test.properties.depends.iter().filter_map(move |name| self.places.get(name).copied());
        places.filter(move |place| !uses(place))
    }

    /// The fixtures that tests have set up which are `done`.
    pub(super) fn fixtures_of(&self, done: impl Fn(&str) -> bool) -> BTreeSet<&String> {
        let tests = self.tests.iter().filter(|test| !test.properties.sets_up.is_empty() && done(&test.name));
        tests.flat_map(|test| &test.properties.sets_up).collect()
    }
}

impl Properties {
    fn of(test: &str, properties: Vec<Property>) -> Result<Self, String> {
        let mut all = Self { timeout: Some(TIMEOUT), ..Self::default() };
        for Property { name, value } in properties {
            let refuse = |error: regex::Error| {
                format!("the {name} of the test {test} is no regular expression: {error}")
            };
            let expressions =
                || strings(&value).iter().map(|text| expression::compile(text)).collect::<Result<_, _>>();
            match name.as_str() {
                "WORKING_DIRECTORY" => all.directory = value.as_str().map(str::to_owned),
                "ENVIRONMENT" => all.environment = strings(&value),
                "ENVIRONMENT_MODIFICATION" => all.modifications = strings(&value),
                "TIMEOUT" => all.timeout = number(&value).and_then(positive),
                "WILL_FAIL" => all.will_fail = is_true(&value),
                #[expect(clippy::cast_possible_truncation, reason = "an exit code")]
                "SKIP_RETURN_CODE" => all.skip_code = number(&value).map(|code| code as i32),
                "PASS_REGULAR_EXPRESSION" => all.pass_expressions = expressions().map_err(refuse)?,
                "FAIL_REGULAR_EXPRESSION" => all.fail_expressions = expressions().map_err(refuse)?,
                "SKIP_REGULAR_EXPRESSION" => all.skip_expressions = expressions().map_err(refuse)?,
                "FIXTURES_SETUP" => all.sets_up = strings(&value),
                "FIXTURES_REQUIRED" => all.requires = strings(&value),
                "FIXTURES_CLEANUP" => all.cleans_up = strings(&value),
                "DEPENDS" => all.depends = strings(&value),
                "REQUIRED_FILES" => all.files = strings(&value),
                "RUN_SERIAL" => all.exclusive |= is_true(&value),
                "RESOURCE_LOCK" => all.exclusive |= !strings(&value).is_empty(),
                "DISABLED" => all.disabled = is_true(&value),
                _ => {}
            }
        }
        Ok(all)
    }

    /// What the test adds to and takes from the environment.
    pub(super) fn apply_environment(&self, environment: &mut BTreeMap<String, String>) {
        let before = environment.clone();
        for (name, value) in self.environment.iter().filter_map(|text| text.split_once('=')) {
            environment.insert(name.to_owned(), value.to_owned());
        }
        for text in &self.modifications {
            let Some((name, operation)) = text.split_once('=') else { continue };
            let (operation, value) = operation.split_once(':').unwrap_or((operation, ""));
            let old = environment.get(name).cloned().unwrap_or_default();
            let joined = |first: &str, second: &str, separator: &str| {
                let separator = if first.is_empty() || second.is_empty() { "" } else { separator };
                format!("{first}{separator}{second}")
            };
            let new = match operation {
                "set" => Some(value.to_owned()),
                "unset" => None,
                "reset" => before.get(name).cloned(),
                "string_append" => Some(format!("{old}{value}")),
                "string_prepend" => Some(format!("{value}{old}")),
                "path_list_append" => Some(joined(&old, value, ":")),
                "path_list_prepend" => Some(joined(value, &old, ":")),
                "cmake_list_append" => Some(joined(&old, value, ";")),
                "cmake_list_prepend" => Some(joined(value, &old, ";")),
                _ => continue,
            };
            match new {
                Some(value) => environment.insert(name.to_owned(), value),
                None => environment.remove(name),
            };
        }
    }

    /// Whether what it writes decides about it.
    pub(super) fn reads_output(&self) -> bool {
        [&self.pass_expressions, &self.fail_expressions, &self.skip_expressions]
            .iter()
            .any(|expressions| !expressions.is_empty())
    }

    /// A file that has to be there and is not.
    pub(super) fn missing_file(&self, directory: &Path) -> Option<&String> {
        self.files.iter().find(|file| !directory.join(file).exists())
    }
}

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().filter_map(|value| Some(value.as_str()?.to_owned())).collect(),
        _ => Vec::new(),
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// Zero means no limit.
fn positive(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::String(text) => {
            matches!(text.to_ascii_uppercase().as_str(), "1" | "ON" | "TRUE" | "YES" | "Y")
        }
        _ => false,
    }
}
