//! Bots that wait and have room, and who of them is to be asked when something is pending.
//!
//! Ten thousand bots may wait while all that is pending asks for others. So nobody goes over all of them: for each set
//! of requirements that something pending has, those bots are compared that have the rarest of what it asks for.

use super::{apply::Queue, pending::take_out, spec::BOT_KEY};
use proto::{BotId, Dimensions, Requirement, Requirements};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Keys that bots are kept by. Shards ask for few; should users make up ever new ones, it is begun anew.
const MOST_KEYS: usize = 64;

/// Bots by ticket: the smaller, the longer it waits. A bot keeps its dimensions as long as it keeps its ticket.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    bots: BTreeMap<u64, Arc<Dimensions>>,
    /// The same for each key that was asked for, by the bot's values of it.
    by_key: BTreeMap<String, ByValue>,
}

type ByValue = BTreeMap<String, BTreeSet<u64>>;

impl Waiting {
    /// A bot begins to wait.
    pub(crate) fn insert(&mut self, ticket: u64, dimensions: Arc<Dimensions>) {
        for (key, by_value) in &mut self.by_key {
            insert(by_value, key, ticket, &dimensions);
        }
        self.bots.insert(ticket, dimensions);
    }

    /// It does not wait any more, if it did.
    pub(crate) fn remove(&mut self, ticket: u64) {
        let Some(dimensions) = self.bots.remove(&ticket) else { return };
        for (key, by_value) in &mut self.by_key {
            for value in dimensions.get(key).into_iter().flatten() {
                take_out(by_value, value, &ticket);
            }
        }
    }

    fn first_after(&self, ticket: u64) -> Option<u64> {
        self.bots.range(ticket + 1..).next().map(|(ticket, _)| *ticket)
    }

    /// The first one after this ticket that fits.
    fn first_fit(&mut self, requirements: &Requirements, ticket: u64) -> Option<u64> {
        if requirements.iter().next().is_none() {
            return self.first_after(ticket);
        }
        self.index(requirements);
        let fits = |ticket: &u64| self.bots.get(ticket).is_some_and(|bot| requirements.fit(bot));
        self.candidates(requirements, ticket).find(fits)
    }

    /// Those after this ticket that meet the requirement that fewest do.
    fn candidates(&self, requirements: &Requirements, ticket: u64) -> impl Iterator<Item = u64> {
        let sets = requirements.iter().map(|requirement| {
            let by_value = self.by_key.get(requirement.key());
            let sets = requirement.any_of().iter().filter_map(|value| by_value?.get(value));
            sets.collect::<Vec<_>>()
        });
        let rarest = sets.min_by_key(|sets| sets.iter().map(|set| set.len()).sum::<usize>());
        let rarest = rarest.unwrap_or_default();
        std::iter::successors(Some(ticket), move |last| {
            rarest.iter().filter_map(|set| set.range(last + 1..).next().copied()).min()
        })
        .skip(1)
    }

    /// Keeps bots by what is asked for.
    fn index(&mut self, requirements: &Requirements) {
        for key in requirements.iter().map(Requirement::key) {
            if self.by_key.contains_key(key) {
                continue;
            }
            if self.by_key.len() >= MOST_KEYS {
                self.by_key.retain(|known, _| requirements.iter().any(|asked| asked.key() == known));
            }
            let mut by_value = ByValue::new();
            for (ticket, dimensions) in &self.bots {
                insert(&mut by_value, key, *ticket, dimensions);
            }
            self.by_key.insert(key.to_owned(), by_value);
        }
    }
}

fn insert(by_value: &mut ByValue, key: &str, ticket: u64, dimensions: &Dimensions) {
    for value in dimensions.get(key).into_iter().flatten() {
        match by_value.get_mut(value) {
            Some(tickets) => drop(tickets.insert(ticket)),
            None => drop(by_value.insert(value.clone(), BTreeSet::from([ticket]))),
        }
    }
}

/// Goes over the bots that wait, the longest waiting first, as long as there is something that fits them. Nothing becomes
/// pending meanwhile.
#[derive(Debug)]
pub(crate) struct Offer {
    last: u64,
    /// Each group of what is pending, under the next one that fits it, or under one that comes before that.
    next: BTreeSet<(u64, u64)>,
}

impl Offer {
    /// Of what is pending, to those who wait.
    pub(crate) fn of(queue: &Queue, waiting: &Waiting) -> Self {
        let names = waiting.bots.values().filter_map(|bot| bot.get(BOT_KEY)).flatten();
        let groups = queue.state.pending.groups_for(waiting.bots.len(), names.map(String::as_str));
        Self { last: 0, next: groups.into_iter().map(|group| (0, group)).collect() }
    }

