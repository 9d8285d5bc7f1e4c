//! What is fuzzed: parsers of what others write. Each function panics where a parser breaks its word; that it returns, and
//! does so soon and in little memory, is the rest of it.

use bytes::Bytes;
use cas::{
    isolated::Isolated,
    patch::{self, Patch},
};
use cas_server::fuzzing;
use futures::{FutureExt as _, StreamExt as _, stream};
use isolate_cli::isolate_file::{Document, formatted};
use proto::DigestFunction;
use std::{fs, str::from_utf8};

/// Panics on what must not be.
pub type Target = fn(&[u8]);

/// All of them by name, which is that of the corpus.
pub const ALL: [(&str, Target); 6] = [
    ("resource_names", resource_names),
    ("segment_records", segment_records),
    ("manifests", manifests),
    ("isolate_files", isolate_files),
    ("zstd_bodies", zstd_bodies),
    ("patches", patches),
];

/// Names of `ByteStream`: what one names has a name of its own that names the same.
pub fn resource_names(data: &[u8]) {
    let Ok(name) = from_utf8(data) else { return };
    if let Ok((digest, zstd)) = fuzzing::read_name(name) {
        let blobs = if zstd { "compressed-blobs/zstd" } else { "blobs" };
        // The protocol leaves out all functions but those whose hashes are as long as another one's.
        let function = if digest.function() == DigestFunction::Blake3 { "blake3/" } else { "" };
        let plain = format!("{blobs}/{function}{}/{}", digest.hex(), digest.size());
        assert_eq!(fuzzing::read_name(&plain), Ok((digest, zstd)), "{plain}");
        let upload = format!("uploads/0/{plain}/any/thing");
        assert_eq!(fuzzing::write_name(&upload), Ok((digest, zstd)), "{upload}");
    }
    if let Ok((digest, _)) = fuzzing::write_name(name) {
        assert!(fuzzing::read_name(name).is_err(), "{name} would be two things");
        assert!(digest.size() <= i64::MAX.cast_unsigned());
    }
}

/// A segment of the log, as opening walks it: records lie within it, do not overlap, and are as they are written.
pub fn segment_records(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("00000000"), data).expect("a temporary file");
    let records = fuzzing::records(dir.path()).expect("a file that can be read");
    let mut end = 0;
    for fuzzing::Record { at, header, payload } in records {
        assert!(at.start >= end && at.end <= data.len() as u64 && at.start < at.end, "{at:?} after {end}");
        end = at.end;
        let record =
            &data[usize::try_from(at.start).expect("in memory")..usize::try_from(at.end).expect("in memory")];
        assert!(record.starts_with(&header), "written it would be something else");
        if let Some(payload) = payload {
            assert_eq!(payload, &record[header.len()..]);
        }
    }
}

/// Manifests: what is accepted is written in a form that means the same.
pub fn manifests(data: &[u8]) {
    let Ok(isolated) = Isolated::parse(data) else { return };
    let bytes = isolated.to_bytes();
    let again = Isolated::parse(&bytes).expect("what we write can be read");
    assert_eq!(again.to_bytes(), bytes);
    assert_eq!(again.files, isolated.files);
    assert_eq!(again.command, isolated.command);
}

/// Descriptions in the language of `.isolate`: formatting one gives one, and nothing to do for a second time.
pub fn isolate_files(data: &[u8]) {
    let Ok(text) = from_utf8(data) else { return };
    let parsed = Document::parse(text);
    match formatted(text) {
        Ok(canonical) => {
            assert!(parsed.is_ok());
            assert_eq!(formatted(&canonical).ok().as_ref(), Some(&canonical));
        }
        Err(_) => assert!(parsed.is_err(), "what can be read can be formatted"),
    }
}

/// Compressed uploads: as a stream and at once they come to the same, and a bomb is not taken in.
pub fn zstd_bodies(data: &[u8]) {
    const MOST: usize = 4 << 20;
    let (cut, body) = data.split_first().map_or((1, data), |(cut, body)| (usize::from(*cut).max(1), body));
    let chunks: Vec<_> = body.chunks(cut).map(Bytes::copy_from_slice).collect();
    let source = stream::iter(chunks.into_iter().map(Ok)).boxed();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let inflated: cas::Result<Vec<u8>> = runtime.block_on(async {
        let mut stream = fuzzing::inflate(source).await?;
        let mut whole = Vec::new();
        while whole.len() <= MOST
            && let Some(step) = stream.next().await
        {
            whole.extend_from_slice(&step?);
        }
        Ok(whole)
    });
    match inflated {
        Ok(whole) if whole.len() <= MOST && !body.is_empty() => {
            assert_eq!(fuzzing::inflate_at_once(body, whole.len()).expect("sound as a stream"), whole);
        }
        // More than anybody asked for.
        Ok(_) => {}
        Err(_) => assert!(fuzzing::inflate_at_once(body, MOST).is_err() || body.is_empty()),
    }
}

/// Patches of a blob of 64 bytes, whose first byte is how long the target is, and the rest what zstd has in it or is to have
/// in it. What is taken for one makes as much as it should; what is made of two texts makes the one of the other.
pub fn patches(data: &[u8]) {
    let Some((size, rest)) = data.split_first() else { return };
    let function = DigestFunction::Blake3;
    let base = vec![b'x'; 64];
    let target = function.digest(&vec![b'x'; usize::from(*size)]);
    let made = |patch: Patch, base: &[u8]| {
        let base = stream::iter([Ok(Bytes::copy_from_slice(base))]).boxed();
        let steps: Vec<cas::Result<Bytes>> =
            patch.apply(base).collect().now_or_never().expect("it waits for nothing");
        steps.into_iter().collect::<cas::Result<Vec<Bytes>>>().expect("it was checked").concat()
    };
    let compressed = zstd::bulk::compress(rest, 1).expect("it fits into memory");
    for patch in [rest, &compressed] {
        if let Ok(patch) = Patch::parse(patch, function.digest(&base), target) {
            assert_eq!(made(patch, &base).len() as u64, target.size());
        }
    }
    let (old, new) = rest.split_at(rest.len() / 2);
    let target = [old, new, old, old].concat();
    if let Some(patch) = patch::make(old, &target) {
        let patch =
            Patch::parse(&patch, function.digest(old), function.digest(&target)).expect("it was made so");
        assert_eq!(made(patch, old), target);
    }
}
