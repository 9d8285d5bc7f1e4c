//! What is left out inside of directories: editors' and version control's droppings, and what the caller names.

use crate::Error;
use cas::tree::Exclude;
use regex::RegexSet;

/// As in the original: matched against the whole path from the root.
const DEFAULT: [&str; 2] = [r"^.+\.(?:pyc|swp)$", r"^(?:.+/|)\.(?:git|svn|hg)$"];

/// Leaves out what is left out by default.
pub fn default_exclude() -> Result<Exclude, Error> {
    exclude(&[])
}

/// Leaves out what is left out by default and what one of the regular expressions matches the beginning of, as in the
/// original. What is named itself as an input is never left out.
pub fn exclude(patterns: &[String]) -> Result<Exclude, Error> {
    // Checked one by one, so that the error names the pattern.
    for pattern in patterns {
        regex::Regex::new(pattern).map_err(|source| Error::Pattern { pattern: pattern.clone(), source })?;
    }
    let anchored = patterns.iter().map(|pattern| format!("^(?:{pattern})"));
    let all: Vec<String> = DEFAULT.iter().map(|pattern| (*pattern).to_owned()).chain(anchored).collect();
    let set =
        RegexSet::new(all).map_err(|source| Error::Pattern { pattern: patterns.join("` and `"), source })?;
    Ok(Exclude::by_rule(set.patterns().join("\0"), move |path| set.is_match(path.as_str())))
}
