//! Programs that know by `env!` where they were built, changed so that they look where the copy lies.
//!
//! The directories that they know are open in the process that starts them, under a number that is inherited, and
//! `/dev/fd/NUMBER` is an absolute path to each. It takes the place of the old one, filled up with slashes to the same
//! length, as nothing in a program may move. So the changed program is the same on every machine.

use super::{PackError, beside::Beside};
use goblin::elf::{Elf, section_header::SHT_NOBITS};
use regex::bytes::Regex;
use std::{
    cmp::Reverse,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

/// The numbers for open directories: one digit, as shells want, and the highest, which nobody else has taken.
const NUMBERS: [u8; 3] = [9, 8, 7];

/// The directories that programs are searched for.
#[derive(Debug)]
pub(super) struct Places(Vec<Place>);

#[derive(Debug)]
struct Place {
    dir: PathBuf,
    number: u8,
    finder: Regex,
}

/// What became of programs.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Changed copies, and the programs that they take the place of.
    copies: Vec<(PathBuf, PathBuf)>,
    /// Programs that know a directory whose name is too short to be replaced.
    pub(super) stuck: Vec<PathBuf>,
}

impl Places {
    /// The outermost ones of `dirs`.
    pub(super) fn new(dirs: &[&Path]) -> Self {
        let is_outer = |at: usize| {
            let dir = dirs[at];
            let inside =
                |(other, above): (usize, &&Path)| dir.starts_with(above) && (dir != *above || other < at);
            !dirs.iter().enumerate().any(inside)
        };
        let outer = (0..dirs.len()).filter(|at| is_outer(*at)).map(|at| dirs[at]);
        let place = |(dir, number): (&Path, u8)| {
            let finder = Regex::new(&format!("(?-u){}", regex::escape(dir.to_str()?))).ok()?;
            Some(Place { dir: dir.to_owned(), number, finder })
        };
        let mut places: Vec<Place> = outer.zip(NUMBERS).filter_map(place).collect();
        // `/src/x-target` before `/src/x`, which its name begins with.
        places.sort_by_key(|place| Reverse(place.dir.as_os_str().len()));
        Self(places)
    }

    /// What the changed programs find open: numbers and directories.
    pub(super) fn open(&self) -> impl Iterator<Item = (u8, &Path)> {
        self.0.iter().map(|place| (place.number, &*place.dir))
    }
}

impl Place {
    /// What is written over the name, if there is room.
    fn replacement(&self) -> Option<Vec<u8>> {
        let mut name = format!("/dev/fd/{}", self.number).into_bytes();
        let length = self.dir.as_os_str().len();
        (name.len() <= length).then(|| {
            name.resize(length, b'/');
            name
        })
    }
}

impl Moved {
    /// Takes in the program or library at `path`: whether a changed copy takes its place.
    pub(super) fn take(&mut self, path: &Path, places: &Places, beside: &Beside) -> Result<bool, PackError> {
        let mut bytes = fs::read(path).map_err(|error| PackError::io(path, error))?;
        let found = replaced(&mut bytes, places);
        if !found.whole {
            self.stuck.push(path.to_owned());
        }
        if found.count == 0 {
            return Ok(false);
        }
        let copy = beside.program(&format!("moved/{}", self.copies.len()), path, &bytes)?;
        self.copies.push((copy, path.to_owned()));
        Ok(true)
    }

    /// For a launcher: puts the copies where the programs belong, unless those are there, and opens the directories.
    pub(super) fn shell(&self, places: &Places, beside: &Beside) -> String {
        if self.copies.is_empty() {
            return String::new();
        }
        let mut text = "\n# Programs that knew where they were built find that as /dev/fd/N.\n\
            put() { [ -e \"$2\" ] || { mkdir -p \"$(dirname \"$2\")\" && ln \"$1\" \"$2\"; }; }\n"
            .to_owned();
        for (copy, program) in &self.copies {
            text.push_str(&format!("put {} {}\n", beside.reaching(copy), beside.reaching(program)));
        }
        for (number, dir) in places.open() {
            text.push_str(&format!("exec {number}<{}\n", beside.reaching(dir)));
        }
        text
    }
}

