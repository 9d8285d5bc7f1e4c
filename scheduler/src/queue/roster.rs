//! Bots by name: one is found at once, all are gone over in order.
//!
//! A call of a bot looks it up many times. In a tree of a hundred thousand names that was a quarter of the time of a call.

use super::presence::Bot;
use proto::BotId;
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// Where each is. Never gone over, because its order is another one in each process.
    places: HashMap<BotId, usize>,
    /// The same in order.
    order: BTreeMap<BotId, usize>,
    /// With empty places.
    bots: Vec<Option<Bot>>,
    empty: Vec<usize>,
}

impl Roster {
    /// A bot, if it is known.
    pub(super) fn get(&self, id: &BotId) -> Option<&Bot> {
        self.bots.get(*self.places.get(id)?)?.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, id: &BotId) -> Option<&mut Bot> {
        self.bots.get_mut(*self.places.get(id)?)?.as_mut()
    }

    /// A bot, a new one if it is not known.
    pub(super) fn get_or_insert_with(&mut self, id: &BotId, new: impl FnOnce() -> Bot) -> &mut Bot {
        let place = self.places.get(id).copied().unwrap_or_else(|| {
            let place = self.empty.pop().unwrap_or(self.bots.len());
            self.places.insert(id.clone(), place);
            self.order.insert(id.clone(), place);
            place
        });
        if place == self.bots.len() {
            self.bots.push(None);
        }
        self.bots[place].get_or_insert_with(new)
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&BotId, &Bot)> {
        self.after(None)
    }

    /// Those whose names come after this one, by name.
    pub(super) fn after(&self, after: Option<&BotId>) -> impl Iterator<Item = (&BotId, &Bot)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = self.order.range::<BotId, _>((start, Bound::Unbounded));
        names.filter_map(|(id, place)| Some((id, self.bots.get(*place)?.as_ref()?)))
    }

    /// All of them, in an order that depends on nothing but when they came and went.
    pub(super) fn values(&self) -> impl Iterator<Item = &Bot> {
        self.bots.iter().flatten()
    }

    /// Forgets all others.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Bot) -> bool) {
        let (bots, places, empty) = (&mut self.bots, &mut self.places, &mut self.empty);
        self.order.retain(|id, place| {
            if bots[*place].as_ref().is_some_and(&mut keep) {
                return true;
            }
            bots[*place] = None;
            places.remove(id);
            empty.push(*place);
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::report, *};
    use proto::Timestamp;

    fn roster(names: &[&str]) -> Roster {
        let mut roster = Roster::default();
        for name in names {
            let said = report(name, "s", vec![]);
            roster.get_or_insert_with(&said.bot, || Bot::new(&said, Timestamp::default()));
        }
        roster
    }

    fn names(roster: &Roster, after: Option<&str>) -> Vec<String> {
        let after: Option<BotId> = after.map(|name| name.parse().unwrap());
        roster.after(after.as_ref()).map(|(id, _)| id.to_string()).collect()
    }

    #[test]
    fn bots_are_listed_by_name_whenever_they_came() {
        let roster = roster(&["c", "a", "b", "a"]);
        assert_eq!(names(&roster, None), ["a", "b", "c"]);
        assert_eq!(names(&roster, Some("a")), ["b", "c"]);
        assert_eq!(roster.values().count(), 3);
    }

    #[test]
    fn the_place_of_one_that_is_forgotten_is_taken_by_the_next() {
        let mut roster = roster(&["a", "b"]);
        roster.get_mut(&"a".parse().unwrap()).unwrap().slots = 7;
        roster.retain(|bot| bot.slots == 7);
        assert!(roster.get(&"b".parse().unwrap()).is_none());
        let said = report("c", "s", vec![]);
        roster.get_or_insert_with(&said.bot, || Bot::new(&said, Timestamp::default()));
        assert_eq!(names(&roster, None), ["a", "c"]);
        assert_eq!(roster.bots.len(), 2, "no place is left empty");
        assert_eq!(roster.get(&"a".parse().unwrap()).unwrap().slots, 7);
    }
}
