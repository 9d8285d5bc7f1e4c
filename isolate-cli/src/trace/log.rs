//! What strace wrote, as accesses to files. Pure: no file is touched here.
//!
//! Lines of several processes come mixed, `PID  CALL(ARGUMENTS) = RESULT`, and a call that others come between is in two
//! parts. The working directory of each process is followed, so that relative paths become absolute.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    io::{self, BufRead, Read as _},
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// The calls that have to be traced.
pub(super) const CALLS: &str = "trace=%file,%process,fchdir";

/// Longest line: paths with every byte escaped, and command lines of some length.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Access {
    /// Its content, target or presence was asked for, and it was there.
    Used,
    /// It was written anew, replaced or removed, whatever it was before.
    Replaced,
}

/// The first access of each kind to each path that succeeded, in order: absolute, not normalised, symlinks not resolved. The log
/// may be long: it is read line by line.
pub(super) fn accesses(mut log: impl BufRead, start: &Path) -> io::Result<Vec<(PathBuf, Access)>> {
    let mut reading = Reading {
        start,
        cwds: HashMap::new(),
        unfinished: HashMap::new(),
        forking: HashSet::new(),
        seen: HashSet::new(),
        found: Vec::new(),
    };
    let mut line = Vec::new();
    while log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        reading.line(&line);
        line.clear();
    }
    Ok(reading.found)
}

struct Reading<'a> {
    start: &'a Path,
    cwds: HashMap<u32, PathBuf>,
    /// First parts of calls.
    unfinished: HashMap<u32, Vec<u8>>,
    /// Processes in the middle of making others.
    forking: HashSet<u32>,
    seen: HashSet<(PathBuf, Access)>,
    found: Vec<(PathBuf, Access)>,
}

impl Reading<'_> {
    fn line(&mut self, line: &[u8]) {
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
        let Some(pid) = number(&line[..digits]) else { return };
        let rest = line[digits..].trim_ascii();
        if let Some(first) = rest.strip_suffix(b"<unfinished ...>") {
            if makes_process(first) {
                self.forking.insert(pid);
            }
            self.unfinished.insert(pid, first.to_vec());
            return;
        }
        let whole = match rest.strip_prefix(b"<... ") {
            None => rest.to_vec(),
            Some(second) => {
                let Some(mut whole) = self.unfinished.remove(&pid) else { return };
                let after = second.windows(8).position(|part| part == b"resumed>").map_or(0, |at| at + 8);
                whole.extend_from_slice(&second[after..]);
                whole
            }
        };
        self.forking.remove(&pid);
        if let Some(call) = Call::parse(&whole) {
            self.call(pid, &call);
        }
    }

    /// Where a process is. One that was not heard of yet is where the one is that makes it.
    fn cwd(&mut self, pid: u32) -> PathBuf {
        if let Some(cwd) = self.cwds.get(&pid) {
            return cwd.clone();
        }
        let parent =
            self.forking.iter().find(|parent| **parent != pid).and_then(|parent| self.cwds.get(parent));
        let cwd = parent.map_or(self.start.to_owned(), PathBuf::clone);
        self.cwds.insert(pid, cwd.clone());
        cwd
    }

    fn call(&mut self, pid: u32, call: &Call<'_>) {
        let at = |dir, path| Some((call.dir(dir), call.text(path)?));
        let plain = |path| Some((None, call.text(path)?));
        let (paths, access) = match call.name {
            "open" => (vec![plain(0)], call.open_access(1)),
            "openat" | "openat2" => (vec![at(0, 1)], call.open_access(2)),
            "execve" | "readlink" | "stat" | "lstat" | "stat64" | "lstat64" | "access" | "truncate"
            | "chmod" | "getxattr" | "lgetxattr" | "inotify_add_watch" => {
                let path = if call.name == "inotify_add_watch" { 1 } else { 0 };
                (vec![plain(path)], Access::Used)
            }
            "execveat" | "readlinkat" | "newfstatat" | "fstatat64" | "statx" | "faccessat" | "faccessat2"
            | "fchmodat" | "fchmodat2" | "utimensat" => (vec![at(0, 1)], Access::Used),
            "creat" | "unlink" => (vec![plain(0)], Access::Replaced),
            "unlinkat" => (vec![at(0, 1)], Access::Replaced),
            "symlink" => (vec![plain(1)], Access::Replaced),
            "symlinkat" => (vec![at(1, 2)], Access::Replaced),
            // What is moved or linked is of use under its new name.
            "rename" => {
                self.note(pid, call, [plain(0)], Access::Used);
                (vec![plain(0), plain(1)], Access::Replaced)
            }
            "renameat" | "renameat2" => {
                self.note(pid, call, [at(0, 1)], Access::Used);
                (vec![at(0, 1), at(2, 3)], Access::Replaced)
            }
            "link" => {
                self.note(pid, call, [plain(0)], Access::Used);
                (vec![plain(1)], Access::Replaced)
            }
            "linkat" => {
                self.note(pid, call, [at(0, 1)], Access::Used);
                (vec![at(2, 3)], Access::Replaced)
            }
            "chdir" | "fchdir" => return self.change_directory(pid, call),
            "fork" | "vfork" | "clone" | "clone3" => {
                let cwd = self.cwd(pid);
                if let Some(child) = call.result_number() {
                    self.cwds.entry(child).or_insert(cwd);
                }
                return;
            }
            _ => return,
        };
        self.note(pid, call, paths, access);
    }

    /// Adds what a call did to paths, each below a directory or the one that the process is in, if it succeeded.
    fn note(
        &mut self,
        pid: u32,
        call: &Call<'_>,
        paths: impl IntoIterator<Item = Option<(Option<PathBuf>, PathBuf)>>,
        access: Access,
    ) {
        if !call.succeeded() {
            return;
        }
        for (dir, path) in paths.into_iter().flatten() {
            // Empty with an open file in the place of the directory: that was opened before.
            if !path.as_os_str().is_empty() {
                let dir = dir.unwrap_or_else(|| self.cwd(pid));
                let access = (dir.join(path), access);
                if self.seen.insert(access.clone()) {
                    self.found.push(access);
                }
            }
        }
    }

    fn change_directory(&mut self, pid: u32, call: &Call<'_>) {
        let cwd = self.cwd(pid);
        if call.succeeded()
            && let Some(to) = call.dir(0).or_else(|| call.text(0).map(|path| cwd.join(path)))
        {
            self.cwds.insert(pid, to);
        }
    }
}

