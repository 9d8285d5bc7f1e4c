//! Random manifests and random trees.

use super::*;

fn names() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "b",
        "dir",
        "dir!",
        "dir0",
        "q\"}",
        "é",
        "{",
        "},",
        "\u{1}",
        "files\":{",
    ]);
    prop::collection::vec(pieces, 1..4).prop_map(|pieces| pieces.join("/"))
}

fn entries() -> impl Strategy<Value = Entry> {
    let mode = prop::option::of(0..0o7777_u32);
    prop_oneof![
        9 => (any::<u8>(), mode).prop_map(|(content, mode)| {
            Entry::File { digest: FUNCTION.digest(&vec![content; content.into()]), mode }
        }),
        1 => names().prop_map(|target| Entry::Symlink { target }),
    ]
}

fn files(most: usize) -> impl Strategy<Value = BTreeMap<RelPath, Entry>> {
    prop::collection::btree_map(names().prop_map(|name| path(&name)), entries(), 0..most)
}

/// No path below another one.
fn disjoint(paths: &BTreeSet<RelPath>) -> Vec<RelPath> {
    let is_below = |path: &&RelPath| {
        paths.iter().any(|other| other != *path && path.as_path().starts_with(other.as_path()))
    };
    paths.iter().filter(|path| !is_below(path)).cloned().collect()
}

proptest! {
    #[test]
    fn a_manifest_that_was_spliced_is_the_one_that_would_be_written(
        old in files(40),
        changed in prop::collection::btree_set(names().prop_map(|name| path(&name)), 0..8),
        new in files(20),
        command in prop::collection::vec(names(), 0..3),
    ) {
        let changed = disjoint(&changed);
        let is_in = |path: &RelPath| changed.iter().any(|changed| path.as_path().starts_with(changed.as_path()));
        let new: BTreeMap<RelPath, Entry> = new.into_iter().filter(|(path, _)| is_in(path)).collect();
        let head = Isolated { command, ..Isolated::new(FUNCTION) };
        let base = Isolated { files: old.clone(), ..head.clone() }.to_bytes();
        let spliced = splice(&base, FUNCTION.hash_len(), &changed, &new);

        let is_link = |entry: &Entry| matches!(entry, Entry::Symlink { .. });
        let has_link = new.values().any(is_link) || old.iter().any(|(path, entry)| is_in(path) && is_link(entry));
        prop_assert_eq!(spliced.is_none(), has_link);
        let Some(spliced) = spliced else { return Ok(()) };
        let mut all = old.clone();
        all.retain(|path, _| !is_in(path));
        let links: Vec<RelPath> = all.iter().filter(|(_, entry)| is_link(entry)).map(|(path, _)| path.clone()).collect();
        let same = all.len() - links.len();
        all.extend(new.clone());
        let target = Isolated { files: all, ..head };
        let (entries, bytes) = (target.files.len() as u64, target.total_bytes());
        let target = target.to_bytes();
        prop_assert_eq!(String::from_utf8(spliced.manifest), String::from_utf8(target.clone()));
        prop_assert_eq!((spliced.entries, spliced.bytes, spliced.same), (entries, bytes, same as u64));
        prop_assert_eq!(spliced.links, links);
        let only_rewritten = changed.iter().all(|path| old.contains_key(path) && new.contains_key(path))
            && new.len() == changed.len()
            && old.keys().filter(|path| is_in(path)).count() == changed.len();
        prop_assert_eq!(spliced.only_rewritten, only_rewritten);
        if let Some(patch) = spliced.patch {
            let patch = Patch::parse(&patch, FUNCTION.digest(&base), FUNCTION.digest(&target)).unwrap();
            let made = patch.apply(stream_of(base.into(), 7)).try_collect::<Vec<Bytes>>();
            prop_assert_eq!(made.now_or_never().unwrap().unwrap().concat(), target);
        }
    }

    #[test]
    fn what_is_no_manifest_is_none_and_no_panic(
        old in files(10),
        cut in any::<prop::sample::Index>(),
        with in any::<u8>(),
        changed in prop::collection::btree_set(names().prop_map(|name| path(&name)), 0..3),
    ) {
        let mut text = Isolated { files: old, ..Isolated::new(FUNCTION) }.to_bytes();
        let at = cut.index(text.len());
        text[at] = with;
        splice(&text, FUNCTION.hash_len(), &disjoint(&changed), &BTreeMap::new());
        let end = text[..at].windows(8).position(|window| window == b"\"files\":").map_or(0, |at| at + 8);
        if at > end && at < text.len() - 40 {
            prop_assert!(splice(&text[..at], FUNCTION.hash_len(), &[], &BTreeMap::new()).is_none());
        }
    }
}

