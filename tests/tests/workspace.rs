//! The crate graph is the architecture: who may depend on whom.

use cargo_metadata::{Dependency, DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

/// For each crate, the crates of ours that it may use, also in its tests.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("proto", &[]),
    ("runtime", &["proto"]),
    ("cas", &["proto", "runtime"]),
    ("cas-server", &["proto", "runtime", "cas"]),
    ("isolate-cli", &["proto", "runtime", "cas"]),
    ("bot", &["proto", "runtime", "cas"]),
    ("scheduler", &["proto", "runtime"]),
    ("swarm-cli", &["proto", "runtime", "cas"]),
];

/// What a bench of a crate uses beside that: the one of sharding replays its runs with bots that only sleep.
const BENCHES_USE: [(&str, &str); 1] = [("scheduler", "bot")];

#[test]
fn crates_depend_only_on_those_below_them() {
    let metadata = MetadataCommand::new().no_deps().other_options(vec!["--offline".into()]).exec().unwrap();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.into();
    for package in &metadata.packages {
        let name = package.name.as_str();
        if name == "tests" {
            continue;
        }
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("say what crate {name} may use"));
        let is_of_a_bench = |dependency: &&Dependency| {
            BENCHES_USE.contains(&(name, &dependency.name)) && dependency.kind == DependencyKind::Development
        };
        let used = package.dependencies.iter().filter(|dependency| !is_of_a_bench(dependency));
        let used: BTreeSet<&str> = used.map(|dependency| dependency.name.as_str()).collect();
        for used in used.intersection(&ours) {
            assert!(allowed.contains(used), "{name} must not depend on {used}");
        }
    }
    assert_eq!(ours.len(), MAY_USE.len() + 1, "crates: {ours:?}");
}
