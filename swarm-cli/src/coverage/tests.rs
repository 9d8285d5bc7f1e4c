use super::*;
use crate::{
    model::{Run, RunState},
    testing::{completed, run},
};
use cas::{
    BlobStoreExt as _,
    isolated::{Entry, Isolated},
    memory::MemoryStore,
};
use proto::{DigestFunction, RelPath};

/// A run whose shards have left these files, one each.
async fn left(store: &MemoryStore, files: &[(&str, &str)]) -> Run {
    let function = DigestFunction::Blake3;
    let mut shards = Vec::new();
    for (index, (path, content)) in (0..).zip(files) {
        let digest = store.put(function, content.to_string().into()).await.unwrap();
        let mut isolated = Isolated::new(function);
        isolated.files.insert(RelPath::new(path).unwrap(), Entry::File { digest, mode: Some(0o644) });
        let mut shard = completed(index, 0);
        let outputs = store.put(function, isolated.to_bytes().into()).await.unwrap();
        shard.attempts[0].result.as_mut().unwrap().outputs = Some(outputs);
        shards.push(shard);
    }
    run(RunState::Succeeded, shards)
}

async fn gathered(files: &[(&str, &str)]) -> Result<(String, String), String> {
    gathered_by(Path::new("/nonexistent/llvm-profdata"), files).await
}

async fn gathered_by(profdata: &Path, files: &[(&str, &str)]) -> Result<(String, String), String> {
    let store = MemoryStore::new();
    let run = left(&store, files).await;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new/coverage.info");
    let said = gather(&store, &run, &target, profdata).await.map_err(|error| format!("{error:#}"))?;
    let left: Vec<_> = std::fs::read_dir(target.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else stays there");
    Ok((said, std::fs::read_to_string(target).unwrap()))
}

#[tokio::test]
async fn tracefiles_of_all_shards_are_one_even_where_they_are_equal() {
    let trace = "SF:a.c\nDA:1,2\nend_of_record\n";
    let (said, text) = gathered(&[("cov/a.info", trace), ("b.INFO", trace), ("c.txt", "x")]).await.unwrap();
    assert_eq!(said, "coverage of 2 tracefiles");
    assert!(text.contains("DA:1,4\n"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_gathered_is_told_with_its_place() {
    let none = gathered(&[("c.txt", "x")]).await.unwrap_err();
    assert!(none.contains("${ISOLATED_OUTDIR}"), "{none}");
    let damaged = gathered(&[("a.info", "SF:a.c\nDA:1\nend_of_record\n")]).await.unwrap_err();
    assert!(damaged.starts_with("a.info of shard 1hf7yat000007/0/0: line 2 is no record"), "{damaged}");
    let both = gathered(&[("a.info", "SF:a\nend_of_record\n"), ("b.profraw", "x")]).await.unwrap_err();
    assert!(both.contains("no one file"), "{both}");
}

/// A program that takes the arguments of `llvm-profdata merge` and puts the profiles one after the other.
fn profdata(dir: &Path) -> PathBuf {
    let script = "#!/bin/sh\n\
        [ \"$1 $2 $3 $5\" = 'merge -sparse -f -o' ] || exit 9\n\
        while read -r file; do\n\
        grep -q broken \"$file\" && { echo 'not a profile' >&2; exit 1; }\n\
        cat \"$file\" >> \"$6\"; done < \"$4\"\n";
    let path = dir.join("profdata");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn raw_profiles_of_all_shards_are_merged_by_llvm() {
    let dir = tempfile::tempdir().unwrap();
    let profdata = profdata(dir.path());
    let (said, text) =
        gathered_by(&profdata, &[("a.profraw", "one "), ("sub/a.profraw", "two")]).await.unwrap();
    assert_eq!((said.as_str(), text.as_str()), ("coverage of 2 profiles", "one two"));
    let refused = gathered_by(&profdata, &[("a.profraw", "broken")]).await.unwrap_err();
    assert_eq!(refused, "llvm-profdata cannot merge the profiles: not a profile");
    let missing = gathered(&[("a.profraw", "one")]).await.unwrap_err();
    assert!(missing.contains("no llvm-profdata on the PATH"), "{missing}");
}
