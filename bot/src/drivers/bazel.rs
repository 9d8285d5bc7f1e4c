//! Any command that follows the protocol between Bazel and its tests, as the Bazel project's test encyclopedia has it.
//!
//! The exit code of the process is the verdict. A command that does not touch the status file does not know that it is to
//! run a part only: it has run everything, in each partition.

use super::{
    Address, Base, DriverError, Launch, Next, Runner, Takes, partitions,
    single::{Ending, PREMATURE_EXIT_FILE, Single, premature},
};
use crate::{
    attempt::CommandExit,
    executor::Command,
    suite::{ListedTest, TestToRun, TestVerdict},
};
use std::{
    collections::VecDeque,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Bazel {
    base: Base,
    partitions: NonZeroU32,
}

impl Bazel {
    pub(super) fn new(base: Base, partitions: NonZeroU32) -> Self {
        Self { base, partitions }
    }

    /// The command of a partition whose own files are in `own`, and whose outputs go to `outputs`.
    fn command(&self, index: u32, total: u32, own: &Path, outputs: &Path, timeout: Duration) -> Command {
        let mut command = self.base.command.clone();
        let text = |path: &Path| path.display().to_string();
        let (index, total) = (index.to_string(), total.to_string());
        let temporary = text(&own.join("tmp"));
        let status = text(&own.join("status"));
        let ours = [
            ("BAZEL_TEST", "1".to_owned()),
            ("GTEST_SHARD_INDEX", index.clone()),
            ("GTEST_SHARD_STATUS_FILE", status.clone()),
            ("GTEST_TMP_DIR", temporary.clone()),
            ("GTEST_TOTAL_SHARDS", total.clone()),
            ("HOME", temporary.clone()),
            ("TEST_INFRASTRUCTURE_FAILURE_FILE", text(&own.join("infrastructure"))),
            (PREMATURE_EXIT_FILE, text(&own.join("premature"))),
            ("TEST_SHARD_INDEX", index),
            ("TEST_SHARD_STATUS_FILE", status),
            ("TEST_TIMEOUT", timeout.as_secs().to_string()),
            ("TEST_TMPDIR", temporary),
            ("TEST_TOTAL_SHARDS", total),
            ("TEST_UNDECLARED_OUTPUTS_ANNOTATIONS_DIR", text(&outputs.join("annotations"))),
            ("TEST_UNDECLARED_OUTPUTS_DIR", text(&outputs.join("outputs"))),
            ("TEST_WARNINGS_OUTPUT_FILE", text(&outputs.join("warnings"))),
            ("XML_OUTPUT_FILE", text(&outputs.join("test.xml"))),
        ];
        command.environment.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        // The step may know better.
        let (runfiles, workspace) = runfiles(&self.base.input, &command.directory);
        let defaults = [
            ("RUNFILES_DIR", text(&runfiles)),
            ("TEST_RUN_NUMBER", "1".into()),
            ("TEST_SIZE", "medium".into()),
            ("TEST_SRCDIR", text(&runfiles)),
            ("TEST_TARGET", text(&command.program)),
            ("TEST_WORKSPACE", workspace),
            ("TZ", "UTC".into()),
        ];
        for (name, value) in defaults {
            command.environment.entry(name.to_owned()).or_insert(value);
        }
        command
    }
}

/// The tree of runfiles that a command starts in, and the workspace of it: below `NAME.runfiles` where there is one,
/// otherwise the whole input is the tree.
fn runfiles(input: &Path, directory: &Path) -> (PathBuf, String) {
    let is_tree = |path: &&Path| path.extension().is_some_and(|extension| extension == "runfiles");
    let below = directory.ancestors().take_while(|path| path.starts_with(input));
    let tree = below.into_iter().find(is_tree).unwrap_or(input);
    let workspace = directory.strip_prefix(tree).ok().and_then(|path| path.iter().next());
    let workspace = workspace.map(|name| name.to_string_lossy().into_owned());
    (tree.to_owned(), workspace.unwrap_or_else(|| "_main".into()))
}

impl Runner for Bazel {
    fn tests(&self) -> Vec<ListedTest> {
        partitions::list(self.partitions)
    }

    fn next(&mut self, queue: &VecDeque<TestToRun>, number: u32, _: &Address) -> Result<Next, DriverError> {
        let (name, timeout) =
            queue.front().map_or(("", Duration::MAX), |test| (test.name.as_str(), test.timeout));
        let part = match partitions::parse(name) {
            Ok(part) => part,
            Err(unknown) => return Ok(Next::Told(unknown)),
        };
        let (index, total) = (part.index(), part.total());
        let own = self.base.own.join(format!("bazel-{number}"));
        let outputs = self.base.outputs.join(format!("shard_{}_of_{total}", index + 1));
        let command = self.command(index, total, &own, &outputs, timeout);
        let results = ["status", "premature", "infrastructure"].map(|file| own.join(file)).into();
        let directories = [own.join("tmp"), outputs.join("outputs"), outputs.join("annotations")].into();
        let reader = Single::of(name, Box::new(move |ending| judge(ending, total)));
        let launch = Launch::of(command, Takes::Front(1), reader);
        // A partition may come again: what it left then is not what it leaves now.
        Ok(Next::Process(Box::new(Launch { removed: vec![outputs], directories, results, ..launch })))
    }
}

fn judge(ending: &Ending<'_>, total: u32) -> Option<(TestVerdict, String)> {
    let [status, begun, infrastructure] = ending.left.results.as_slice() else { return None };
    let failed = |message: String| Some((TestVerdict::Failed, message));
    let CommandExit::Code(code) = ending.left.exit else { return None };
    if let Some(text) = infrastructure {
        let text = String::from_utf8_lossy(text);
        let message = format!("infrastructure failure: {}", text.trim().replace('\n', ": "));
        return Some((TestVerdict::Infrastructure, message));
    }
    if begun.is_some() {
        return Some(premature(ending.left.exit));
    }
    match code {
        0 if status.is_none() && total > 1 => failed(
            "the command has not touched TEST_SHARD_STATUS_FILE: it does not know partitions, and runs all of its tests \
             in each; run it in one, or use a runner that knows them"
                .into(),
        ),
        0 => Some((TestVerdict::Passed, String::new())),
        code => failed(format!("the command ended with exit code {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_runfiles_is_found_from_where_the_command_starts() {
        let found = |directory: &str| {
            let (tree, workspace) = runfiles(Path::new("/w/in"), Path::new(directory));
            format!("{} {workspace}", tree.display())
        };
        assert_eq!(found("/w/in/pkg/a.runfiles/__main__"), "/w/in/pkg/a.runfiles __main__");
        assert_eq!(found("/w/in/pkg/a.runfiles/_main/sub"), "/w/in/pkg/a.runfiles _main");
        assert_eq!(found("/w/in/my"), "/w/in my", "the input is the tree");
        assert_eq!(found("/w/in"), "/w/in _main");
        assert_eq!(
            runfiles(Path::new("/x.runfiles/in"), Path::new("/x.runfiles/in")).0,
            Path::new("/x.runfiles/in")
        );
    }
}
