//! The rules of the language, one test each.

mod conditions;
mod format;
mod hostile;
mod merging;
mod paths;
mod syntax;

use super::*;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Files by absolute path.
fn load_from(files: &[(&str, &str)]) -> Result<LoadedFile, IsolateFileError> {
    let files: BTreeMap<PathBuf, String> =
        files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    let read = |path: &Path| files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into());
    load(Path::new("/src/test/a.isolate"), &read)
}

fn variables(config: &[(&str, &str)]) -> Variables {
    let config = config.iter().map(|(name, value)| ((*name).to_owned(), ConfigValue::from(*value)));
    Variables { config: config.collect(), ..Variables::default() }
}

fn evaluate_all(files: &[(&str, &str)], config: &[(&str, &str)]) -> Result<Evaluated, IsolateFileError> {
    evaluate(&load_from(files)?, &variables(config))
}

fn evaluate_text(text: &str, config: &[(&str, &str)]) -> Evaluated {
    evaluate_all(&[("/src/test/a.isolate", text)], config).unwrap()
}

fn error_of(text: &str) -> String {
    evaluate_all(&[("/src/test/a.isolate", text)], &[]).unwrap_err().to_string()
}

fn input_paths(evaluated: &Evaluated) -> Vec<String> {
    let text = |input: &InputPath| {
        let slash = if input.kind == InputKind::Directory { "/" } else { "" };
        format!("{}{slash}", input.path.display())
    };
    evaluated.inputs.iter().map(text).collect()
}
