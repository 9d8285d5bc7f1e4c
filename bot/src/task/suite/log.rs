//! What each test wrote: its end for the report, all of it for the outputs, `test-logs/NAME.log`.

use crate::files;
use crate::suite::MAX_TAIL;
use proto::DigestFunction;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The directory of the logs, among the outputs.
const DIRECTORY: &str = "test-logs";

/// Most bytes that are kept of one run of a test; the log says when there were more.
const KEPT: usize = 16 * 1024 * 1024;

/// Bytes that are held in memory before they go to the file.
const BUFFER: usize = 256 * 1024;

/// Longest name of a file, without its ending.
const NAME: usize = 180;

const CUT: &[u8] = b"\n[the rest of this test's output was dropped: it is too long]\n";

/// The last bytes of what is written to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(MAX_TAIL)..];
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * MAX_TAIL {
            self.0.drain(..self.0.len() - MAX_TAIL);
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0[self.0.len().saturating_sub(MAX_TAIL)..]
    }
}

/// One run of a test.
#[derive(Debug, Default)]
struct Log {
    buffer: Vec<u8>,
    file: Option<File>,
    len: usize,
    tail: Tail,
}

/// The logs of an attempt.
#[derive(Debug)]
pub(super) struct Logs {
    outputs: PathBuf,
    open: HashMap<String, Log>,
    /// How often each name of a file was taken.
    taken: HashMap<String, u32>,
}

impl Logs {
    pub(super) fn new(outputs: &Path) -> Self {
        let (open, taken) = (HashMap::new(), HashMap::new());
        Self { outputs: outputs.to_owned(), open, taken }
    }

    /// Adds to what the test `name` wrote. Blocks for a moment, once in [`BUFFER`] bytes.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let log = self.open.entry(name.to_owned()).or_default();
        log.tail.push(bytes);
        if log.len >= KEPT {
            return Ok(());
        }
        let kept = &bytes[..bytes.len().min(KEPT - log.len)];
        log.len += kept.len();
        log.buffer.extend_from_slice(kept);
        if log.len >= KEPT {
            log.buffer.extend_from_slice(CUT);
        }
        if log.buffer.len() < BUFFER {
            return Ok(());
        }
        flush(&self.outputs, &mut self.taken, name, log)
    }

    /// The run of a test has ended: the end of what it wrote. Nothing written, no file.
    pub(super) fn finish(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let Some(mut log) = self.open.remove(name) else { return Ok(Vec::new()) };
        flush(&self.outputs, &mut self.taken, name, &mut log)?;
        Ok(log.tail.as_bytes().to_vec())
    }
}

/// The file for another run of the test `name`.
fn place(directory: &Path, taken: &mut HashMap<String, u32>, name: &str) -> PathBuf {
    let name = file_name(name);
    let times = taken.entry(name.clone()).or_default();
    *times += 1;
    match *times {
        1 => directory.join(format!("{name}.log")),
        again => directory.join(format!("{name}.run{again}.log")),
    }
}

/// Its file is made once, in the place of whatever a test may have put there.
fn flush(outputs: &Path, taken: &mut HashMap<String, u32>, name: &str, log: &mut Log) -> io::Result<()> {
    let file = match &mut log.file {
        Some(file) => file,
        none => none.insert(files::create(outputs, &place(&outputs.join(DIRECTORY), taken, name))?),
    };
    file.write_all(&log.buffer)?;
    log.buffer.clear();
    Ok(())
}

/// A name for a file: what is not a letter, a digit or harmless becomes `_`, and a name that was changed or cut says so by
/// the start of its digest, so that no two tests share a file.
pub(super) fn file_name(name: &str) -> String {
    let is_safe = |letter: char| letter.is_ascii_alphanumeric() || "._-+=@,[]".contains(letter);
    let mut safe: String =
        name.chars().map(|letter| if is_safe(letter) { letter } else { '_' }).take(NAME).collect();
    if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    if safe != name {
        let digest = DigestFunction::Blake3.digest(name.as_bytes()).hex();
        safe.push_str(&format!("-{}", &digest[..8]));
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_run_has_a_log_and_a_tail() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = Logs::new(dir.path());
        for _ in 0..2 {
            logs.add("A.b", b"first\n").unwrap();
            logs.add("t[a/b]", &[b'x'; 3 * BUFFER]).unwrap();
            logs.add("A.b", b"last\n").unwrap();
            assert_eq!(logs.finish("A.b").unwrap(), b"first\nlast\n");
            assert_eq!(logs.finish("t[a/b]").unwrap().len(), MAX_TAIL);
            assert_eq!(logs.finish("silent").unwrap(), b"");
        }
        let logs = dir.path().join(DIRECTORY);
        for name in ["A.b.log", "A.b.run2.log"] {
            assert_eq!(fs::read_to_string(logs.join(name)).unwrap(), "first\nlast\n");
        }
        let sizes: Vec<u64> =
            fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert_eq!((sizes.len(), sizes.iter().max()), (4, Some(&(3 * BUFFER as u64))));
    }

    #[test]
    fn a_link_in_the_place_of_a_log_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, directory) = (dir.path().join("victim"), dir.path().join("out").join(DIRECTORY));
        fs::write(&victim, "precious").unwrap();
        fs::create_dir_all(&directory).unwrap();
        std::os::unix::fs::symlink(&victim, directory.join("a.log")).unwrap();
        let mut logs = Logs::new(&dir.path().join("out"));
        logs.add("a", b"said").unwrap();
        logs.finish("a").unwrap();
        assert_eq!(fs::read_to_string(directory.join("a.log")).unwrap(), "said");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn a_log_is_bounded_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = Logs::new(dir.path());
        for _ in 0..20 {
            logs.add("a", &vec![b'y'; 1024 * 1024]).unwrap();
        }
        assert!(logs.finish("a").unwrap().ends_with(b"yyy"));
        let log = fs::read(dir.path().join(DIRECTORY).join("a.log")).unwrap();
        assert_eq!(log.len(), KEPT + CUT.len());
        assert!(log.ends_with(CUT));
    }

    #[test]
    fn names_of_tests_become_names_of_files_that_differ() {
        assert_eq!(file_name("Inst.P-1"), "Inst.P-1");
        let names = ["a/b", "a:b", "../../etc/passwd", ".", "..", "t[ü]", "t[ä]", &"x".repeat(1000)];
        let mut files: Vec<String> = names.iter().map(|name| file_name(name)).collect();
        assert!(files.iter().all(|name| !name.contains('/') && name.len() < 200 && !name.starts_with('.')));
        files.sort_unstable();
        files.dedup();
        assert_eq!(files.len(), names.len());
    }
}
