//! Coverage that shards have left, as one file: tracefiles of lcov are added up here, raw profiles of LLVM by
//! `llvm-profdata`.

mod lcov;

pub use lcov::{LcovError, Tracefile};

use crate::{
    failure::Usage,
    model::Run,
    outputs,
    publish::{directory, write},
};
use anyhow::Context as _;
use cas::BlobStore;
use std::{
    collections::BTreeSet,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// What merges raw profiles, most often.
pub const PROFDATA: &str = "llvm-profdata";

/// Gathers the coverage of all shards in `target`; raw profiles are merged by the program `profdata`. Says in words what
/// was gathered.
pub async fn gather(
    store: &dyn BlobStore,
    run: &Run,
    target: &Path,
    profdata: &Path,
) -> anyhow::Result<String> {
    let dir = directory(target);
    let failed = || format!("cannot write {}", target.display());
    std::fs::create_dir_all(dir).with_context(failed)?;
    let scratch = tempfile::tempdir_in(dir).with_context(failed)?;
    let mut tracefile = Tracefile::default();
    let (mut traces, mut profiles) = (0u64, Vec::new());
    let mut told = BTreeSet::new();
    for shard in &run.shards {
        // What was merged of coverage that is gathered itself would count twice.
        if run.spec.steps.get(shard.id.step as usize).is_some_and(|step| step.merges(&told)) {
            told.insert(shard.id.step);
            continue;
        }
        let found = outputs::files(store, shard, &["info", "profraw"]).await;
        if found.as_ref().is_ok_and(|found| !found.is_empty()) {
            told.insert(shard.id.step);
        }
        for (path, bytes) in
            found.with_context(|| format!("cannot read the outputs of shard {}", shard.id))?
        {
            let of = || format!("{path} of shard {}", shard.id);
            if path.as_str().to_ascii_lowercase().ends_with(".profraw") {
                let profile = scratch.path().join(format!("{}.profraw", profiles.len()));
                std::fs::write(&profile, &bytes).with_context(failed)?;
                profiles.push(profile);
            } else {
                tracefile.add(&String::from_utf8_lossy(&bytes)).with_context(of)?;
                traces += 1;
            }
        }
    }
    match (traces, profiles.len()) {
        (0, 0) => Err(Usage(
            "no shard left coverage: the command must write *.info or *.profraw into ${ISOLATED_OUTDIR}"
                .into(),
        )
        .into()),
        (0, n) => {
            merge_profiles(scratch.path(), &profiles, target, profdata).await?;
            Ok(format!("coverage of {}", crate::display::count(n as u64, "profile")))
        }
        (n, 0) => {
            write(target, &tracefile.write())?;
            Ok(format!("coverage of {}", crate::display::count(n, "tracefile")))
        }
        _ => Err(Usage("shards left both *.info and *.profraw, which make no one file".into()).into()),
    }
}

async fn merge_profiles(
    scratch: &Path,
    profiles: &[PathBuf],
    target: &Path,
    profdata: &Path,
) -> anyhow::Result<()> {
    let list = scratch.join("profiles");
    let names: String = profiles.iter().map(|path| format!("{}\n", path.display())).collect();
    std::fs::write(&list, names)?;
    let merged = scratch.join("merged");
    let mut command = Command::new(profdata);
    command.args(["merge", "-sparse", "-f"]).arg(&list).arg("-o").arg(&merged);
    let output = match command.stdin(Stdio::null()).kill_on_drop(true).output().await {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let what =
                "shards left raw profiles of LLVM, and there is no llvm-profdata on the PATH to merge them";
            return Err(
                Usage(format!("{what}: install LLVM's tools of the version that built the tests")).into()
            );
        }
        Err(error) => return Err(error).context("cannot start llvm-profdata"),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("llvm-profdata cannot merge the profiles: {}", said.trim());
    }
    std::fs::rename(&merged, target).with_context(|| format!("cannot write {}", target.display()))
}

#[cfg(test)]
mod tests;
