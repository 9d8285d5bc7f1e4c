//! The tests of a Cargo workspace, as cargo-nextest lists and runs them: from listings and binaries, with neither Cargo nor
//! sources at hand.

use super::{
    PackError, Recipe,
    beside::Beside,
    closure,
    fixtures::fixtures,
    moved::{Moved, Places},
    nextest::{Listing, Nextest, Packages},
    programs,
};
use crate::Error;
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
    /// Programs that look for files where they were built, and cannot be made to look elsewhere.
    pub stuck: Vec<PathBuf>,
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
    let (build, content) = (&listing.content.build, &packages.content);
    let places = Places::new(&[&content.workspace_root, &build.target_directory, build.build_directory()]);
    let mut work = Work {
        places,
        moved: Moved::default(),
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
    let binaries = work.listing.binaries.len() as u64;
    Ok(CargoPacked { description: work.recipe.into_text(), binaries, libraries, stuck: work.moved.stuck })
}

struct Work {
    /// Where everything was built.
    places: Places,
    moved: Moved,
    recipe: Recipe,
    beside: Beside,
    listing: Listing,
    packages: Packages,
    /// For `LD_LIBRARY_PATH`, as the launcher writes them.
    search: Vec<String>,
}

impl Work {
    /// Programs, and what build scripts made for them.
    fn binaries(&mut self) -> Result<(), PackError> {
        for program in &self.programs() {
            self.program(program)?;
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

    /// Programs with tests, and those that they start and load.
    fn programs(&self) -> BTreeSet<PathBuf> {
        let built = self.listing.build.non_test_binaries.values().flatten();
        let built = built.map(|built| self.listing.build.target_directory.join(&built.path));
        let tests = self.listing.binaries.values().map(|binary| binary.path.clone());
        tests.chain(built.filter(|path| path.is_file())).collect()
    }

    /// A program or library that was built here, or a copy in its place.
    fn program(&mut self, path: &Path) -> Result<(), PackError> {
        if !self.moved.take(path, &self.places, &self.beside)? {
            self.recipe.file(path);
        }
        Ok(())
    }

    /// Shared libraries. Those that were not built here are copied, so that the root of all inputs stays low; tells how many
    /// there are.
    fn libraries(&mut self, nextest: &Path, options: &CargoOptions) -> Result<u64, PackError> {
        let build = &self.listing.build;
        let mut programs: Vec<PathBuf> = self.programs().into_iter().collect();
        programs.push(nextest.to_owned());
        let outputs = build.base_output_directories.iter().map(|dir| build.target_directory.join(dir));
        let mut library_path = options.library_path.clone();
        library_path.extend(build.linked_paths.iter().map(|path| build.build_directory().join(path)));
        library_path.extend(outputs.flat_map(|dir| [dir.join("deps"), dir]));
        library_path.extend(build.toolchain_libraries());
        let found = closure(&programs, &options.base, &library_path)?.complete()?;
        let own = [self.packages.workspace_root.clone(), build.target_directory.clone()];
        let is_own = |path: &Path| own.iter().any(|own| path.starts_with(own));
        for library in &found.libraries {
            if is_own(library) {
                self.program(library)?;
            } else {
                self.beside.copy(library, "lib")?;
            }
        }
        let dirs = found.search.iter().filter(|dir| is_own(dir));
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
        let moved = self.moved.shell(&self.places, &self.beside);
        let programs = programs::shell(&self.listing, &self.packages, &self.beside);
        format!(
            r#"
# Arguments are those of `cargo nextest run`: parts of tests' names, -E 'binary(NAME)', --retries 2, ...
# The report becomes ${{ISOLATED_OUTDIR}}/default/tests.xml, after the name of the profile.

# Snapshots of insta are looked for below this, which would be asked of Cargo otherwise.
export INSTA_WORKSPACE_ROOT=$(cd {root} && pwd)
export LD_LIBRARY_PATH={search}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
{moved}{programs}
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
}
