//! One file for each verb: what it takes, and what it does.

pub(crate) mod bot;
pub(crate) mod bots;
pub(crate) mod cancel;
pub(crate) mod child;
pub(crate) mod collect;
pub(crate) mod delete;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod list_tests;
pub(crate) mod logs;
pub(crate) mod quarantine;
pub(crate) mod reproduce;
pub(crate) mod rerun;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod show;
pub(crate) mod trigger;
pub(crate) mod up;

use crate::{
    cli::{Cli, Command},
    console::Console,
    failure,
};
use anyhow::Context as _;
use runtime::{Clock, Entropy, Exit, SystemClock, SystemEntropy};
use std::{sync::Arc, time::Duration};

/// What every verb needs.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) console: Arc<Console>,
}

/// After the end, threads that still read or write files get this long.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// Does what the command line says, and tells the shell how it went.
pub fn run(cli: Cli) -> Exit {
    let command = match cli.command {
        // It becomes another program, and needs nothing of what follows.
        Command::Child(args) => return child::child(args),
        command => command,
    };
    let console = Arc::new(Console::detect());
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")
        .and_then(|runtime| {
            let context = Context {
                clock: SystemClock::shared(),
                entropy: SystemEntropy::shared(),
                console: Arc::clone(&console),
            };
            let done = runtime.block_on(dispatch(context, command));
            runtime.shutdown_timeout(LEFTOVERS);
            done
        });
    let exit = done.unwrap_or_else(|error| {
        console.complain(&error);
        failure::exit_code(&error)
    });
    match console.failure() {
        Some(error) if exit == Exit::Success => {
            console.note(format!("{}: cannot write to stdout: {error}", console.note_paint().red("error")));
            failure::of_io(error)
        }
        _ => exit,
    }
}

async fn dispatch(context: Context, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Trigger(args) => trigger::trigger(&context, args).await,
        Command::Collect(args) => collect::collect(&context, args).await,
        Command::Run(args) => run::run(&context, args).await,
        Command::Cancel(args) => cancel::cancel(&context, args).await,
        Command::Delete(args) => delete::delete(&context, args).await,
        Command::Runs(args) => runs::runs(&context, args).await,
        Command::Show(args) => show::show(&context, args).await,
        Command::Bots(args) => bots::bots(&context, args).await,
        Command::Bot(args) => bot::bot(&context, args).await,
        Command::Explain(args) => explain::explain(&context, args).await,
        Command::Logs(args) => logs::logs(&context, args).await,
        Command::Reproduce(args) => reproduce::reproduce(&context, args).await,
        Command::Tests(args) => list_tests::tests(&context, args).await,
        Command::Rerun(args) => rerun::rerun(&context, args).await,
        Command::History(args) => history::history(&context, args).await,
        Command::Quarantine(args) => quarantine::quarantine(&context, args).await,
        Command::Up(args) => up::up(&context, args).await,
        Command::Child(args) => Ok(child::child(args)),
    }
}
