//! How the target of a symlink that is kept is written. Pure.

/// Without empty and `.` components and without `..` that only leads back, as the original writes it; `..` at the beginning stays.
/// Leads to the same place unless a `..` comes after a symlink.
pub(super) fn plain(target: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detours_are_taken_out() {
        for (written, expected) in [
            ("a/b", "a/b"),
            ("./a", "a"),
            ("a/", "a"),
            ("a//./b/", "a/b"),
            ("a/../b", "b"),
            ("../a/../../b", "../../b"),
            ("../..", "../.."),
            (".", "."),
            ("a/..", "."),
            ("..a/.b", "..a/.b"),
        ] {
            assert_eq!(plain(written), expected, "{written}");
            assert_eq!(plain(expected), expected);
        }
    }
}
