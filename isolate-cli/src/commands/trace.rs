//! `isolate trace`.

use super::{Context, print, report};
use crate::{Error, isolate_file::has_variable, process::write_file, trace as library, work_item::directory};
use clap::Args;
use runtime::Exit;
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  isolate trace -o foo_test.isolate -- ./foo_test --gtest_color=no
  cd test && isolate trace -o all.isolate --root .. -- python3 -m unittest

Needs strace. Files are inputs when they lie below --root, were there before the command ran, and
were read, executed, or found to be there; a directory of which everything was used is written as
one. Processes that the command starts are followed, and waited for. Files that are opened by way of
io_uring, or whose descriptors come from a process that ran before, are not seen, nor is what the
command would need under other circumstances: look at the result.

Exits with the command's own code. `isolate --help` lists those of isolate itself, which come with
`error: ...`.";

/// Run a command, watch which files it uses, and write an .isolate file of them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TraceArgs {
    /// The .isolate file to write, in the directory that the command starts in: the current one
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Directory below which files are inputs; all else is expected on every machine
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Write the inputs, the count of used files and the exit code to a file, as JSON
    #[arg(long, value_name = "FILE")]
    dump_json: Option<PathBuf>,
    /// The command
    #[arg(last = true, value_name = "COMMAND", required = true)]
    command: Vec<String>,
}

/// What `--dump-json` writes. Keys are added, never renamed or removed.
#[derive(Serialize)]
struct TraceReport<'a> {
    description: String,
    inputs: Vec<&'a str>,
    used_files: u64,
    exit_code: u8,
}

/// Traces, writes the description, and hands on how the command ended.
pub(crate) async fn trace(args: TraceArgs, context: &Context) -> Result<Exit, Error> {
    let cwd = directory(Path::new("."))?;
    let root = directory(&args.root)?;
    let parent =
        args.output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory(parent)? != cwd {
        let reason = "must be in the current directory: a packaged command starts where its description is";
        return Err(Error::Argument { path: args.output, reason });
    }
    if !cwd.starts_with(&root) {
        let reason = "must be the current directory or one above it";
        return Err(Error::Argument { path: args.root, reason });
    }
    let output = cwd.join(args.output.file_name().unwrap_or_default());
    if let Some(word) = args.command.iter().find(|word| has_variable(word)) {
        let reason =
            "has what an .isolate file takes for a variable, `<(NAME)`: put the command into a script";
        return Err(Error::Argument { path: word.into(), reason });
    }
    let traced = library(&args.command, &cwd, &root, Some(&output), &context.shutdown).await?;
    let (description, unnamed) = traced.description(&args.command, &cwd)?;
    for path in &unnamed {
        context.say(&format!(
            "warning: {} is used and left out: its name cannot be packaged, rename it",
            path.display()
        ));
    }
    let (files, inputs) = (traced.used().len() as u64, description.variables.files.len() as u64);
    write_file(&output, description.to_string().as_bytes())?;
    context.say(&format!(
        "{} used, written as {}",
        crate::human::counted(files, "file"),
        crate::human::counted(inputs, "input")
    ));
    if let Some(file) = &args.dump_json {
        let inputs = description.variables.files.iter().map(|input| &*input.value).collect();
        let (description, exit_code) = (args.output.display().to_string(), traced.exit);
        write_file(file, &report::json(&TraceReport { description, inputs, used_files: files, exit_code }))?;
    }
    if traced.exit != 0 {
        context.say("the command failed: what it would need to succeed may be missing");
    }
    print(format!("{}\n", args.output.display()).as_bytes())?;
    Ok(if traced.exit == 0 { Exit::Success } else { Exit::Command(traced.exit) })
}
