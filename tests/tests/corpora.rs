//! What was found by fuzzing once, and what it began with, goes through the fuzz targets again.

use std::fs;

#[path = "../fuzz/src/targets.rs"]
#[expect(unreachable_pub, reason = "the fuzz crate exports them")]
mod targets;

#[test]
fn the_corpora_of_all_fuzz_targets_find_nothing() {
    let corpora = runtime::testing::package().join("fuzz/corpus");
    let mut named: Vec<_> = fs::read_dir(&corpora).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    named.sort();
    let mut known: Vec<_> = targets::ALL.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(named, known, "each target has a corpus");
    for (name, target) in targets::ALL {
        let mut inputs = 0;
        for input in fs::read_dir(corpora.join(name)).unwrap() {
            let path = input.unwrap().path();
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            inputs += 1;
        }
        assert!(inputs >= 3, "{name} has a corpus of {inputs}");
    }
}
