//! Executables of the operator that a bot calls at certain moments: files in one directory, named after the moment.
//!
//! A hook gets one JSON object on stdin ([`call`]) and may print one on stdout ([`Answer`]); its stderr goes to the bot's
//! log. It runs under the supervision of commands, so that nothing of it stays, and within a time. That it fails (an exit
//! code but 0, a signal, the time, an answer that is none) quarantines the bot; see [`crate::health`].

mod answer;
mod run;

pub(crate) use answer::Answer;
pub(crate) use run::Hooks;

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// When a hook is called. The file's name is the kebab case of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hook {
    /// The bot starts: before its first call.
    OnStartup,
    /// With every check: more dimensions.
    GetDimensions,
    /// With every check: more state; also quarantine and maintenance.
    GetState,
    /// Before anything is done for an attempt. When it fails the attempt is not started.
    BeforeTask,
    /// When an attempt has ended, before that is told.
    AfterTask,
    /// With every check that finds the bot with nothing to do.
    OnIdle,
    /// The bot has quarantined itself.
    OnQuarantine,
    /// The bot ends.
    OnShutdown,
}

impl Hook {
    const ALL: [Self; 8] = [
        Self::OnStartup,
        Self::GetDimensions,
        Self::GetState,
        Self::BeforeTask,
        Self::AfterTask,
        Self::OnIdle,
        Self::OnQuarantine,
        Self::OnShutdown,
    ];

    /// The name of its file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OnStartup => "on-startup",
            Self::GetDimensions => "get-dimensions",
            Self::GetState => "get-state",
            Self::BeforeTask => "before-task",
            Self::AfterTask => "after-task",
            Self::OnIdle => "on-idle",
            Self::OnQuarantine => "on-quarantine",
            Self::OnShutdown => "on-shutdown",
        }
    }
}

/// What a hook is told: `more` beside its own name and the version of this.
pub(crate) fn call(hook: Hook, bot: &str, more: Value) -> Value {
    let mut call = json!({ "version": 1, "hook": hook.name(), "bot": bot });
    if let (Value::Object(call), Value::Object(more)) = (&mut call, more) {
        call.extend(more);
    }
    call
}

/// Why hooks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HooksError {
    /// The directory cannot be read.
    #[error("cannot read the directory of hooks {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An executable that would never be called.
    #[error("{} is no hook: name it one of {}, or make it not executable", path.display(), names())]
    Unknown {
        /// Which.
        path: PathBuf,
    },
    /// A hook that cannot be called.
    #[error("{} is not executable: chmod +x, or remove it", path.display())]
    NotExecutable {
        /// Which.
        path: PathBuf,
    },
}

fn names() -> String {
    Hook::ALL.map(Hook::name).join(", ")
}

/// The hooks in a directory.
fn find(dir: &Path) -> Result<BTreeMap<Hook, PathBuf>, HooksError> {
    let failed = |source| HooksError::Read { path: dir.to_owned(), source };
    let mut hooks = BTreeMap::new();
    let dir = dir.canonicalize().map_err(failed)?;
    for entry in fs::read_dir(&dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let metadata = fs::metadata(&path).map_err(failed)?;
        let executable = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        match Hook::ALL.into_iter().find(|hook| path.ends_with(hook.name())) {
            Some(_) if !executable => return Err(HooksError::NotExecutable { path }),
            Some(hook) => drop(hooks.insert(hook, path)),
            None if executable => return Err(HooksError::Unknown { path }),
            // A README, a library of the hooks.
            None => {}
        }
    }
    Ok(hooks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, mode: u32) {
        fs::write(dir.join(name), "#!/bin/sh\n").unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn hooks_are_found_by_name_and_a_name_that_is_none_is_told() {
        let dir = tempfile::tempdir().unwrap();
        file(dir.path(), "on-idle", 0o755);
        file(dir.path(), "README", 0o644);
        assert_eq!(find(dir.path()).unwrap().into_keys().collect::<Vec<_>>(), [Hook::OnIdle]);
        file(dir.path(), "befor-task", 0o755);
        let error = find(dir.path()).unwrap_err().to_string();
        assert!(error.contains("befor-task is no hook") && error.contains("before-task"), "{error}");
        fs::remove_file(dir.path().join("befor-task")).unwrap();
        file(dir.path(), "after-task", 0o644);
        assert!(find(dir.path()).unwrap_err().to_string().contains("after-task is not executable"));
        assert!(find(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn a_call_names_hook_and_bot() {
        let call = call(Hook::BeforeTask, "b1", json!({ "shard": "x" }));
        assert_eq!(call, json!({ "version": 1, "hook": "before-task", "bot": "b1", "shard": "x" }));
    }
}
