//! The command line and environment of an attempt. Pure.

use crate::{attempt::Assignment, executor};
use proto::RelPath;
use std::{collections::BTreeMap, path::PathBuf};

/// Stands for the directory whose content becomes outputs, in arguments and in values of variables. Also the name of
/// the variable that holds it.
const OUTDIR: &str = "ISOLATED_OUTDIR";
const OUTDIR_PLACEHOLDER: &str = "${ISOLATED_OUTDIR}";

/// What the names of programs end in on other systems: nothing here.
const SUFFIX_PLACEHOLDER: &str = "${EXECUTABLE_SUFFIX}";

/// Names the file with the secret of the run, if it has one.
const SECRET_FILE: &str = "SWARM_SECRET_FILE";

/// Where things are on this bot.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The attempt's directory.
    pub(super) home: PathBuf,
    pub(super) input: PathBuf,
    pub(super) outputs: PathBuf,
    pub(super) temporary: PathBuf,
    pub(super) secret: PathBuf,
    pub(super) bot: String,
    /// The bot's own `PATH` and `LANG`, all that commands inherit.
    pub(super) path: Option<String>,
    pub(super) lang: Option<String>,
}

/// What the manifest says of the command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manifest<'a> {
    pub(super) command: &'a [String],
    pub(super) relative_cwd: Option<&'a RelPath>,
}

/// Why there is nothing to run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    /// Neither the assignment nor the manifest has a command.
    #[error("there is no command: archive the input with one, or name one when triggering")]
    None,
    /// An argument that no command can be given.
    #[error("the argument `{}` of the command contains a NUL: archive the input without it", argument.escape_debug())]
    Nul {
        /// The argument.
        argument: String,
    },
}

/// What to run.
pub(super) fn command(
    assignment: &Assignment,
    manifest: Manifest<'_>,
    place: &Place,
) -> Result<executor::Command, CommandError> {
    let outdir = place.outputs.to_string_lossy();
    let substitute =
        |text: &String| text.replace(OUTDIR_PLACEHOLDER, &outdir).replace(SUFFIX_PLACEHOLDER, "");
    let base = if assignment.command.is_empty() { manifest.command } else { &assignment.command };
    let (program, arguments) = base.split_first().ok_or(CommandError::None)?;
    if let Some(argument) = base.iter().find(|argument| argument.contains('\0')) {
        return Err(CommandError::Nul { argument: argument.clone() });
    }
    let directory = manifest.relative_cwd.map_or_else(|| place.input.clone(), |cwd| place.input.join(cwd));
    let program = PathBuf::from(substitute(program));
    // A name without a slash is looked up in the PATH; everything else is meant from where the command starts.
    let program = if program.components().count() > 1 || program.is_absolute() {
        directory.join(program)
    } else {
        program
    };
    Ok(executor::Command {
        program,
        arguments: arguments.iter().chain(&assignment.extra_args).map(substitute).collect(),
        environment: environment(assignment, place, substitute),
        directory,
        ..executor::Command::default()
    })
}

