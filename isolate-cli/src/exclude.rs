//! What is left out inside of directories: editors' and version control's droppings, and what the caller names.

use crate::Error;
use cas::tree::Exclude;
use regex::RegexSet;

/// As in the original: matched against the whole path from the root.
const DEFAULT: [&str; 2] = [r"^.+\.(?:pyc|swp)$", r"^(?:.+/|)\.(?:git|svn|hg)$"];

/// Leaves out what is left out by default.
pub fn default_exclude() -> Result<Exclude, Error> {
    exclude(&[], &[])
}

/// Leaves out what is left out by default, what one of the regular expressions in `blacklist` matches the beginning of, as the
/// Python original did, and what one in `ignored` matches any part of, as the Go one did.
pub fn exclude(blacklist: &[String], ignored: &[String]) -> Result<Exclude, Error> {
    blacklist.iter().chain(ignored).try_for_each(|pattern| check(pattern))?;
    let anchored = blacklist.iter().map(|pattern| format!("^(?:{pattern})"));
    let all = DEFAULT.into_iter().map(str::to_owned).chain(anchored).chain(ignored.iter().cloned());
    let set = set(all.collect())?;
    Ok(Exclude::by_rule(set.patterns().join("\0"), move |path| set.is_match(path.as_str())))
}

/// What one of the regular expressions matches any part of, be it named itself as an input.
pub(crate) fn ignored(patterns: &[String]) -> Result<RegexSet, Error> {
    patterns.iter().try_for_each(|pattern| check(pattern))?;
    set(patterns.to_vec())
}

/// Each on its own, so that the error names the pattern.
fn check(pattern: &str) -> Result<(), Error> {
    let refuse = |source| Error::Pattern { pattern: pattern.to_owned(), source };
    regex::Regex::new(pattern).map(drop).map_err(refuse)
}

fn set(patterns: Vec<String>) -> Result<RegexSet, Error> {
    RegexSet::new(&patterns).map_err(|source| Error::Pattern { pattern: patterns.join("` and `"), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::RelPath;

    fn excludes(blacklist: &[&str], ignored: &[&str], path: &str) -> bool {
        let owned =
            |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
        let exclude = exclude(&owned(blacklist), &owned(ignored)).unwrap();
        exclude.excludes(&RelPath::new(path).unwrap())
    }

    #[test]
    fn droppings_of_editors_and_version_control_are_left_out() {
        for path in ["a.pyc", "d/.a.swp", ".git", "d/.svn", "d/e/.hg"] {
            assert!(excludes(&[], &[], path), "{path}");
        }
        for path in [".gitignore", "d/x.git", "pyc", ".pyc"] {
            assert!(!excludes(&[], &[], path), "{path}");
        }
    }

    #[test]
    fn a_blacklist_matches_from_the_beginning_and_a_filter_any_part() {
        for (pattern, path, blacklisted, ignored) in [
            (r"\.log$", "d/a.log", false, true),
            (r"\.log$", "d/a.logs", false, false),
            ("gs_", "logs_1/a", false, true),
            ("logs", "logs_1/a", true, true),
            ("^d/", "c/d/a", false, false),
            ("a|b", "cb", false, true),
        ] {
            assert_eq!(excludes(&[pattern], &[], path), blacklisted, "{pattern} {path}");
            assert_eq!(excludes(&[], &[pattern], path), ignored, "{pattern} {path}");
        }
    }

    /// What is kept of an archive is kept for one rule.
    #[test]
    fn each_way_to_leave_out_is_a_rule_of_its_own() {
        let patterns = ["x".to_owned()];
        let rules = [exclude(&[], &[]), exclude(&patterns, &[]), exclude(&[], &patterns)];
        let rules = rules.map(|exclude| exclude.unwrap().rule().unwrap().to_owned());
        assert!(rules[0] != rules[1] && rules[1] != rules[2] && rules[0] != rules[2], "{rules:?}");
    }
}