/// Something that happens to a tree.
#[derive(Clone, Debug)]
enum Happening {
    Written { name: String, content: u8, mode: u32 },
    Removed(String),
    Renamed { from: String, to: String },
    Linked { name: String, target: String },
    Made(String),
}

fn places() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec!["a", "b", "c", "dir", "dir!", "left"]);
    prop::collection::vec(pieces, 1..4).prop_map(|pieces| pieces.join("/"))
}

fn happenings(links: u32, most: usize) -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        8 => (places(), any::<u8>(), prop::sample::select(vec![0o644, 0o755, 0o600]))
            .prop_map(|(name, content, mode)| Happening::Written { name, content, mode }),
        3 => places().prop_map(Happening::Removed),
        3 => (places(), places()).prop_map(|(from, to)| Happening::Renamed { from, to }),
        links => (places(), places(), 0..3_usize).prop_map(|(name, target, up)| {
            Happening::Linked { name, target: format!("{}{target}", "../".repeat(up)) }
        }),
        1 => places().prop_map(Happening::Made),
    ];
    prop::collection::vec(happening, 0..most)
}

impl<S: BlobStore> Bench<S> {
    /// Lets it happen, as far as it can: paths that are told as changed.
    fn happen(&self, happening: &Happening) -> Vec<String> {
        let at = |name: &str| self.at(name);
        let parents = |name: &str| {
            let above = path(name).parent().map(|parent| parent.to_string());
            let new = above
                .iter()
                .flat_map(|above| path(above).components().map(str::to_owned).collect::<Vec<_>>());
            let mut told = Vec::new();
            let mut place = String::new();
            for component in new {
                place = if place.is_empty() { component } else { format!("{place}/{component}") };
                if fs::create_dir(at(&place)).is_ok() {
                    told.push(place.clone());
                }
            }
            told
        };
        // Through symlinks, something happens elsewhere: somebody who watches would tell where.
        let real = |name: &str| {
            let parent = at(name).parent().unwrap().canonicalize().ok()?;
            let place = parent.join(path(name).file_name());
            Some(place.strip_prefix(self.root().canonicalize().unwrap()).ok()?.to_str().unwrap().to_owned())
        };
        match happening {
            Happening::Written { name, content, mode } => {
                let mut told = parents(name);
                let Some(place) = real(name) else { return told };
                if at(&place).is_symlink() || fs::write(at(&place), [*content]).is_err() {
                    return told;
                }
                fs::set_permissions(at(&place), fs::Permissions::from_mode(*mode)).unwrap();
                told.push(place);
                told
            }
            Happening::Removed(name) => {
                let Some(place) = real(name) else { return Vec::new() };
                let is_directory = fs::symlink_metadata(at(&place)).is_ok_and(|found| found.is_dir());
                let _ =
                    if is_directory { fs::remove_dir_all(at(&place)) } else { fs::remove_file(at(&place)) };
                vec![place]
            }
            Happening::Renamed { from, to } => {
                let Some((from, to)) = real(from).zip(real(to)) else { return Vec::new() };
                let _ = fs::rename(at(&from), at(&to));
                vec![from, to]
            }
            Happening::Linked { name, target } => {
                let mut told = parents(name);
                let Some(place) = real(name) else { return told };
                let _ = symlink(target, at(&place));
                told.push(place);
                told
            }
            Happening::Made(name) => parents(&format!("{name}/x")),
        }
    }
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    prop_oneof![
        Just(vec![Input::Everything]),
        prop::collection::vec(places().prop_map(|place| Input::Path(path(&place))), 1..3).prop_map(
            |mut inputs| {
                inputs.push(Input::Path(path("many")));
                inputs
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_happens_to_a_tree_the_outcome_is_that_of_looking_at_everything(
        before in happenings(1, 25),
        rounds in prop::collection::vec(prop_oneof![3 => happenings(0, 6), 1 => happenings(2, 6)], 1..5),
        inputs in inputs(),
        excludes in any::<bool>(),
    ) {
        let mut bench = Bench::new(MemoryStore::new());
        bench.inputs = inputs;
        if excludes {
            bench.options.exclude = Some(Exclude::new(|path| path.file_name() == "left"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let told: Vec<String> = before.iter().flat_map(|happening| bench.happen(happening)).collect();
        drop(told);
        for happened in rounds {
            if bench.look().is_err() || !runtime.block_on(bench.full()) {
                return Ok(());
            }
            let told: Vec<String> = happened.iter().flat_map(|happening| bench.happen(happening)).collect();
            let told: Vec<&str> = told.iter().map(String::as_str).collect();
            if bench.look().is_err() {
                // Then that is to be told.
                prop_assert!(runtime.block_on(bench.renew(&told)).unwrap().is_none(), "{:?}", told);
                return Ok(());
            }
            runtime.block_on(bench.renewed(&told));
        }
    }
}