fn makes_process(call: &[u8]) -> bool {
    [&b"fork("[..], b"vfork(", b"clone(", b"clone3("].iter().any(|name| call.starts_with(name))
}

/// One call.
struct Call<'a> {
    name: &'a str,
    arguments: Vec<&'a [u8]>,
    result: &'a [u8],
}

impl<'a> Call<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let name = std::str::from_utf8(&text[..open]).ok()?;
        let mut arguments = Vec::new();
        let mut start = open + 1;
        let mut depth = 0;
        let mut at = start;
        while at < text.len() {
            match text[at] {
                b'"' => at += string_end(&text[at..])?,
                b'<' => at += text[at..].iter().position(|byte| *byte == b'>')?,
                b'(' | b'[' | b'{' => depth += 1,
                b')' if depth == 0 => break,
                b')' | b']' | b'}' => depth -= 1,
                b',' if depth == 0 => {
                    arguments.push(text[start..at].trim_ascii());
                    start = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        arguments.push(text.get(start..at)?.trim_ascii());
        let result = text.get(at + 1..)?.trim_ascii().strip_prefix(b"=")?.trim_ascii();
        Some(Self { name, arguments, result })
    }

    fn succeeded(&self) -> bool {
        self.result.first().is_some_and(u8::is_ascii_digit)
    }

    fn result_number(&self) -> Option<u32> {
        let digits = self.result.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&self.result[..digits]).ok()?.parse().ok()
    }

    /// A string argument.
    fn text(&self, at: usize) -> Option<PathBuf> {
        let quoted = self.arguments.get(at)?.strip_prefix(b"\"")?;
        // One that was cut short ends in `"...`.
        Some(OsString::from_vec(unescaped(quoted.strip_suffix(b"\"")?)).into())
    }

    /// The path of an open directory: `AT_FDCWD</src>`, `3</src/a>`.
    fn dir(&self, at: usize) -> Option<PathBuf> {
        let argument = self.arguments.get(at)?;
        let open = argument.iter().position(|byte| *byte == b'<')?;
        let path = argument.get(open + 1..)?.strip_suffix(b">")?;
        (!argument.starts_with(b"\"") && path.starts_with(b"/"))
            .then(|| OsString::from_vec(unescaped(path)).into())
    }

    fn open_access(&self, flags: usize) -> Access {
        let flags = self.arguments.get(flags).map(|flags| String::from_utf8_lossy(flags)).unwrap_or_default();
        if flags.contains("O_TRUNC") { Access::Replaced } else { Access::Used }
    }
}

