//! Where the programs of a swarm are.

use crate::failure::Usage;
use std::{
    env,
    ffi::OsStr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The programs that a swarm consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Programs {
    pub(crate) cas_server: PathBuf,
    pub(crate) scheduler: PathBuf,
    pub(crate) bot: PathBuf,
}

/// The directory of this program.
fn own_dir() -> Option<PathBuf> {
    env::current_exe().ok().and_then(|path| Some(path.canonicalize().ok()?.parent()?.to_owned()))
}

/// One of our programs, beside this one or on the PATH.
pub(crate) fn program(name: &str) -> Result<PathBuf, Usage> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = own_dir().into_iter().chain(env::split_paths(&path)).collect();
    find(name, &dirs).ok_or_else(|| {
        Usage(format!(
            "cannot find {name}: looked beside swarm and on the PATH; build it with `cargo build --release`"
        ))
    })
}

impl Programs {
    /// Looks beside this program, then on the PATH.
    pub(crate) fn find() -> Result<Self, Usage> {
        let path = env::var_os("PATH").unwrap_or_default();
        Self::find_in(own_dir().as_deref(), &path)
    }

    fn find_in(own: Option<&Path>, path: &OsStr) -> Result<Self, Usage> {
        let dirs: Vec<PathBuf> = own.map(Path::to_owned).into_iter().chain(env::split_paths(path)).collect();
        let mut missing = Vec::new();
        let mut need = |name: &'static str| {
            find(name, &dirs).unwrap_or_else(|| {
                missing.push(name);
                PathBuf::new()
            })
        };
        let (cas_server, scheduler, bot) = (need("cas-server"), need("scheduler"), need("bot"));
        if !missing.is_empty() {
            let place = own.map(|own| format!(" in {} and", own.display())).unwrap_or_default();
            let missing = missing.join(", ");
            return Err(Usage(format!(
                "cannot find {missing}: looked{place} on the PATH; build them with `cargo build --release`"
            )));
        }
        Ok(Self { cas_server, scheduler, bot })
    }
}

fn find(name: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    dirs.iter().find_map(|dir| {
        let path = dir.join(name);
        let metadata = path.metadata().ok()?;
        (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn program(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn programs_beside_us_come_before_those_on_the_path() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bot = program(own.path(), "bot");
        program(other.path(), "bot");
        let scheduler = program(other.path(), "scheduler");
        let find = || Programs::find_in(Some(own.path()), other.path().as_os_str());
        fs::write(own.path().join("cas-server"), "not executable").unwrap();
        let refusal = find().unwrap_err().to_string();
        assert!(refusal.starts_with("cannot find cas-server: looked in "), "{refusal}");
        let cas_server = program(other.path(), "cas-server");
        assert_eq!(find().unwrap(), Programs { cas_server, scheduler, bot });
    }
}