fn environment(
    assignment: &Assignment,
    place: &Place,
    substitute: impl Fn(&String) -> String,
) -> BTreeMap<String, String> {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let temporary = text(&place.temporary);
    let mut environment = BTreeMap::from([
        ("PATH".to_owned(), place.path.clone().unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())),
        ("LANG".to_owned(), place.lang.clone().unwrap_or_else(|| "C.UTF-8".into())),
        ("HOME".to_owned(), temporary.clone()),
        ("TMPDIR".to_owned(), temporary.clone()),
        ("TMP".to_owned(), temporary.clone()),
        ("TEMP".to_owned(), temporary),
        ("SWARM_BOT_ID".to_owned(), place.bot.clone()),
    ]);
    for (name, value) in &assignment.environment {
        if value.is_empty() {
            environment.remove(name);
        } else {
            environment.insert(name.clone(), substitute(value));
        }
    }
    // The last one is put first, so that the first one ends up there.
    for prefix in assignment.environment_prefixes.iter().rev() {
        let directory = text(&place.input.join(&prefix.path));
        let value = environment.entry(prefix.name.clone()).or_default();
        *value = if value.is_empty() { directory } else { format!("{directory}:{value}") };
    }
    environment.insert(OUTDIR.to_owned(), text(&place.outputs));
    match &assignment.secret {
        Some(_) => environment.insert(SECRET_FILE.to_owned(), text(&place.secret)),
        None => environment.remove(SECRET_FILE),
    };
    environment.insert(executor::MARKER.to_owned(), text(&place.home));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::Timeouts;
    use proto::DigestFunction;
    use std::time::Duration;

    fn place() -> Place {
        Place {
            home: "/w/1".into(),
            input: "/w/1/in".into(),
            outputs: "/w/1/out".into(),
            temporary: "/w/1/tmp".into(),
            secret: "/w/1/secret".into(),
            bot: "b1".into(),
            path: Some("/bin".into()),
            lang: None,
        }
    }

    fn assignment(command: &[&str]) -> Assignment {
        Assignment {
            input: Some(DigestFunction::Blake3.digest(b"")),
            includes: Vec::new(),
            command: command.iter().map(ToString::to_string).collect(),
            extra_args: vec!["--extra=${ISOLATED_OUTDIR}/x".into()],
            environment: Vec::new(),
            environment_prefixes: Vec::new(),
            outputs: Vec::new(),
            named_caches: Vec::new(),
            timeouts: Timeouts { hard: Duration::MAX, io: None, grace: Duration::ZERO },
            secret: None,
            tests: None,
        }
    }

    const NONE: Manifest<'_> = Manifest { command: &[], relative_cwd: None };

    #[test]
    fn prefixes_come_before_what_a_variable_has_in_their_order() {
        let mut assignment = assignment(&["t"]);
        assignment.environment = vec![("LIB".into(), "/lib".into()), ("LANG".into(), String::new())];
        let prefixes = ["PATH=tools/bin", "PATH=bin", "LIB=lib", "LANG=l", "NEW=n"];
        assignment.environment_prefixes = prefixes.map(|text| text.parse().unwrap()).into();
        let environment = command(&assignment, NONE, &place()).unwrap().environment;
        let has = |name: &str| environment[name].as_str();
        assert_eq!(has("PATH"), "/w/1/in/tools/bin:/w/1/in/bin:/bin");
        assert_eq!((has("LIB"), has("LANG"), has("NEW")), ("/w/1/in/lib:/lib", "/w/1/in/l", "/w/1/in/n"));
    }

    #[test]
    fn the_command_starts_where_the_manifest_says() {
        let cwd = RelPath::new("a/b").unwrap();
        let own = ["../bin/test".to_owned(), "--flag".to_owned()];
        let manifest = Manifest { command: &own, relative_cwd: Some(&cwd) };
        let command = super::command(&assignment(&[]), manifest, &place()).unwrap();
        assert_eq!(command.directory, PathBuf::from("/w/1/in/a/b"));
        assert_eq!(command.program, PathBuf::from("/w/1/in/a/b/../bin/test"));
        assert_eq!(command.arguments, ["--flag", "--extra=/w/1/out/x"]);
        let replaced = super::command(&assignment(&["./other"]), manifest, &place()).unwrap();
        assert_eq!(replaced.program, PathBuf::from("/w/1/in/a/b/./other"));
        assert_eq!(replaced.arguments, ["--extra=/w/1/out/x"]);
    }

    #[test]
    fn names_without_a_slash_are_left_to_the_path() {
        let program = |name| super::command(&assignment(&[name]), NONE, &place()).unwrap().program;
        assert_eq!(program("python3"), PathBuf::from("python3"));
        assert_eq!(program("./run"), PathBuf::from("/w/1/in/./run"));
        assert_eq!(program("/bin/sh"), PathBuf::from("/bin/sh"));
        assert_eq!(program("${ISOLATED_OUTDIR}/x"), PathBuf::from("/w/1/out/x"));
        assert_eq!(program("./x${EXECUTABLE_SUFFIX}"), PathBuf::from("/w/1/in/./x"));
        assert_eq!(super::command(&assignment(&[]), NONE, &place()).unwrap_err(), CommandError::None);
    }

    #[test]
    fn an_argument_of_the_manifest_that_no_command_can_be_given_is_refused() {
        let words = ["./run".to_owned(), "a\0b".to_owned()];
        let manifest = Manifest { command: &words, relative_cwd: None };
        let error = super::command(&assignment(&[]), manifest, &place()).unwrap_err();
        assert!(error.to_string().contains("`a\\0b` of the command contains a NUL"), "{error}");
    }

    #[test]
    fn the_environment_is_clean_and_the_empty_value_unsets() {
        let mut assignment = assignment(&["x"]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assignment.environment = vec![
            pair("LANG", ""),
            pair("REPORT", "xml:${ISOLATED_OUTDIR}/r.xml"),
            pair("ISOLATED_OUTDIR", "/elsewhere"),
            pair(executor::MARKER, ""),
        ];
        let environment = super::command(&assignment, NONE, &place()).unwrap().environment;
        let text: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            text,
            [
                "HOME=/w/1/tmp",
                "ISOLATED_OUTDIR=/w/1/out",
                "ISOSWARM_ATTEMPT_DIR=/w/1",
                "PATH=/bin",
                "REPORT=xml:/w/1/out/r.xml",
                "SWARM_BOT_ID=b1",
                "TEMP=/w/1/tmp",
                "TMP=/w/1/tmp",
                "TMPDIR=/w/1/tmp",
            ]
        );
    }
}
