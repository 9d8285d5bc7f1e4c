use super::*;

const LIMITS: Limits = Limits { memory: Some(1 << 30), pids: Some(50), cpu: Some(1.5) };

fn text(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn version_2_gets_a_leaf_for_the_bot_and_a_group_for_each_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().to_owned();
    let find = |_: &str| Some(Group { version: Version::Two, path: own.clone() });
    let error = Cgroups::open_in(LIMITS, "b", find).unwrap_err().to_string();
    assert!(error.contains("controller `memory`") && error.contains("Delegate=yes"), "{error}");
    fs::write(own.join("cgroup.controllers"), "cpu memory pids").unwrap();
    // The kernel shows to a group what its parent lends.
    fs::write(own.join("b/cgroup.controllers"), "cpu memory pids").unwrap();
    let cgroups = Cgroups::open_in(LIMITS, "b", find).unwrap().unwrap();
    assert_eq!(text(own.join("b-bot/cgroup.procs")), "0");
    assert!(text(own.join("cgroup.subtree_control")).starts_with('+'));
    let cgroup = cgroups.create().unwrap();
    let group = own.join("b/1");
    assert_eq!(text(group.join("memory.max")), (1u64 << 30).to_string());
    assert_eq!(text(group.join("pids.max")), "50");
    assert_eq!(text(group.join("cpu.max")), "150000 100000");
    assert_eq!(cgroup.counter(), Some(&*group.join("memory.events")));
    let started = inside(&cgroup.gates(), || Ok(text(group.join(PROCS)))).unwrap();
    assert_eq!((started.as_str(), text(own.join("b-bot/cgroup.procs")).as_str()), ("0", "0"));
    assert_eq!(cgroup.gates().len(), 1, "one hierarchy for all");
}

#[test]
fn version_1_gets_a_group_in_each_hierarchy() {
    let dir = tempfile::tempdir().unwrap();
    let find = |controller: &str| {
        let path = dir.path().join(controller);
        fs::create_dir_all(&path).unwrap();
        Some(Group { version: Version::One, path })
    };
    let limits = Limits { cpu: None, ..LIMITS };
    let cgroups = Cgroups::open_in(limits, "b", find).unwrap().unwrap();
    let cgroup = cgroups.create().unwrap();
    assert_eq!(text(dir.path().join("memory/b/1/memory.limit_in_bytes")), (1u64 << 30).to_string());
    assert_eq!(text(dir.path().join("pids/b/1/pids.max")), "50");
    assert!(!dir.path().join("cpu").exists());
    let leave: Vec<_> = cgroup.gates().into_iter().map(|gate| gate.leave).collect();
    assert_eq!(leave, [dir.path().join("memory/cgroup.procs"), dir.path().join("pids/cgroup.procs")]);
}

#[test]
fn no_limit_needs_no_group_and_a_group_that_cannot_be_made_is_told() {
    assert!(Cgroups::open(Limits::default(), "b").unwrap().is_none());
    let find = |_: &str| Some(Group { version: Version::One, path: "/proc/self/no".into() });
    let error = Cgroups::open_in(LIMITS, "b", find).unwrap_err().to_string();
    assert!(error.contains("/proc/self/no/b") && error.contains("memory-limit"), "{error}");
    assert!(Cgroups::open_in(LIMITS, "b", |_| None).is_err());
    assert_eq!((quota(0.5), quota(0.0), quota(f64::INFINITY)), (50_000, 1000, MOST_QUOTA));
}

/// A group of version 2 with this process in it, by the real kernel. Both are as before when it is dropped.
struct Moved {
    before: PathBuf,
    group: PathBuf,
}

impl Moved {
    /// What the kernel has of this, in a hierarchy of version 2, is found by what it lends there.
    fn new(controller: &str) -> Self {
        let before = Group::of_self(controller).expect("a hierarchy of version 2 with that controller");
        assert_eq!(before.version, Version::Two);
        let group = before.path.join(format!("isoswarm-test-{}", std::process::id()));
        fs::create_dir(&group).unwrap();
        fs::write(before.path.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        fs::write(group.join(PROCS), "0").unwrap();
        Self { before: before.path, group }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        let _ = fs::write(self.before.join(PROCS), "0");
        let _ = remove(&self.group, DEEPEST);
    }
}

/// One that is not bound to a hierarchy of version 1, and that no group with processes may lend.
fn domain_controller() -> &'static str {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup2 is mounted");
    let lent = text(Path::new(mount.split(' ').nth(4).unwrap()).join("cgroup.controllers"));
    let known = ["memory", "hugetlb", "io"];
    known.into_iter().find(|known| lent.split_whitespace().any(|one| one == *known)).expect("one of them")
}

/// Needs the right to make groups, as a bot with limits does.
#[test]
fn a_program_that_takes_the_place_of_a_bot_finds_its_groups_in_version_2() {
    let controller = domain_controller();
    let moved = Moved::new(controller);
    let open = || {
        let group = Group::of_self(controller).unwrap();
        Parent::open(&group, &[controller], LIMITS, "b").unwrap_or_else(|error| panic!("{error}: {error:?}"))
    };
    let first = open();
    assert_eq!((&first.path, &first.home), (&moved.group.join("b"), &moved.group.join("b-bot")));
    assert_eq!(Group::of_self(controller).unwrap().path, first.home, "it has moved");
    let next = open();
    assert_eq!((next.path, next.home), (first.path, first.home));
    assert!(!moved.group.join("b-bot/b").exists());
}

#[test]
fn groups_of_a_former_bot_are_emptied_and_gone_also_those_that_a_command_has_made() {
    let controller = domain_controller();
    let moved = Moved::new(controller);
    let open = || Parent::open(&Group::of_self(controller).unwrap(), &[controller], LIMITS, "b").unwrap();
    let inner = open().path.join("1/of-the-command");
    fs::create_dir_all(&inner).unwrap();
    let mut left = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(inner.join(PROCS), left.id().to_string()).unwrap();
    let parent = std::thread::scope(|scope| {
        scope.spawn(|| assert!(!left.wait().unwrap().success()));
        open()
    });
    assert!(!parent.path.join("1").exists());
    let cgroups = Cgroups { parents: vec![parent], next: AtomicU64::new(1), stale: Mutex::default() };
    fs::create_dir(moved.group.join("b/1")).unwrap();
    let cgroup = cgroups.create().unwrap();
    assert_eq!(cgroup.paths, [moved.group.join("b/2")], "a name that is taken is passed over");
    fs::create_dir(moved.group.join("b/2/of-the-command")).unwrap();
    drop(cgroup);
    assert!(!moved.group.join("b/2").exists());
}
