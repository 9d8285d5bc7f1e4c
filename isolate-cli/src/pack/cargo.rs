//! The tests of a Cargo workspace, as cargo-nextest lists and runs them: from listings and binaries, with neither Cargo nor
//! sources at hand.

use super::{
    PackError, Recipe,
    beside::Beside,
    closure,
    fixtures::fixtures,
    nextest::{Listing, Nextest, Packages},
};
use crate::Error;
use goblin::elf::{Elf, section_header::SHT_NOBITS};
use runtime::Shutdown;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What of what is packed, and what other machines have.
#[derive(Clone, Debug, Default)]
pub struct CargoOptions {
    /// Arguments of `cargo nextest list`: packages, features, profile.
    pub list_args: Vec<String>,
    /// What the tests need besides the files of their packages.
    pub data: Vec<PathBuf>,
    /// Directories whose libraries every machine has.
    pub base: Vec<PathBuf>,
    /// Where to look for libraries first.
    pub library_path: Vec<PathBuf>,
}

/// What was packed.
#[derive(Clone, Debug)]
pub struct CargoPacked {
    /// The text of the description.
    pub description: String,
    /// How many programs with tests.
    pub binaries: u64,
    /// How many libraries came along.
    pub libraries: u64,
    /// Names of the binaries that look for files where they were built.
    pub rooted: Vec<String>,
}

/// Builds the tests of the package or workspace in `dir` and makes a description of them, to be written to `output`. All paths
/// are real ones.
pub async fn pack_cargo(
    dir: &Path,
    output: &Path,
    options: &CargoOptions,
    shutdown: &Shutdown,
) -> Result<CargoPacked, Error> {
    let nextest = Nextest::find()?;
    let listing = nextest.list(dir, &options.list_args, shutdown).await?;
    let packages = nextest.packages(dir, shutdown).await?;
    if listing.content.binaries.is_empty() {
        let reason = "no tests are here: name another directory, or other packages after `--`";
        return Err(PackError::Unfit { path: dir.to_owned(), reason }.into());
    }
    let beside = Beside::create(output)?;
    beside.write("binaries.json", &listing.text)?;
    beside.write("packages.json", &packages.text)?;
    beside.copy(&nextest.path, ".")?;
    let mut work = Work {
        recipe: Recipe::new(output.parent().unwrap_or(Path::new("/"))),
        beside,
        listing: listing.content,
        packages: packages.content,
        search: vec!["\"$here\"/lib".to_owned()],
    };
    work.recipe.directory(work.beside.path());
    work.binaries()?;
    let libraries = work.libraries(&nextest.path, options)?;
    work.fixtures(output)?;
    options.data.iter().for_each(|path| work.recipe.any(path));
    let launcher = work.beside.launcher(&work.launcher())?;
    let program = work.recipe.program(&launcher);
    work.recipe.command([program]);
    let rooted = work.rooted()?;
    let binaries = work.listing.binaries.len() as u64;
    Ok(CargoPacked { description: work.recipe.into_text(), binaries, libraries, rooted })
}

struct Work {
    recipe: Recipe,
    beside: Beside,
    listing: Listing,
    packages: Packages,
    /// For `LD_LIBRARY_PATH`, as the launcher writes them.
    search: Vec<String>,
}

impl Work {
    /// Programs with tests, programs and libraries that they start and load, and what build scripts made for them.
    fn binaries(&mut self) -> Result<(), PackError> {
        for binary in self.listing.binaries.values() {
            self.recipe.file(&binary.path);
        }
        let built = self.listing.build.non_test_binaries.values().flatten().map(|built| &built.path);
        for path in built.map(|path| self.listing.build.target_directory.join(path)) {
            if path.is_file() {
                self.recipe.file(&path);
            }
        }
        let tested: BTreeSet<&str> =
            self.listing.binaries.values().map(|binary| &*binary.package_id).collect();
        for (package, out) in &self.listing.build.build_script_out_dirs {
            let path = self.listing.build.build_directory().join(out);
            let is_filled = || fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
            if tested.contains(&**package) && is_filled() {
                self.recipe.directory(&path);
            }
        }
        Ok(())
    }

    /// Shared libraries. Those that were not built here are copied, so that the root of all inputs stays low; tells how many
    /// there are.
    fn libraries(&mut self, nextest: &Path, options: &CargoOptions) -> Result<u64, PackError> {
        let build = &self.listing.build;
        let mut programs: Vec<PathBuf> =
            self.listing.binaries.values().map(|binary| binary.path.clone()).collect();
        programs.push(nextest.to_owned());
        let outputs = build.base_output_directories.iter().map(|dir| build.target_directory.join(dir));
        let mut library_path = options.library_path.clone();
        library_path.extend(build.linked_paths.iter().map(|path| build.build_directory().join(path)));
        library_path.extend(outputs.flat_map(|dir| [dir.join("deps"), dir]));
        library_path.extend(build.toolchain_libraries());
        let found = closure(&programs, &options.base, &library_path)?.complete()?;
        let own = [&self.packages.workspace_root, &build.target_directory];
        for library in &found.libraries {
            if own.iter().any(|own| library.starts_with(own)) {
                self.recipe.file(library);
            } else {
                self.beside.copy(library, "lib")?;
            }
        }
        let dirs = found.search.iter().filter(|dir| own.iter().any(|own| dir.starts_with(own)));
        self.search.extend(dirs.map(|dir| self.beside.reaching(dir)));
        Ok(found.libraries.len() as u64)
    }

