//! What HTTP paths mean that are no fixed routes. In this order:
//!
//! ```text
//! PREFIX/ANYTHING                  a key, below one of the configured prefixes
//! [/INSTANCE]/ac/[FUNCTION/]HASH   the result of an action
//! [/INSTANCE]/cas/[FUNCTION/]HASH  a blob
//! ANYTHING                         a key, where `/` is a prefix
//! ```
//!
//! `/cas/…` without an instance, `/status`, `/metrics`, `/healthz` and the services of gRPC are routes of their own and
//! do not come here.

use crate::KeyPrefix;

/// What a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// A blob, by the path without its instance.
    Blob(&'a str),
    Action {
        instance: &'a str,
        function: Option<&'a str>,
        hash: &'a str,
    },
    Key,
    Nothing,
}

/// A path with one slash at its beginning: sccache puts two there when its endpoint ends in one.
pub(super) fn one_slash(path: &str) -> &str {
    let rest = path.trim_start_matches('/');
    path.split_at(path.len().saturating_sub(rest.len() + 1)).1
}

/// What this path means.
pub(super) fn target<'a>(path: &'a str, prefixes: &[KeyPrefix]) -> Target<'a> {
    if prefixes.iter().any(|prefix| prefix.takes(path)) {
        return Target::Key;
    }
    let segments: Vec<&str> = path.split('/').collect();
    let (keyword, function, hash) = match &segments[..] {
        ["", .., keyword @ ("ac" | "cas"), hash] => (keyword, None, hash),
        ["", .., keyword @ ("ac" | "cas"), function, hash] => (keyword, Some(*function), hash),
        _ if prefixes.iter().any(KeyPrefix::is_root) => return Target::Key,
        _ => return Target::Nothing,
    };
    // What comes before `/KEYWORD/[FUNCTION/]HASH`.
    let named = keyword.len() + hash.len() + function.map_or(0, |function| function.len() + 1) + 2;
    let (instance, name) = path.split_at(path.len() - named);
    match *keyword {
        "cas" => Target::Blob(name),
        _ => Target::Action { instance: instance.strip_prefix('/').unwrap_or_default(), function, hash },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_path_is_told_apart() {
        let prefixes = KeyPrefix::defaults();
        let target = |path| target(path, &prefixes);
        let action = |instance, function, hash| Target::Action { instance, function, hash };
        assert_eq!(target("/ac/abc"), action("", None, "abc"));
        assert_eq!(target("/ac/blake3/abc"), action("", Some("blake3"), "abc"));
        assert_eq!(target("/my/project/ac/abc"), action("my/project", None, "abc"));
        assert_eq!(target("/my/cas/abc"), Target::Blob("/cas/abc"));
        assert_eq!(target("/my/cas/blake3/abc"), Target::Blob("/cas/blake3/abc"));
        assert_eq!(target("/kv/cas/abc"), Target::Key);
        assert_eq!(target("/ccache/ac/abc"), Target::Key);
        assert_eq!(target("/sccache/6/8/7/abc"), Target::Key);
        for nothing in ["/", "", "/ac", "/elsewhere", "/ac/a/b/c", "ac/abc"] {
            assert_eq!(target(nothing), Target::Nothing, "{nothing}");
        }
    }

    #[test]
    fn slashes_at_the_beginning_are_one() {
        assert_eq!(
            ["//kv//a", "/kv", "///", "", "*", "a/b"].map(one_slash),
            ["/kv//a", "/kv", "/", "", "*", "a/b"]
        );
    }

    #[test]
    fn where_the_root_is_a_prefix_only_what_means_nothing_else_is_a_key() {
        let prefixes = ["/".parse().unwrap()];
        assert_eq!(target("/6/8/7/abc", &prefixes), Target::Key);
        assert_eq!(target("/.sccache_check", &prefixes), Target::Key);
        assert_eq!(target("/x/cas/abc", &prefixes), Target::Blob("/cas/abc"));
        assert!(matches!(target("/ac/abc", &prefixes), Target::Action { .. }));
    }
}
