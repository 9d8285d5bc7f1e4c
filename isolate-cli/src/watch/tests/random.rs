//! Whoever looks again at what is told knows the whole tree, whatever happens to it, and when.

use super::*;
use proptest::prelude::*;
use std::thread;

/// What is at each path: content and permissions of a file, or a symlink's target.
type View = BTreeMap<PathBuf, Vec<u8>>;

/// Adds what is at `path` and below it.
fn look(root: &Path, path: &Path, view: &mut View) {
    let place = root.join(path);
    let Ok(found) = fs::symlink_metadata(&place) else { return };
    if found.is_dir() {
        for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
            look(root, &path.join(entry.file_name()), view);
        }
        return;
    }
    let content = match found.is_symlink() {
        true => fs::read_link(&place).map(|target| target.into_os_string().into_encoded_bytes()),
        false => fs::read(&place),
    };
    if let Ok(mut content) = content {
        content.extend(found.permissions().mode().to_le_bytes());
        view.insert(path.to_owned(), content);
    }
}

/// Looks again at what may have changed.
fn renew(bench: &mut Bench, view: &mut View) {
    let told = bench.told().unwrap_or_else(|| [String::new()].into());
    // What is below another one is looked at there: that may be a symlink by now.
    let is_below = |path: &&String| {
        Path::new(path)
            .ancestors()
            .skip(1)
            .any(|above| told.contains(above.to_str().unwrap()) && !above.as_os_str().is_empty())
    };
    for path in told.iter().filter(|path| !is_below(path)) {
        view.retain(|other, _| !other.starts_with(path));
        look(bench.watched.root(), Path::new(path), view);
    }
}

fn whole(bench: &Bench) -> View {
    let mut view = View::new();
    look(bench.watched.root(), Path::new(""), &mut view);
    view
}

#[derive(Clone, Debug)]
enum Step {
    Written(String, u8),
    Mode(String, u32),
    Made(String),
    Removed(String),
    Renamed(String, String),
    Exchanged(String, String),
    Linked(String),
    Asked,
}

impl Step {
    /// Does it, if that can be done.
    fn run(&self, root: &Path) {
        let _ = match self {
            Self::Written(path, content) => fs::write(root.join(path), [*content]),
            Self::Mode(path, mode) => fs::set_permissions(root.join(path), fs::Permissions::from_mode(*mode)),
            Self::Made(path) => fs::create_dir_all(root.join(path)),
            Self::Removed(path) => {
                fs::remove_file(root.join(path)).or_else(|_| fs::remove_dir_all(root.join(path)))
            }
            Self::Renamed(from, to) => fs::rename(root.join(from), root.join(to)),
            Self::Exchanged(one, other) => {
                renameat_with(CWD, root.join(one), CWD, root.join(other), RenameFlags::EXCHANGE)
                    .map_err(Into::into)
            }
            Self::Linked(path) => symlink("a/b", root.join(path)),
            Self::Asked => Ok(()),
        };
    }
}

fn paths() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec!["a", "b", "c", "dir"]);
    prop::collection::vec(names, 1..4).prop_map(|names| names.join("/"))
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (paths(), any::<u8>()).prop_map(|(path, content)| Step::Written(path, content)),
        1 => (paths(), prop::sample::select(vec![0o755, 0o700])).prop_map(|(path, mode)| Step::Mode(path, mode)),
        3 => paths().prop_map(Step::Made),
        2 => paths().prop_map(Step::Removed),
        4 => (paths(), paths()).prop_map(|(from, to)| Step::Renamed(from, to)),
        2 => (paths(), paths()).prop_map(|(one, other)| Step::Exchanged(one, other)),
        1 => paths().prop_map(Step::Linked),
        2 => Just(Step::Asked),
    ];
    prop::collection::vec(step, 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn whatever_changes_is_told(steps in steps(60)) {
        let mut bench = Bench::new();
        let mut view = whole(&bench);
        for step in steps {
            step.run(&bench.at(""));
            if matches!(step, Step::Asked) {
                renew(&mut bench, &mut view);
                prop_assert_eq!(&view, &whole(&bench));
            }
        }
        renew(&mut bench, &mut view);
        prop_assert_eq!(&view, &whole(&bench));
    }

    #[test]
    fn whatever_changes_while_others_ask_is_told_in_the_end(all in prop::collection::vec(steps(60), 2..4)) {
        let mut bench = Bench::new();
        let mut view = whole(&bench);
        let root = bench.at("");
        thread::scope(|scope| {
            let work = |steps: &Vec<Step>| steps.iter().for_each(|step| step.run(&root));
            let workers: Vec<_> = all.iter().map(|steps| scope.spawn(move || work(steps))).collect();
            while workers.iter().any(|worker| !worker.is_finished()) {
                renew(&mut bench, &mut view);
            }
        });
        renew(&mut bench, &mut view);
        prop_assert_eq!(&view, &whole(&bench));
    }
}
