//! The command lines of the documents are ones that the programs take.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use futures::{StreamExt as _, stream};
use tests::{Finished, binary};
use tokio::process::Command;

const DOCUMENTS: [&str; 3] = ["README.md", "docs/testing.md", "docs/operating.md"];

/// What stands for something of the reader's own.
const VARIABLES: [(&str, &str); 4] =
    [("DIGEST", DIGEST), ("RUN", "1hf7yat000005"), ("TREE", "my/test.runfiles"), ("WORKSPACE", "_main")];
const DIGEST: &str = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262/0";

/// What the argument parsers say last of what they do not take.
const REFUSED: &str = "For more information, try '--help'";

/// The lines in blocks of shell commands that begin with one of these programs; continued lines as one.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines: Vec<String> = blocks
        .flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // `up` goes on until somebody stops it.
    let is_ours = |line: &String| {
        let rest = line.strip_prefix("DIGEST=$(").unwrap_or(line);
        // What stands for the output of another program is nothing here.
        !rest.contains("$(")
            && ((rest.starts_with("swarm ") && !rest.starts_with("swarm up")) || rest.starts_with("isolate "))
    };
    lines.into_iter().filter(is_ours).map(|line| line.replace("blake3:9f2c…/412", DIGEST)).collect()
}

/// Runs a line where nothing is that it needs, and nobody answers.
async fn run(line: &str) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    // An argument is a file if there is one.
    for file in ["my_test.isolated", "files"] {
        std::fs::write(dir.path().join(file), "").unwrap();
    }
    let programs = binary("swarm").parent().unwrap().to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let nobody = "http://127.0.0.1:1";
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(dir.path()).env("PATH", path).envs(VARIABLES);
    command.env("ISOSWARM_CAS", nobody).env("ISOSWARM_SCHEDULER", nobody).env("HOME", dir.path());
    Finished::of(&mut command).await
}

#[tokio::test]
async fn every_command_line_of_the_documents_is_one_that_the_programs_take() {
    let package = runtime::testing::package();
    let root = package.parent().unwrap();
    let text = |name| std::fs::read_to_string(root.join(name)).unwrap();
    let lines: Vec<String> = DOCUMENTS.into_iter().flat_map(|name| commands(&text(name))).collect();
    assert!(lines.len() > 40, "the documents have commands: {lines:#?}");
    let refused = stream::iter(&lines).map(|line| async move { (line, run(line).await) }).buffer_unordered(8);
    let refused: Vec<_> = refused
        .filter(|(_, told)| {
            // What the shell says of itself means that the program was not even started.
            std::future::ready(told.stderr.contains(REFUSED) || told.stderr.starts_with("sh: "))
        })
        .collect()
        .await;
    assert!(refused.is_empty(), "{refused:#?}");
    let wrong = run("swarm run $DIGEST --no-such-flag").await;
    assert!(wrong.stderr.contains(REFUSED), "what is looked for is what is said: {wrong:?}");
}