    /// The files of the packages that have tests here, and how nextest is set up.
    fn fixtures(&mut self, output: &Path) -> Result<(), Error> {
        let tested: BTreeSet<&str> =
            self.listing.binaries.values().map(|binary| &*binary.package_id).collect();
        let members = self.packages.members();
        let mut without: BTreeSet<PathBuf> = members.values().map(|dir| (*dir).to_owned()).collect();
        without.extend([
            self.listing.build.target_directory.clone(),
            self.listing.build.build_directory().to_owned(),
            self.beside.path().to_owned(),
        ]);
        without.extend(["isolate", "isolated", "isolated.state"].map(|kind| output.with_extension(kind)));
        for dir in tested.iter().filter_map(|package| members.get(package)) {
            without.remove(*dir);
            for file in fixtures(dir, &without)? {
                let path = Path::new(&file);
                if file.ends_with('/') { self.recipe.directory(path) } else { self.recipe.file(path) }
            }
            without.insert((*dir).to_owned());
        }
        // By the first one nextest knows a workspace, in the second one it is set up.
        for own in ["Cargo.toml", ".config/nextest.toml"].map(|name| self.packages.workspace_root.join(name))
        {
            if own.is_file() {
                self.recipe.file(&own);
            }
        }
        Ok(())
    }

    /// Numbers of shards count from 0, nextest's from 1.
    fn launcher(&self) -> String {
        let build = &self.listing.build;
        let root = self.beside.reaching(&self.packages.workspace_root);
        let target = self.beside.reaching(&build.target_directory);
        let mut remap = format!("--workspace-remap \"$INSTA_WORKSPACE_ROOT\" --target-dir-remap {target}");
        if build.build_directory() != build.target_directory {
            remap.push_str(" --build-dir-remap ");
            remap.push_str(&self.beside.reaching(build.build_directory()));
        }
        let search = self.search.join(":");
        format!(
            r#"
# Arguments are those of `cargo nextest run`: parts of tests' names, -E 'binary(NAME)', --retries 2, ...
# The report becomes ${{ISOLATED_OUTDIR}}/default/tests.xml, after the name of the profile.

# Snapshots of insta are looked for below this, which would be asked of Cargo otherwise.
export INSTA_WORKSPACE_ROOT=$(cd {root} && pwd)
export LD_LIBRARY_PATH={search}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
cat >"$here/nextest.toml" <<END
[store]
dir = '${{ISOLATED_OUTDIR:-$here/out}}'
[profile.default.junit]
path = 'tests.xml'
END
if [ "${{SHARD_TOTAL:-1}}" -gt 1 ]; then
    set -- --partition "slice:$((SHARD_INDEX + 1))/$SHARD_TOTAL" --no-tests pass "$@"
fi
exec "$here/cargo-nextest" nextest run \
    --binaries-metadata "$here/binaries.json" --cargo-metadata "$here/packages.json" \
    {remap} \
    --user-config-file none --tool-config-file "isolate:$here/nextest.toml" --no-fail-fast "$@"
"#
        )
    }

    /// Binaries with the name of a package's directory or of a built program in what they load: put there by `env!`, it is of
    /// no use on another machine. Names of generated sources do not count.
    fn rooted(&self) -> Result<Vec<String>, PackError> {
        let root = self.packages.workspace_root.to_string_lossy();
        let build = self.listing.build.build_directory().to_string_lossy();
        let mut rooted = Vec::new();
        for (id, binary) in &self.listing.binaries {
            let bytes = fs::read(&binary.path).map_err(|error| PackError::io(&binary.path, error))?;
            if loaded(&bytes).any(|section| mentions(section, &root, &build)) {
                rooted.push(id.clone());
            }
        }
        Ok(rooted)
    }
}

/// The parts of an ELF file that are there while it runs; nothing of what is none.
fn loaded(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let sections = Elf::parse(bytes).map(|elf| elf.section_headers).unwrap_or_default();
    let alloc = sections.into_iter().filter(|section| section.is_alloc() && section.sh_type != SHT_NOBITS);
    alloc.filter_map(|section| bytes.get(section.file_range()?))
}

/// Whether `root` occurs as a path that is not that of a generated source: `BUILD/PROFILE/build/...`.
fn mentions(section: &[u8], root: &str, build: &str) -> bool {
    let Ok(finder) = regex::bytes::Regex::new(&regex::escape(root)) else { return false };
    let generated = |at: usize| {
        let rest = section[at..].strip_prefix(build.as_bytes());
        rest.is_some_and(|rest| rest.split(|byte| *byte == b'/').take(4).any(|part| part == b"build"))
    };
    finder.find_iter(section).any(|found| !generated(found.start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_packages_count_and_those_of_generated_sources_do_not() {
        let told = |text: &str| mentions(text.as_bytes(), "/w/ws", "/w/ws/target");
        assert!(told("src/lib.rs/w/ws/tests/data.txt"));
        assert!(told("/w/ws"));
        assert!(told("/w/ws/target/debug/prog"));
        assert!(!told("/w/ws/target/debug/build/p-1/out/made.rs and /w/other"));
        assert!(!told("src/lib.rs"));
    }
}
