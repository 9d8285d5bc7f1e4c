//! The command line.

use crate::{
    Error, Watcher, Watching,
    commands::{
        self, Context,
        archive::ArchiveArgs,
        batcharchive::BatchArchiveArgs,
        check::CheckArgs,
        completions::{CompletionsArgs, ManArgs},
        diff::DiffArgs,
        download::DownloadArgs,
        fmt::FmtArgs,
        old::{self, OldArgs},
        pack::PackArgs,
        remap::RemapArgs,
        run::RunArgs,
        show::ShowArgs,
        trace::TraceArgs,
        watch::WatchCommandArgs,
    },
    progress::Verbosity,
};
use bytesize::ByteSize;
use cas::{
    BlobStore,
    disk::{DiskCache, DiskCacheOptions},
    named::NamedCacheOptions,
    remote::Header,
};
use clap::{Args, Parser, Subcommand};
use runtime::{Exit, Shutdown, SystemClock, SystemEntropy, connect::Tls};
use std::{
    env,
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Package a test with everything that it needs by content hash, bring it back anywhere, and run it.
#[derive(Debug, Parser)]
#[command(name = "isolate", version = runtime::VERSION, after_help = runtime::exit::HELP, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(flatten)]
    old: OldArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Archive(ArchiveArgs),
    Batcharchive(BatchArchiveArgs),
    Check(CheckArgs),
    Remap(RemapArgs),
    Run(RunArgs),
    Download(DownloadArgs),
    Show(ShowArgs),
    Diff(DiffArgs),
    Fmt(FmtArgs),
    Trace(TraceArgs),
    Watch(WatchCommandArgs),
    Pack(PackArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Where the blobs are.
#[derive(Clone, Debug, Args)]
pub(crate) struct CasArgs {
    /// The CAS
    #[arg(
        long,
        value_name = "URL",
        env = "ISOSWARM_CAS",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8980"
    )]
    pub(crate) cas: String,
    /// PEM file of the certificates to trust, for a CAS that speaks TLS
    /// [default: those that this machine trusts]
    #[arg(long, value_name = "FILE", env = "ISOSWARM_CA_CERT", hide_env_values = true)]
    ca_cert: Option<PathBuf>,
    /// PEM file of the certificate that is shown to a CAS that asks who calls
    #[arg(
        long,
        value_name = "FILE",
        env = "ISOSWARM_CLIENT_CERT",
        hide_env_values = true,
        requires = "client_key"
    )]
    client_cert: Option<PathBuf>,
    /// PEM file of its key
    #[arg(
        long,
        value_name = "FILE",
        env = "ISOSWARM_CLIENT_KEY",
        hide_env_values = true,
        requires = "client_cert"
    )]
    client_key: Option<PathBuf>,
    /// Which of the server's stores, where it has several
    #[arg(
        long,
        alias = "cas-instance",
        value_name = "NAME",
        env = "ISOSWARM_INSTANCE",
        hide_env_values = true,
        default_value = ""
    )]
    instance: String,
    /// What the server wants with each call, for instance a key; several times for several. Others on this machine see the
    /// arguments of programs, but not $ISOSWARM_HEADERS, which has one in each line
    #[arg(
        long = "header",
        value_name = "NAME=VALUE",
        env = "ISOSWARM_HEADERS",
        hide_env_values = true,
        value_delimiter = '\n'
    )]
    headers: Vec<Header>,
}

impl CasArgs {
    pub(crate) fn connect(&self, context: &Context) -> Result<Arc<dyn BlobStore>, Error> {
        let (clock, entropy) = (Arc::clone(&context.clock), Arc::clone(&context.entropy));
        let client = self.client_cert.as_deref().zip(self.client_key.as_deref());
        let address = cas::Address {
            server: &self.cas,
            tls: Tls { ca_cert: self.ca_cert.as_deref(), client },
            instance: &self.instance,
            headers: &self.headers,
        };
        Ok(cas::connect(address, clock, entropy)?)
    }

    /// Tells this store from others.
    fn name(&self) -> String {
        if self.instance.is_empty() { self.cas.clone() } else { format!("{}/{}", self.cas, self.instance) }
    }
}

/// What to do with what others know.
#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArgs {
    /// Look at every file, even where a running `isolate watch` knows what changed
    #[arg(long)]
    no_watch: bool,
}

impl WatchArgs {
    pub(crate) fn watching(&self, cas: &CasArgs, context: &Context) -> Option<Watching> {
        // Without a home nobody can be found there.
        let watcher = if self.no_watch { None } else { Watcher::of_user().ok() };
        watcher.map(|watcher| Watching { watcher, store: cas.name(), clock: Arc::clone(&context.clock) })
    }
}

/// The blobs that are kept on this machine.
#[derive(Clone, Debug, Args)]
pub(crate) struct CacheArgs {
    /// Where fetched blobs are kept [default: $XDG_CACHE_HOME/isoswarm/blobs]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// How much of them is kept
    #[arg(long, alias = "cache-max-size", value_name = "SIZE", default_value = "20GiB")]
    cache_size: ByteSize,
    /// How many of them are kept
    #[arg(long, alias = "max-items", value_name = "N", default_value_t = DiskCacheOptions::default().max_items)]
    cache_max_items: u64,
    /// What they leave free on the disk, as far as they can
    #[arg(long, alias = "min-free-space", value_name = "SIZE", default_value = "2GiB")]
    cache_min_free_space: ByteSize,
    /// How long they are kept without being used
    #[arg(long, value_name = "TIME", default_value = "21days", value_parser = humantime::parse_duration)]
    cache_max_age: Duration,
}