/// What was found in a program.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// How many names were replaced.
    count: usize,
    /// Whether all were.
    whole: bool,
}

/// Replaces the names of places in what is loaded of a program; of what is none, nothing. What is for debuggers stays.
fn replaced(program: &mut [u8], places: &Places) -> Found {
    let mut found = Found { count: 0, whole: true };
    for section in loaded(program) {
        let Some(section) = program.get_mut(section) else { continue };
        for place in &places.0 {
            let at: Vec<Range<usize>> = place.finder.find_iter(section).map(|found| found.range()).collect();
            match place.replacement() {
                Some(name) => at.iter().for_each(|at| section[at.clone()].copy_from_slice(&name)),
                None => found.whole &= at.is_empty(),
            }
            found.count += if place.replacement().is_some() { at.len() } else { 0 };
        }
    }
    found
}

/// Where the parts of an ELF file are that are there while it runs.
fn loaded(bytes: &[u8]) -> Vec<Range<usize>> {
    let sections = Elf::parse(bytes).map(|elf| elf.section_headers).unwrap_or_default();
    let alloc = sections.into_iter().filter(|section| section.is_alloc() && section.sh_type != SHT_NOBITS);
    alloc.filter_map(|section| section.file_range()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_directories_are_found_by_the_outer_one() {
        let dirs = |dirs: &[&str]| {
            let dirs: Vec<&Path> = dirs.iter().map(Path::new).collect();
            let places = Places::new(&dirs);
            places.open().map(|(number, dir)| (number, dir.display().to_string())).collect::<Vec<_>>()
        };
        assert_eq!(dirs(&["/w/ws", "/w/ws/target", "/w/ws/target"]), [(9, "/w/ws".to_owned())]);
        assert_eq!(dirs(&["/w/ws", "/t", "/t"]), [(9, "/w/ws".to_owned()), (8, "/t".to_owned())]);
        assert_eq!(dirs(&["/t/ws", "/t", "/b"]), [(9, "/t".to_owned()), (8, "/b".to_owned())]);
        assert_eq!(
            dirs(&["/t/ws", "/t/ws-target"]),
            [(8, "/t/ws-target".to_owned()), (9, "/t/ws".to_owned())]
        );
    }

    #[test]
    fn names_keep_their_length_and_too_short_ones_stay() {
        let name = |dir: &str| Places::new(&[Path::new(dir)]).0[0].replacement();
        assert_eq!(name("/work/tree/x").as_deref(), Some(&b"/dev/fd/9///"[..]));
        assert_eq!(name("/dev/work").as_deref(), Some(&b"/dev/fd/9"[..]));
        assert_eq!(name("/src"), None);
    }

    /// This very program has the names in what is loaded of it.
    #[test]
    fn what_is_loaded_of_a_program_is_changed_and_nothing_else() {
        let program = std::env::current_exe().unwrap();
        let before = fs::read(program).unwrap();
        let known = std::hint::black_box("/no/such/place/in/this/program");
        let mut after = before.clone();
        let found = replaced(&mut after, &Places::new(&[Path::new(known)]));
        assert!(found.whole && found.count > 0);
        assert_eq!(before.len(), after.len());
        let sections = loaded(&after);
        let outside = |at: usize| !sections.iter().any(|section| section.contains(&at));
        assert!((0..after.len()).all(|at| before[at] == after[at] || !outside(at)));
        let mut text = b"/no/such/place/in/this/program".to_vec();
        assert_eq!(replaced(&mut text, &Places::new(&[Path::new(known)])), Found { count: 0, whole: true });
        let short = std::hint::black_box("/no");
        assert!(!replaced(&mut after.clone(), &Places::new(&[Path::new(short)])).whole);
        assert_eq!(replaced(&mut after, &Places::new(&[Path::new(known)])).count, 0);
    }
}
