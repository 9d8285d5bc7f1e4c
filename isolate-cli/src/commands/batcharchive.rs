//! `isolate batcharchive`.

use super::{
    Context,
    archive::left_out,
    inputs::InputArgs,
    old::{self, OldArgs, namespace},
    print, report,
};
use crate::{
    BatchArchived, Error, archive_batch,
    cli::{CasArgs, WatchArgs, normalised},
    human,
    process::{interruptible, write_file},
    progress::Bar,
};
use clap::{Args, Parser};
use proto::DigestFunction;
use runtime::Exit;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Each file says what one `isolate archive` would be given, and where:
  {\"version\": 1, \"dir\": \"/src/out\", \"args\": [\"-i\", \"a.isolate\", \"-s\", \"a.isolated\"]}

Examples:
  isolate batcharchive out/*.isolated.gen.json --dump-json digests.json

Prints `DIGEST  NAME` for each file. What several of them need is hashed, asked for and sent once.
`isolate --help` lists the exit codes.";

/// Package and upload many tests at once, as files made by a build system say
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BatchArchiveArgs {
    /// What to archive: *.isolated.gen.json
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write an object of names and digests to a file, as JSON
    #[arg(long, value_name = "FILE")]
    dump_json: Option<PathBuf>,
    /// Print the object of names and digests instead of lines
    #[arg(long)]
    json: bool,
    /// Names the blobs of all that do not say how
    #[arg(long, value_name = "NAMESPACE", hide = true, value_parser = namespace)]
    namespace: Option<DigestFunction>,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    cas: CasArgs,
}

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenJson {
    version: u64,
    dir: PathBuf,
    args: Vec<String>,
}

/// The arguments in a file.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Call {
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    old: OldArgs,
}

impl GenJson {
    fn read(path: &Path) -> Result<Self, Error> {
        let refuse = |reason: String| Error::GenJson { path: path.to_owned(), reason };
        let text = fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let parsed: Self = serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
        if parsed.version != 1 {
            return Err(refuse(format!("`version` is {}, not 1", parsed.version)));
        }
        if !parsed.dir.is_absolute() {
            return Err(refuse(format!("`dir` is {}, not an absolute path", parsed.dir.display())));
        }
        Ok(parsed)
    }

    fn call(&self, path: &Path) -> Result<Call, Error> {
        let args = normalised(self.args.iter().map(OsString::from));
        Call::try_parse_from(args).map_err(|error| {
            // Its first line; the rest is about a command line that nobody typed.
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Error::GenJson { path: path.to_owned(), reason: format!("`args`: {line}") }
        })
    }
}

/// Archives all, tells the digests on stdout and the rest on stderr.
pub(crate) async fn batcharchive(args: BatchArchiveArgs, context: &Context) -> Result<Exit, Error> {
    let began = context.clock.elapsed();
    let watching = args.watch.watching(&args.cas, context);
    let mut outputs = Vec::new();
    let mut items = Vec::new();
    let (mut names, mut without_effect) = (BTreeMap::new(), BTreeSet::new());
    for path in &args.files {
        let file = GenJson::read(path)?;
        let mut call = file.call(path)?;
        call.inputs.or_namespace(args.namespace);
        without_effect.extend(call.old.given());
        let mut inputs = call.inputs.resolve(&file.dir)?;
        inputs.options.watching.clone_from(&watching);
        if let Some(other) = names.insert(inputs.name.clone(), path) {
            let reason = format!("its test is called `{}` as that of {}", inputs.name, other.display());
            return Err(Error::GenJson { path: path.clone(), reason });
        }
        outputs.push((inputs.name.clone(), inputs.output()));
        items.push((inputs.item, inputs.options));
    }
    old::tell(without_effect, context);
    let store = args.cas.connect(context)?;
    let bar = Arc::new(Bar::new(context.verbosity, Arc::clone(&context.clock)));
    let work = archive_batch(&*store, items, Arc::<Bar>::clone(&bar));
    let outcome = interruptible(&context.shutdown, work).await;
    bar.finish();
    let BatchArchived { items: archived, uploaded } = outcome.map_err(|error| error.about(&args.cas.cas))?;

    let mut digests = BTreeMap::new();
    let mut lines = String::new();
    let mut skipped = Vec::new();
    for ((name, output), item) in outputs.into_iter().zip(archived) {
        if let Some(output) = output {
            output.write(&item.manifest)?;
        }
        skipped.extend(item.skipped);
        lines.push_str(&format!("{}  {name}\n", item.digest));
        digests.insert(name, item.digest);
    }
    let json = report::json(&digests);
    if let Some(file) = &args.dump_json {
        write_file(file, &json)?;
    }
    context.say_left_out(&skipped);
    context.say(&format!(
        "archived {}: uploaded {} ({}), {} already there{}, {}",
        human::counted(digests.len() as u64, "work item"),
        human::counted(uploaded.uploaded_blobs, "blob"),
        human::bytes(uploaded.uploaded_bytes),
        human::count(uploaded.present_blobs),
        left_out(skipped.len()),
        human::seconds(context.clock.elapsed().saturating_sub(began)),
    ));
    print(if args.json { &json } else { lines.as_bytes() })?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_counts_for_items_that_do_not_say() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "").unwrap();
        let function = |args: &[&str]| {
            let mut call = Call::try_parse_from(args).unwrap();
            call.inputs.or_namespace(Some(DigestFunction::Sha1));
            call.inputs.resolve(dir.path()).unwrap().options.function
        };
        assert_eq!(function(&["f"]), DigestFunction::Sha1);
        assert_eq!(function(&["f", "--function", "sha-256"]), DigestFunction::Sha256);
        assert_eq!(function(&["f", "--namespace", "sha512-x"]), DigestFunction::Sha512);
    }
}
