//! Flags of the original's programs that old build scripts still give: taken, and told where they mean nothing here.

use super::Context;
use clap::{ArgAction, Args};
use proto::DigestFunction;
use std::{ffi::OsString, path::PathBuf};

/// Flags without a meaning here.
#[derive(Debug, Args)]
pub(crate) struct OldArgs {
    #[arg(short, long, hide = true, global = true, action = ArgAction::Count)]
    verbose: u8,
    #[arg(short, long, hide = true, global = true, value_name = "FILE")]
    log_file: Option<PathBuf>,
    #[arg(long, hide = true, global = true)]
    no_log: bool,
    #[arg(long, hide = true, global = true)]
    skip_refresh: bool,
    #[arg(long, hide = true, global = true, value_name = "N")]
    max_concurrent_checks: Option<u64>,
    #[arg(long, hide = true, global = true, value_name = "N")]
    max_concurrent_uploads: Option<u64>,
}

impl OldArgs {
    /// Those that were given.
    pub(crate) fn given(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("--verbose", self.verbose > 0),
            ("--log-file", self.log_file.is_some()),
            ("--no-log", self.no_log),
            ("--skip-refresh", self.skip_refresh),
            ("--max-concurrent-checks", self.max_concurrent_checks.is_some()),
            ("--max-concurrent-uploads", self.max_concurrent_uploads.is_some()),
        ];
        all.into_iter().filter_map(|(flag, is_given)| is_given.then_some(flag))
    }
}

/// Says in one line that these flags do nothing.
pub(crate) fn tell(given: impl IntoIterator<Item = &'static str>, context: &Context) {
    let given: Vec<&str> = given.into_iter().collect();
    if !given.is_empty() {
        context.say(&format!("note: without effect here: {}", given.join(", ")));
    }
}

/// The function that a namespace of the original names, of which it says how blobs were compressed, too.
pub(super) fn namespace(text: &str) -> Result<DigestFunction, &'static str> {
    let may_have = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if text.is_empty() || !text.chars().all(may_have) {
        return Err("a namespace has letters, digits, `-`, `.` and `_`");
    }
    Ok(match text {
        sha256 if sha256.starts_with("sha256-") => DigestFunction::Sha256,
        sha512 if sha512.starts_with("sha512-") => DigestFunction::Sha512,
        _ => DigestFunction::Sha1,
    })
}

/// What `isolate run --outdir` was is two things here.
pub(super) fn outdir_of_run(_: &str) -> Result<String, &'static str> {
    Err(
        "--output-dir keeps what the command writes to ${ISOLATED_OUTDIR}, and `isolate remap -o` lays the tree out in a directory",
    )
}

/// Long flags that Go's programs took with one dash, too.
const ONE_DASH: [&str; 14] = [
    "allow-missing-file-dir",
    "config-variable",
    "dump-json",
    "extra-variable",
    "ignored-path-filter-re",
    "isolate",
    "isolated",
    "max-concurrent-checks",
    "max-concurrent-uploads",
    "namespace",
    "outdir",
    "path-variable",
    "quiet",
    "verbose",
];

/// `--isolated` for `-isolated`, with whatever comes after it in the same word.
pub(crate) fn with_two_dashes(arg: OsString) -> OsString {
    let name = arg.to_str().and_then(|text| text.strip_prefix('-')).map(|text| {
        let (name, _) = text.split_once('=').unwrap_or((text, ""));
        name
    });
    if !name.is_some_and(|name| ONE_DASH.contains(&name)) {
        return arg;
    }
    let mut doubled = OsString::from("-");
    doubled.push(arg);
    doubled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_names_the_function_of_its_prefix() {
        for (text, function) in [
            ("default", DigestFunction::Sha1),
            ("default-gzip", DigestFunction::Sha1),
            ("temporary.1", DigestFunction::Sha1),
            ("sha256", DigestFunction::Sha1),
            ("sha256-deflate", DigestFunction::Sha256),
            ("sha512-GCP", DigestFunction::Sha512),
        ] {
            assert_eq!(namespace(text), Ok(function), "{text}");
        }
        for bad in ["", "a/b", "a b", "ä"] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_of_go_may_have_one_dash_and_nothing_else_changes() {
        for (given, taken) in [
            ("-isolated", "--isolated"),
            ("-isolated=a.isolated", "--isolated=a.isolated"),
            ("--isolated", "--isolated"),
            ("-isolate", "--isolate"),
            ("-i", "-i"),
            ("-isolated.isolate", "-isolated.isolate"),
            ("isolated", "isolated"),
            ("-", "-"),
        ] {
            assert_eq!(with_two_dashes(given.into()), OsString::from(taken), "{given}");
        }
    }
}
