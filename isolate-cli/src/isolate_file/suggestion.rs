//! `did you mean …?`

/// The candidate that `word` is most likely a slip of the pen for.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are no slips, and comparing them costs their product.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let allowed = (word.chars().count() / 3).max(1);
    let near = candidates.into_iter().filter(|candidate| candidate.len() <= LONGEST);
    let scored = near.map(|candidate| (edits(&word.to_lowercase(), &candidate.to_lowercase()), candidate));
    scored.filter(|(edits, _)| *edits <= allowed).min_by_key(|(edits, _)| *edits).map(|(_, word)| word)
}

/// As the end of a message: empty, or `: did you mean ...?`.
pub(super) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, candidates).map_or_else(String::new, |best| format!(": did you mean `{best}`?"))
}

/// Insertions, deletions and replacements that turn one word into the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["command", "files", "read_only"];
        assert_eq!(closest("file", keys), Some("files"));
        assert_eq!(closest("comand", keys), Some("command"));
        assert_eq!(closest("READONLY", keys), Some("read_only"));
        assert_eq!(closest("includes", keys), None);
        assert_eq!(closest(&"x".repeat(1000), keys), None);
    }
}