impl CacheArgs {
    pub(crate) fn open(&self) -> Result<DiskCache, Error> {
        let dir = cache_dir(self.cache_dir.as_deref(), "blobs", "--cache-dir")?;
        let options = DiskCacheOptions {
            max_bytes: self.cache_size.as_u64(),
            max_items: self.cache_max_items,
            min_free: self.cache_min_free_space.as_u64(),
            max_age: self.cache_max_age,
        };
        Ok(DiskCache::open(&dir, options)?)
    }

    /// The same limits for directories that are kept.
    pub(crate) fn named_options(&self) -> NamedCacheOptions {
        NamedCacheOptions {
            min_free: self.cache_min_free_space.as_u64(),
            max_age: self.cache_max_age,
            ..NamedCacheOptions::default()
        }
    }
}

/// The directory that was given, or one of this name among the user's caches.
pub(crate) fn cache_dir(given: Option<&Path>, name: &str, flag: &'static str) -> Result<PathBuf, Error> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = || absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let default = || Some(base()?.join("isoswarm").join(name));
    given.map(Path::to_owned).or_else(default).ok_or(Error::NoHome { flag })
}

/// The arguments with `--config-variable NAME VALUE`, the form of old build scripts, turned into
/// `--config-variable NAME=VALUE`, for all three kinds of variables, and with a second dash for the flags of Go's programs.
pub fn normalised(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    const FLAGS: [&str; 3] = ["--config-variable", "--path-variable", "--extra-variable"];
    let mut args = args.into_iter();
    let mut normal = Vec::new();
    while let Some(arg) = args.next() {
        let arg = old::with_two_dashes(arg);
        let is_flag = FLAGS.iter().any(|flag| arg == *flag);
        let is_end = arg == "--";
        normal.push(arg);
        if is_end {
            break;
        }
        let Some(mut name) = is_flag.then(|| args.next()).flatten() else { continue };
        let is_pair = name.to_string_lossy().contains('=') || name.to_string_lossy().starts_with('-');
        if !is_pair && let Some(value) = args.next() {
            name.push("=");
            name.push(value);
        }
        normal.push(name);
    }
    normal.extend(args);
    normal
}

/// Runs a command line to its end and tells what to exit with. Errors go to stderr with their causes.
pub fn run(cli: Cli) -> Exit {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::io(Path::new("the runtime"), error)),
    };
    let verbosity = if cli.quiet { Verbosity::Quiet } else { Verbosity::Normal };
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(|error| Error::io("signal handlers", error))?;
        let (clock, entropy) = (SystemClock::shared(), SystemEntropy::shared());
        let context = Context { clock, entropy, shutdown, verbosity };
        old::tell(cli.old.given(), &context);
        match cli.command {
            Command::Archive(args) => commands::archive::archive(args, &context).await,
            Command::Batcharchive(args) => commands::batcharchive::batcharchive(args, &context).await,
            Command::Check(args) => commands::check::check(args, &context).await,
            Command::Remap(args) => commands::remap::remap(args, &context).await,
            Command::Run(args) => commands::run::run(args, &context).await,
            Command::Download(args) => commands::download::download(args, &context).await,
            Command::Show(args) => commands::show::show(args, &context).await,
            Command::Diff(args) => commands::diff::diff(args, &context).await,
            Command::Fmt(args) => commands::fmt::fmt(&args, &context),
            Command::Trace(args) => commands::trace::trace(args, &context).await,
            Command::Watch(args) => commands::watch::watch(args, &context).await,
            Command::Pack(args) => commands::pack::pack(args, &context).await,
            Command::Completions(args) => commands::completions::completions(&args),
            Command::Man(args) => commands::completions::man(&args),
        }
    });
    // Threads that still read files after Ctrl-C leave nothing behind: nobody waits for them.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| fail(&error))
}

/// `error: what: because: because`.
fn fail(error: &Error) -> Exit {
    let mut text = format!("error: {error}");
    let mut last = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        // Some errors repeat their cause in their own text.
        let message = source.to_string();
        if !last.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        last = message;
        cause = source.source();
    }
    text.push_str(error.remedy());
    // There is nobody left to tell when even this cannot be written.
    let _ = writeln!(std::io::stderr(), "{text}");
    error.exit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn variables_may_be_given_as_two_arguments() {
        let given = ["isolate", "--config-variable", "OS", "linux", "--extra-variable", "a=b", "x", "--"]
            .into_iter()
            .chain(["--path-variable", "P", "."]);
        let normal: Vec<_> = normalised(given.map(OsString::from));
        let expected = ["isolate", "--config-variable", "OS=linux", "--extra-variable", "a=b", "x", "--"]
            .into_iter()
            .chain(["--path-variable", "P", "."]);
        assert_eq!(normal, expected.map(OsString::from).collect::<Vec<_>>());
        for unfinished in
            [vec!["--path-variable"], vec!["--path-variable", "P"], vec!["--path-variable", "-q", "x"]]
        {
            let given: Vec<OsString> = unfinished.into_iter().map(OsString::from).collect();
            assert_eq!(normalised(given.clone()), given);
        }
        let go = ["isolate", "archive", "-config-variable", "OS", "linux", "-isolated=a", "--", "-isolated"];
        let expected =
            ["isolate", "archive", "--config-variable", "OS=linux", "--isolated=a", "--", "-isolated"];
        assert_eq!(normalised(go.map(OsString::from)), expected.map(OsString::from));
    }
}
