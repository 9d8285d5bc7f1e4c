//! `isolate trace`.

use super::{Context, print};
use crate::{Error, process::write_file, trace as library, work_item::directory};
use clap::Args;
use runtime::Exit;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  isolate trace -o foo_test.isolate -- ./foo_test --gtest_color=no
  isolate trace -o test/all.isolate --root .. -- python3 -m unittest

Needs strace. Files are inputs when they lie below --root, were there before the command ran, and were read, executed,
or found to be there; a directory of which everything was used is written as one. What a command would
need under other circumstances is not seen: look at the result.

Exits with the command's own code. `isolate --help` lists those of isolate itself, which come with `error: ...`.";

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
    /// The command
    #[arg(last = true, value_name = "COMMAND", required = true)]
    command: Vec<String>,
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
    let traced = library(&args.command, &cwd, &root, Some(&output), &context.shutdown).await?;
    let description = traced.description(&args.command, &cwd)?;
    let (files, inputs) = (traced.used().len() as u64, description.variables.files.len() as u64);
    write_file(&output, description.to_string().as_bytes())?;
    context.say(&format!(
        "{} used, written as {}",
        crate::human::counted(files, "file"),
        crate::human::counted(inputs, "input")
    ));
    if traced.exit != 0 {
        context.say("the command failed: what it would need to succeed may be missing");
    }
    print(format!("{}\n", args.output.display()).as_bytes())?;
    Ok(if traced.exit == 0 { Exit::Success } else { Exit::Command(traced.exit) })
}
