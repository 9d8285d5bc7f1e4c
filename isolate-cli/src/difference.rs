//! What makes two manifests different.

use cas::isolated::{Entry, Isolated};
use proto::RelPath;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference<'a> {
    /// Something other than files: what it is, before and after.
    Setting {
        /// Its key in the manifest.
        key: &'static str,
        /// Of the first one.
        before: String,
        /// Of the second one.
        after: String,
    },
    /// Only the second one has it.
    Added(&'a RelPath, &'a Entry),
    /// Only the first one has it.
    Removed(&'a RelPath, &'a Entry),
    /// Both have it, and it is not the same.
    Changed(&'a RelPath, &'a Entry, &'a Entry),
}

/// All differences, settings first, then files by path. None when the manifests mean the same.
pub fn differences<'a>(before: &'a Isolated, after: &'a Isolated) -> Vec<Difference<'a>> {
    let cwd = |isolated: &Isolated| isolated.relative_cwd.as_ref().map_or(".".into(), ToString::to_string);
    let settings = [
        ("algo", before.function.to_string(), after.function.to_string()),
        ("command", format!("{:?}", before.command), format!("{:?}", after.command)),
        ("read_only", before.read_only.number().to_string(), after.read_only.number().to_string()),
        ("relative_cwd", cwd(before), cwd(after)),
    ];
    let settings = settings.into_iter().filter(|(_, before, after)| before != after);
    let mut found: Vec<Difference<'a>> =
        settings.map(|(key, before, after)| Difference::Setting { key, before, after }).collect();
    let (mut left, mut right) = (before.files.iter().peekable(), after.files.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return found,
        };
        let one = if order.is_le() { left.next() } else { None };
        let other = if order.is_ge() { right.next() } else { None };
        found.extend(match (one, other) {
            (Some((path, one)), Some((_, other))) if one != other => {
                Some(Difference::Changed(path, one, other))
            }
            (Some((path, entry)), None) => Some(Difference::Removed(path, entry)),
            (None, Some((path, entry))) => Some(Difference::Added(path, entry)),
            _ => None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::DigestFunction;

    #[test]
    fn every_kind_of_difference_is_found_in_order() {
        let link = |target: &str| Entry::Symlink { target: target.into() };
        let manifest = |files: &[(&str, &str)], command: &str| Isolated {
            command: vec![command.into()],
            files: files.iter().map(|(path, to)| (RelPath::new(path).unwrap(), link(to))).collect(),
            ..Isolated::new(DigestFunction::Sha1)
        };
        let one = manifest(&[("a", "1"), ("b", "1"), ("d", "1"), ("z", "1")], "x");
        let other = manifest(&[("a", "1"), ("b", "2"), ("c", "1"), ("z", "1")], "y");
        let [b, c, d] = ["b", "c", "d"].map(|path| RelPath::new(path).unwrap());
        let expected = [
            Difference::Setting { key: "command", before: r#"["x"]"#.into(), after: r#"["y"]"#.into() },
            Difference::Changed(&b, &one.files[&b], &other.files[&b]),
            Difference::Added(&c, &other.files[&c]),
            Difference::Removed(&d, &one.files[&d]),
        ];
        assert_eq!(differences(&one, &other), expected);
        assert_eq!(differences(&one, &one), []);
    }
}