/// Where the string that `text` begins with ends.
fn string_end(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while *text.get(at)? != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    Some(at)
}

/// Resolves the escapes of C.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let octal = rest.iter().take(3).take_while(|digit| (b'0'..=b'7').contains(digit)).count();
        if octal > 0 {
            let code = rest[..octal].iter().fold(0u32, |code, digit| code * 8 + u32::from(digit - b'0'));
            plain.push(code as u8);
            rest = &rest[octal..];
            continue;
        }
        let Some((&escape, after)) = rest.split_first() else { break };
        rest = after;
        plain.push(match escape {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 0xb,
            b'f' => 0xc,
            other => other,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn used(log: &str) -> Vec<String> {
        let found = accesses(log.as_bytes(), Path::new("/src")).unwrap();
        let text = |(path, access): (PathBuf, Access)| match access {
            Access::Used => path.display().to_string(),
            Access::Replaced => format!("!{}", path.display()),
        };
        found.into_iter().map(text).collect()
    }

    #[test]
    fn calls_that_succeed_name_files() {
        let log = r#"
8  execve("./run", ["./run", "a, b)"], 0x7f /* 35 vars */) = 0
8  openat(AT_FDCWD</src>, "a \303\251\"\\>x", O_RDONLY|O_CLOEXEC) = 3</src/a \303\251\76x>
8  openat(3</src/d>, "b", O_RDONLY) = -1 ENOENT (No such file or directory)
8  openat(3</src/a \76b>, "c", O_RDONLY) = 4</src/a \76b/c>
8  newfstatat(3</src/x>, "", {st_mode=S_IFREG|0644, st_size=3, ...}, AT_EMPTY_PATH) = 0
8  newfstatat(AT_FDCWD</src>, "../d", {st_mode=S_IFREG|0644, ...}, 0) = 0
8  readlink("/l", "target", 4096) = 6
8  open("out", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</src/out>
8  rename("tmp", "out") = 0
8  unlinkat(AT_FDCWD</src>, "e", 0) = 0
8  linkat(5</src/d>, "old", AT_FDCWD</src>, "new", 0) = 0
8  rename("gone", "g") = -1 ENOENT (No such file or directory)
8  exit_group(0) = ?
8  +++ exited with 0 +++
nonsense
"#;
        let expected = [
            "/src/./run",
            "/src/a é\"\\>x",
            "/src/a >b/c",
            "/src/../d",
            "/l",
            "!/src/out",
            "/src/tmp",
            "!/src/tmp",
            "!/src/e",
            "/src/d/old",
            "!/src/new",
        ];
        assert_eq!(used(log), expected);
    }

    #[test]
    fn processes_that_are_made_start_where_their_parents_are() {
        let log = r#"
8  execve("/bin/sh", ["sh"], 0x7f) = 0
8  chdir("sub") = 0
8  vfork( <unfinished ...>
9  execve("./tool", ["tool"], 0x5 <unfinished ...>
8  <... vfork resumed>) = 9
9  <... execve resumed>) = 0
9  chdir("/else") = 0
9  access("x", R_OK) = 0
8  clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = 10
10 fchdir(3</src/other>) = 0
10 stat("y", {st_mode=S_IFREG|0644, st_size=1, ...}) = 0
8  stat("z", {st_mode=S_IFREG|0644, st_size=1, ...}) = 0
"#;
        let expected = ["/bin/sh", "/src/sub/./tool", "/else/x", "/src/other/y", "/src/sub/z"];
        assert_eq!(used(log), expected);
    }

    proptest! {
        #[test]
        fn no_log_panics(log in "([0-9]{1,2}  )?(openat|execve|<\\.\\.\\. |chdir)?[(\"\\\\<>,)=0-9a-z \n\\[{]{0,60}") {
            let _ = accesses(log.as_bytes(), Path::new("/"));
        }
    }
}
