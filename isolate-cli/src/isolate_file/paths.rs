//! Arithmetic on absolute paths by their text.

use std::path::{Component, Path, PathBuf};

/// `dir/relative` without `.` and `..`. At the root, `..` stays there.
pub(crate) fn lexical_join(dir: &Path, relative: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for component in dir.components().chain(Path::new(relative).components()) {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                joined.pop();
            }
            other => joined.push(other),
        }
    }
    joined
}

/// The deepest directory that both are in, or are.
pub(crate) fn common_ancestor(one: &Path, other: &Path) -> PathBuf {
    let same = one.components().zip(other.components()).take_while(|(a, b)| a == b);
    same.map(|(component, _)| component).collect()
}

/// How to get from the directory `from` to `to`: `../../out`, or `.` if they are the same.
pub(crate) fn relative_path(from: &Path, to: &Path) -> String {
    let shared = common_ancestor(from, to).components().count();
    let ups = from.components().skip(shared).map(|_| "..".to_owned());
    let downs = to.components().skip(shared).map(|c| c.as_os_str().to_string_lossy().into_owned());
    let parts: Vec<String> = ups.chain(downs).collect();
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_related_by_their_text() {
        let join = |relative| lexical_join(Path::new("/a/b"), relative).display().to_string();
        assert_eq!([join("c"), join("../c/"), join("./../../../x")], ["/a/b/c", "/a/c", "/x"]);
        let relate = |from, to| relative_path(Path::new(from), Path::new(to));
        assert_eq!(relate("/a/b", "/a/b"), ".");
        assert_eq!(relate("/a/b", "/a/c/d"), "../c/d");
        assert_eq!(relate("/a", "/a/c"), "c");
        assert_eq!(common_ancestor(Path::new("/a/bc"), Path::new("/a/b")), Path::new("/a"));
    }
}
