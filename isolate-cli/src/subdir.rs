//! `--subdir`: a part of the tree is packaged.

use crate::{
    Error, WorkItem,
    isolate_file::{lexical_join, with_paths},
};
use cas::tree::Exclude;
use proto::RelPath;
use std::{collections::BTreeMap, path::PathBuf};

/// What of `item` is at or below the directory that `text` names: from the root, with path variables put in as the ways from
/// there. That nothing is would be a package of nothing, and so is an error.
pub(crate) fn only(
    text: &str,
    item: WorkItem,
    paths: &BTreeMap<String, PathBuf>,
    exclude: &Exclude,
) -> Result<WorkItem, Error> {
    let refuse = |reason: String| Error::Subdir { subdir: text.to_owned(), reason };
    let written = with_paths(text, paths, &item.root).map_err(|problem| refuse(problem.to_string()))?;
    let root = item.root.display().to_string();
    let place = lexical_join(&item.root, &written);
    let below = place.strip_prefix(&item.root).ok().and_then(|below| below.to_str());
    let item = match below.ok_or_else(|| refuse(format!("it is not below the root {root}")))? {
        "" => item,
        below => {
            let subdir = RelPath::new(below).map_err(|error| refuse(error.to_string()))?;
            item.only_below(&subdir, exclude)
        }
    };
    if item.inputs.is_empty() {
        return Err(refuse(format!(
            "no input is there: name a directory of the inputs, seen from the root {root}"
        )));
    }
    Ok(item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exclude;
    use cas::{isolated::ReadOnly, tree::Input};

    fn path(text: &str) -> Input {
        Input::Path(RelPath::new(text).unwrap())
    }

    fn item(inputs: Vec<Input>) -> WorkItem {
        let (command, read_only) = (Vec::new(), ReadOnly::default());
        WorkItem { root: "/src".into(), inputs, command, relative_cwd: None, read_only }
    }

    fn only_in(text: &str, inputs: &[Input]) -> Result<Vec<Input>, String> {
        let paths = BTreeMap::from([("OUT".to_owned(), PathBuf::from("/src/out/Release"))]);
        let exclude = exclude(&["test/private".to_owned()], &[]).unwrap();
        let only = only(text, item(inputs.to_vec()), &paths, &exclude);
        only.map(|item| item.inputs).map_err(|error| error.to_string())
    }

    #[test]
    fn inputs_at_or_below_stay_and_those_above_become_smaller() {
        let inputs = [path("test/a"), path("test/data"), path("out")];
        assert_eq!(only_in("test", &inputs).unwrap(), [path("test/a"), path("test/data")]);
        for same in ["test/data/deep", "test/data/deep/", "./test/x/../data/deep", "/src/test/data/deep"] {
            assert_eq!(only_in(same, &inputs).unwrap(), [path("test/data/deep")], "{same}");
        }
        assert_eq!(only_in("<(OUT)/lib", &inputs).unwrap(), [path("out/Release/lib")]);
        assert_eq!(only_in(".", &inputs).unwrap(), inputs);
        assert_eq!(only_in("any/where", &[Input::Everything]).unwrap(), [path("any/where")]);
    }

    #[test]
    fn a_part_that_is_none_is_named() {
        let inputs = [path("test"), path("out/a")];
        for (text, named) in [
            (
                "tes",
                "--subdir tes: no input is there: name a directory of the inputs, seen from the root /src",
            ),
            ("test/private", "no input is there"),
            ("test/.git", "no input is there"),
            ("../other", "it is not below the root /src"),
            ("/etc", "it is not below the root /src"),
            ("test\\a", "it contains a backslash"),
            ("<(OTHER)/a", "variable `OTHER` was not given: add --path-variable OTHER=VALUE"),
        ] {
            let told = only_in(text, &inputs).unwrap_err();
            assert!(told.contains(named), "{told}");
        }
        assert_eq!(only_in("test/private", &[path("test/private/a")]).unwrap(), [path("test/private/a")]);
    }
}
