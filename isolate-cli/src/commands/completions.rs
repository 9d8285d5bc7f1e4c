//! `isolate completions` and `isolate man`: made from the command line's own description.

use super::print;
use crate::{Error, cli::Cli, process::write_file};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use runtime::Exit;
use std::path::PathBuf;

/// Print completions of all verbs and flags for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  isolate completions bash > ~/.local/share/bash-completion/completions/isolate")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Write the manual pages
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  isolate man | man -l -
  isolate man --output ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write isolate.1 and a page for each verb to this directory, instead of isolate.1 to stdout
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints the script.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "isolate", &mut script);
    print(&script)?;
    Ok(Exit::Success)
}

/// Prints the page, or writes all of them.
pub(crate) fn man(args: &ManArgs) -> Result<Exit, Error> {
    let page = |command: clap::Command| {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(command).render(&mut page);
        rendered.map(|()| page).map_err(|error| Error::io("the manual", error))
    };
    let mut whole = Cli::command();
    // Names of verbs become `isolate-archive`.
    whole.build();
    let Some(dir) = &args.output else {
        print(&page(whole)?)?;
        return Ok(Exit::Success);
    };
    std::fs::create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
    for verb in whole.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
        let name = format!("isolate-{}", verb.get_name());
        write_file(&dir.join(format!("{name}.1")), &page(verb.clone())?)?;
    }
    write_file(&dir.join("isolate.1"), &page(whole)?)?;
    Ok(Exit::Success)
}