    /// Who is to be asked next. Whoever was told before may have been taken out.
    pub(crate) fn next(&mut self, queue: &Queue, waiting: &mut Waiting) -> Option<u64> {
        let first = waiting.first_after(self.last)?;
        while let Some((ticket, group)) = self.next.first().copied() {
            if let Some(requirements) = queue.state.pending.asked_by(group) {
                if ticket > self.last {
                    self.last = ticket;
                    return Some(ticket);
                }
                self.next.extend(waiting.first_fit(requirements, self.last).map(|fit| (fit, group)));
                // Nobody comes before that one: where the others fit is found out when it matters.
                if self.next.contains(&(first, group)) {
                    self.next.remove(&(ticket, group));
                    self.last = first;
                    return Some(first);
                }
            }
            self.next.remove(&(ticket, group));
        }
        None
    }
}

impl Queue {
    /// What a bot that has room is, as far as it says itself: nobody else need be asked whether it takes something.
    pub(crate) fn with_room(&self, id: &BotId) -> Option<Arc<Dimensions>> {
        let bot = self.presence.bots.get(id).filter(|bot| bot.is_willing())?;
        (self.taken_slots(id, bot) < bot.slots as usize).then(|| Arc::clone(&bot.dimensions))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    fn dimensions(pairs: &[(&str, &str)]) -> Arc<Dimensions> {
        let mut dimensions = Dimensions::default();
        for (key, value) in pairs {
            dimensions.insert(key, value).unwrap();
        }
        Arc::new(dimensions)
    }

    fn fits(waiting: &mut Waiting, asked: &[&str]) -> Vec<u64> {
        let asked = slice(asked).requirements;
        let mut fits = vec![];
        while let Some(next) = waiting.first_fit(&asked, fits.last().copied().unwrap_or_default()) {
            fits.push(next);
        }
        fits
    }

    #[test]
    fn those_are_found_that_fit_the_longest_waiting_first() {
        let mut waiting = Waiting::default();
        waiting.insert(7, dimensions(&[("os", "Linux"), ("gpu", "none"), ("gpu", "small")]));
        waiting.insert(2, dimensions(&[("os", "Linux"), ("os", "Debian")]));
        waiting.insert(3, dimensions(&[("os", "Mac"), ("gpu", "small")]));
        let all = |waiting: &mut Waiting| {
            [
                fits(waiting, &[]),
                fits(waiting, &["os=Linux"]),
                fits(waiting, &["gpu=none|small"]),
                fits(waiting, &["os=Linux|Debian", "gpu=small"]),
                fits(waiting, &["os=Windows"]),
                fits(waiting, &["cores=8"]),
            ]
        };
        assert_eq!(all(&mut waiting), [vec![2, 3, 7], vec![2, 7], vec![3, 7], vec![7], vec![], vec![]]);
        waiting.remove(7);
        waiting.remove(7);
        waiting.insert(8, dimensions(&[("gpu", "small"), ("os", "Linux"), ("cores", "8")]));
        assert_eq!(all(&mut waiting), [vec![2, 3, 8], vec![2, 8], vec![3, 8], vec![8], vec![], vec![8]]);
    }

    #[test]
    fn nobody_is_compared_who_lacks_the_rarest_of_what_is_asked_for() {
        let mut waiting = Waiting::default();
        for ticket in 1..=1000 {
            waiting.insert(ticket, dimensions(&[("os", "Linux"), ("id", &format!("b{ticket}"))]));
        }
        let asked = slice(&["os=Linux", "id=b5|b7"]).requirements;
        waiting.index(&asked);
        assert_eq!(waiting.candidates(&asked, 0).collect::<Vec<_>>(), [5, 7]);
        assert_eq!(waiting.candidates(&asked, 5).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn keys_that_users_make_up_are_not_kept_for_ever() {
        let mut waiting = Waiting::default();
        waiting.insert(1, dimensions(&[("os", "Linux"), ("k7", "v")]));
        for key in 0..1000 {
            assert_eq!(fits(&mut waiting, &["os=Linux", &format!("k{key}=v")]).len(), usize::from(key == 7));
            assert!(waiting.by_key.len() <= MOST_KEYS);
        }
    }

    #[test]
    fn bots_are_asked_that_fit_something_pending_and_nobody_else() {
        let mut bench = Bench::new();
        bench.run(spec(100, [step(2, &["os=Linux"]), step(1, &["os=Mac"])]));
        let mut waiting = Waiting::default();
        for (ticket, os) in [(1, "Windows"), (2, "Mac"), (3, "Windows"), (4, "Linux"), (5, "Mac")] {
            waiting.insert(ticket, dimensions(&[("os", os)]));
        }
        let mut offer = Offer::of(&bench.queue, &waiting);
        assert_eq!(offer.next(&bench.queue, &mut waiting), Some(2));
        waiting.remove(2);
        // It was given to that one, or it was not: the next one may have it.
        assert_eq!(offer.next(&bench.queue, &mut waiting), Some(4));
        assert_eq!(offer.next(&bench.queue, &mut waiting), Some(5));
        assert_eq!(offer.next(&bench.queue, &mut waiting), None);
    }
}
