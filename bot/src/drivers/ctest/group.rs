//! Which tests are best run on one bot: those of one fixture, and those that depend on each other. What is run elsewhere all
//! the same takes what it needs along.

use super::model::{Model, Test};
use std::{collections::HashMap, sync::Arc};

/// The group of each test, in CTest's order.
pub(super) fn groups(model: &Model) -> Vec<Option<String>> {
    let mut connected = Connected((0..model.tests.len()).collect());
    for (place, test) in model.tests.iter().enumerate() {
        model.depends_places(test).for_each(|other| connected.join(place, other));
    }
    let firsts: Vec<usize> = (0..model.tests.len()).map(|place| connected.first(place)).collect();
    // By the first of those that are connected.
    let mut names: HashMap<usize, String> = HashMap::new();
    let mut sizes: HashMap<usize, usize> = HashMap::new();
    for (first, test) in firsts.iter().zip(&model.tests) {
        *sizes.entry(*first).or_default() += 1;
        if let Some(fixture) = fixture(test) {
            names.entry(*first).or_insert(fixture);
        }
    }
    let group = |(first, test): (&usize, &Arc<Test>)| {
        let of_all = || names.get(first).cloned();
        let named = || (sizes[first] > 1).then(|| format!("test {}", model.tests[*first].name));
        fixture(test).or_else(of_all).or_else(named)
    };
    firsts.iter().zip(&model.tests).map(group).collect()
}

fn fixture(test: &Test) -> Option<String> {
    let properties = &test.properties;
    let fixtures = [&properties.requires, &properties.sets_up, &properties.cleans_up];
    fixtures.into_iter().flatten().next().map(|fixture| format!("fixture {fixture}"))
}

/// For each place one before it that it is connected with, or itself.
struct Connected(Vec<usize>);

impl Connected {
    /// The first of all that are connected with `place`.
    fn first(&mut self, mut place: usize) -> usize {
        while self.0[place] != place {
            self.0[place] = self.0[self.0[place]];
            place = self.0[place];
        }
        place
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        self.0[one.max(other)] = one.min(other);
    }
}
