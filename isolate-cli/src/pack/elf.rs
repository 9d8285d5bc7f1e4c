//! The shared libraries that programs load, found as the dynamic linker finds them, without running anything.

use super::PackError;
use goblin::elf::{
    Elf,
    header::{ELFCLASS64, ELFDATA2MSB, ELFMAG},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
};

/// Where the dynamic linker looks at last.
const DEFAULT_DIRS: [&str; 12] = [
    "/lib32",
    "/usr/lib32",
    "/lib/i386-linux-gnu",
    "/usr/lib/i386-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib",
    "/usr/lib",
];

/// Largest file that is read as a program or a library.
const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// What programs load from outside of the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure {
    /// The libraries, as they are looked up: perhaps by symlinks.
    pub libraries: BTreeSet<PathBuf>,
    /// Directories of those that no program or library finds by itself where they are: for `LD_LIBRARY_PATH`.
    pub search: BTreeSet<PathBuf>,
    /// The names of libraries that are nowhere, and a file that needs each.
    pub missing: BTreeMap<String, PathBuf>,
    /// Dynamic linkers, which programs name by absolute paths, that are not below the base.
    pub linkers: BTreeSet<PathBuf>,
}

impl Closure {
    /// The same, if nothing is missing.
    pub fn complete(self) -> Result<Self, PackError> {
        if self.missing.is_empty() { Ok(self) } else { Err(PackError::Missing { missing: self.missing }) }
    }
}

/// What the programs at these real paths load, directly and through each other, but for what is below one of `base`, which every
/// machine has together with what that needs. `library_path` is looked through first.
pub fn closure(
    programs: &[PathBuf],
    base: &[PathBuf],
    library_path: &[PathBuf],
) -> Result<Closure, PackError> {
    let mut found = Closure::default();
    let mut seen: BTreeSet<PathBuf> = programs.iter().cloned().collect();
    let mut pending: VecDeque<(PathBuf, Vec<PathBuf>)> =
        programs.iter().map(|program| (program.clone(), Vec::new())).collect();
    while let Some((path, above)) = pending.pop_front() {
        let needs = Needs::read(&path)?;
        let own = needs.search(&path, &above);
        let linker = needs.linker.clone().filter(|_| programs.contains(&path));
        let has = |linker: &PathBuf| {
            fs::canonicalize(linker).is_ok_and(|real| base.iter().any(|base| real.starts_with(base)))
        };
        found.linkers.extend(linker.filter(|linker| !has(linker)));
        for name in &needs.libraries {
            let Some((library, by_itself)) = look_up(name, needs.machine, &own, library_path) else {
                found.missing.insert(name.clone(), path.clone());
                continue;
            };
            let real = fs::canonicalize(&library).map_err(|source| PackError::io(&library, source))?;
            if base.iter().any(|base| real.starts_with(base)) {
                continue;
            }
            found.libraries.insert(library.clone());
            if !by_itself {
                found.search.extend(library.parent().map(Path::to_owned));
            }
            if seen.insert(library.clone()) {
                pending.push_back((library, needs.inherited(&path, &above)));
            }
        }
    }
    Ok(found)
}

/// What an ELF file says about its libraries.
struct Needs {
    machine: Machine,
    linker: Option<PathBuf>,
    libraries: Vec<String>,
    /// Also for those that its libraries need.
    rpaths: Vec<Directory>,
    /// For its own only; where there are some, `rpaths` do not count.
    runpaths: Vec<Directory>,
}

/// What a file is for. The dynamic linker passes over libraries for others.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Machine {
    is_64: bool,
    /// `e_machine`.
    number: u16,
}

impl Machine {
    /// What the library at `path` is for, if it is one.
    fn of(path: &Path) -> Option<Self> {
        let mut head = [0; 20];
        io::Read::read_exact(&mut fs::File::open(path).ok()?, &mut head).ok()?;
        let number = [head[18], head[19]];
        let number =
            if head[5] == ELFDATA2MSB { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
        head.starts_with(ELFMAG).then_some(Self { is_64: head[4] == ELFCLASS64, number })
    }
}

/// As written: `$ORIGIN/../lib`.
struct Directory(String);

impl Needs {
    fn read(path: &Path) -> Result<Self, PackError> {
        let read = || {
            let size = fs::metadata(path)?.len();
            if size > MAX_BYTES {
                return Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
            }
            fs::read(path)
        };
        let bytes = read().map_err(|source| PackError::io(path, source))?;
        let elf = Elf::parse(&bytes).map_err(|source| PackError::NotElf { path: path.to_owned(), source })?;
        let split = |lists: &[&str]| {
            let items = lists.iter().flat_map(|list| list.split(':')).filter(|item| !item.is_empty());
            items.map(|item| Directory(item.to_owned())).collect()
        };
        Ok(Self {
            machine: Machine { is_64: elf.is_64, number: elf.header.e_machine },
            linker: elf.interpreter.map(PathBuf::from),
            libraries: elf.libraries.iter().map(|name| (*name).to_owned()).collect(),
            rpaths: split(&elf.rpaths),
            runpaths: split(&elf.runpaths),
        })
    }

    /// Where it looks itself, and whether that is where the file still looks when the whole tree lies elsewhere.
    fn search(&self, path: &Path, above: &[PathBuf]) -> Vec<(PathBuf, bool)> {
        let dirs = if self.runpaths.is_empty() { &self.rpaths } else { &self.runpaths };
        let own = dirs.iter().map(|dir| dir.expanded(path));
        let above = above.iter().filter(|_| self.runpaths.is_empty()).map(|dir| (dir.clone(), true));
        own.chain(above).collect()
    }

    /// Where its libraries look because it does.
    fn inherited(&self, path: &Path, above: &[PathBuf]) -> Vec<PathBuf> {
        if !self.runpaths.is_empty() {
            return Vec::new();
        }
        let own = self.rpaths.iter().map(|dir| dir.expanded(path)).filter(|(_, moves)| *moves);
        own.map(|(dir, _)| dir).chain(above.iter().cloned()).collect()
    }
}

impl Directory {
    /// Where it is for this file, and whether it goes along with it.
    fn expanded(&self, path: &Path) -> (PathBuf, bool) {
        let origin = path.parent().unwrap_or(Path::new("/")).to_string_lossy();
        let text = self.0.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
        let moves = text != self.0;
        (crate::isolate_file::lexical_join(Path::new("/"), &text), moves)
    }
}

/// Whether it is a program or library.
pub fn is_elf(path: &Path) -> bool {
    Machine::of(path).is_some()
}

/// The library, and whether whoever needs it finds it by itself.
fn look_up(
    name: &str,
    machine: Machine,
    own: &[(PathBuf, bool)],
    library_path: &[PathBuf],
) -> Option<(PathBuf, bool)> {
    if name.contains('/') {
        return Path::new(name).is_file().then(|| (name.into(), false));
    }
    let given = library_path.iter().map(|dir| (dir.clone(), false));
    let default = DEFAULT_DIRS.iter().map(|dir| (PathBuf::from(dir), false));
    let mut places = given.chain(own.iter().cloned()).chain(default);
    places.find_map(|(dir, moves)| {
        Some((dir.join(name), moves)).filter(|(path, _)| Machine::of(path) == Some(machine))
    })
}
