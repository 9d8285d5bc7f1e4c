//! How many workers, and what each begins with: longest processing time first (Graham 1969).

use super::{Estimates, ListedTest, TestIndex};
use proto::limits;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

/// A test decides when a run ends if so many of it would take longer than the run.
const DECISIVE: u32 = 4;

/// Of the time of all tests, what the starts of workers may cost, in percent.
const STARTS_PERCENT: u128 = 4;

/// Parts of a command for each worker, so that a slow one takes fewer.
const PARTS_EACH: u32 = 3;

/// Dispatches that a part should be worth at least.
const PART_FLOOR: u32 = 8;

/// The fraction of the golden ratio, of 2^64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Tests that go to one worker together: a group, a part of a large group, or one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// In listing order.
    pub tests: Vec<TestIndex>,
    /// Of all of them.
    pub estimate: Duration,
    /// Whether history has all of them.
    pub is_known: bool,
}

impl Unit {
    /// Whether the run's end depends on when and where this begins. `horizon` is when the run ends at the soonest.
    pub fn is_decisive(&self, horizon: Duration) -> bool {
        self.is_known && self.estimate * DECISIVE > horizon
    }
}

/// When a run of these units ends at the soonest, on so many equal workers.
pub(super) fn horizon(units: &[Unit], workers: u32) -> Duration {
    let total: Duration = units.iter().map(|unit| unit.estimate).sum();
    let longest = units.iter().map(|unit| unit.estimate).max().unwrap_or_default();
    longest.max(total / workers.max(1))
}

/// How many workers a suite is worth, at most `most`: as few as end within `target`; without one as many as help.
///
/// No run ends before its longest test does. So many as fit everything into that time would have to be packed without a gap
/// by estimates that are never wrong, so there are more of them, as long as their starts cost little.
pub fn workers(estimates: &Estimates, target: Option<Duration>, most: u32, overhead: Duration) -> u32 {
    let most = most.min(u32::try_from(estimates.len()).unwrap_or(u32::MAX)).max(1);
    let end = target.unwrap_or_default().max(estimates.longest() + overhead);
    let room = end.saturating_sub(overhead).max(Duration::from_micros(1));
    let needed = estimates.total().as_micros().div_ceil(room.as_micros());
    let paid = estimates.total().as_micros() * STARTS_PERCENT / 100 / overhead.as_micros().max(1);
    let worth = if target.is_some() { needed } else { needed.max(paid) };
    u32::try_from(worth).unwrap_or(u32::MAX).clamp(1, most)
}

/// Into how many parts a command is cut whose tests nobody knows, for so many workers: three for each of those that it takes
/// to be done within `target`, as far as that is known, as long as a part is worth its start. `known` is what earlier cuts
/// took in all. One that is near enough is made again, because parts of another number have no history.
pub fn partitions(
    workers: u32,
    known: &[(u32, Duration)],
    target: Option<Duration>,
    overhead: Duration,
) -> u32 {
    let most = limits::MAX_PARTITIONS;
    let usual = workers.max(1).saturating_mul(PARTS_EACH);
    let nearest = known.iter().min_by_key(|(parts, _)| parts.abs_diff(usual));
    let Some((before, total)) = nearest else { return usual.min(most) };
    let times =
        |part: Duration| u32::try_from(total.as_micros() / part.as_micros().max(1)).unwrap_or(u32::MAX);
    let needed = target.map_or(workers, |target| times(target).saturating_add(1).min(workers)).max(1);
    let ideal = needed.saturating_mul(PARTS_EACH).min(times(overhead * PART_FLOOR)).clamp(1, most);
    let is_near = 2 * ideal <= 3 * before && 3 * before <= 4 * ideal;
    if is_near { *before } else { ideal }
}

/// The tests to run as units. A group that is larger than a fair share of `workers` is cut into such shares.
pub fn units(listed: &[ListedTest], estimates: &Estimates, open: &[TestIndex], workers: u32) -> Vec<Unit> {
    let total: Duration = open.iter().map(|test| estimates.of(*test)).sum();
    let fair = total / workers.max(1);
    let mut units: Vec<Unit> = Vec::with_capacity(open.len());
    let mut last_of_group: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    for test in open {
        let estimate = estimates.of(*test);
        let group = listed.get(test.at()).and_then(|test| test.group.as_ref());
        if let Some(position) = group.and_then(|group| last_of_group.get(group))
            && units[*position].estimate + estimate <= fair
        {
            let unit = &mut units[*position];
            unit.tests.push(*test);
            unit.estimate += estimate;
            unit.is_known &= estimates.known(*test).is_some();
            continue;
        }
        if let Some(group) = group {
            last_of_group.insert(group, units.len());
        }
        units.push(Unit { tests: vec![*test], estimate, is_known: estimates.known(*test).is_some() });
    }
    units
}

/// Deals units to equal workers, each to the one with the least: first what decides the end, then what may be anything,
/// then the rest, the longest first. What is beside each other takes about as long: of what nothing is known the next one is
/// somewhere else, so that soon there is one of each kind. Answers positions in `units` for each worker, in that order. O(units log workers).
pub fn plan(units: &[Unit], workers: u32) -> Vec<Vec<u32>> {
    let horizon = horizon(units, workers);
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by_cached_key(|position| {
        let unit = &units[*position];
        // In the order of the fractions of their multiples of the golden ratio, which are spread evenly.
        let far = if unit.is_known { 0 } else { (*position as u64).wrapping_mul(GOLDEN) };
        (!unit.is_decisive(horizon), unit.is_known, Reverse(unit.estimate), far)
    });
    let mut shares = vec![Vec::new(); workers as usize];
    let mut loads: BinaryHeap<Reverse<(Duration, usize)>> =
        (0..shares.len()).map(|w| Reverse((Duration::ZERO, w))).collect();
    for position in order {
        let Some(Reverse((load, worker))) = loads.pop() else { break };
        shares[worker].push(u32::try_from(position).unwrap_or(u32::MAX));
        // A little more, so that tests of no duration are dealt round.
        loads.push(Reverse((load + units[position].estimate + Duration::from_nanos(1), worker)));
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn estimates(seconds: &[u64]) -> Estimates {
        Estimates::from_known(seconds.iter().map(|s| Some(Duration::from_secs(*s))).collect())
    }

    fn singles(seconds: &[u64]) -> Vec<Unit> {
        let unit = |(position, s): (usize, &u64)| Unit {
            tests: vec![TestIndex::of(position)],
            estimate: Duration::from_secs(*s),
            is_known: true,
        };
        seconds.iter().enumerate().map(unit).collect()
    }

    fn in_group(group: Option<&str>) -> ListedTest {
        ListedTest { name: "t".into(), group: group.map(Into::into), exclusive: false, disabled: false }
    }

    #[test]
    fn workers_are_as_few_as_reach_the_target_and_never_more_than_help() {
        let estimates = estimates(&[10; 100]);
        let workers = |target: Option<u64>, most| {
            workers(&estimates, target.map(Duration::from_secs), most, Duration::from_secs(1))
        };
        assert_eq!(workers(Some(101), 500), 10);
        assert_eq!(workers(Some(101), 4), 4);
        assert_eq!(workers(None, 500), 100, "one test each");
        assert_eq!(workers(Some(1), 500), 100, "the longest test takes longer than that");
        assert_eq!(workers(Some(100_000), 500), 1);
    }

    #[test]
    fn there_are_more_workers_than_would_do_by_the_estimates_as_long_as_their_starts_cost_little() {
        let mut seconds = vec![1; 700];
        seconds.push(70);
        let workers =
            |target, overhead| workers(&estimates(&seconds), target, 500, Duration::from_millis(overhead));
        assert_eq!(workers(None, 200), 154, "4 % of 770 s");
        assert_eq!(workers(None, 10_000), 11, "starts are dear");
        assert_eq!(workers(Some(Duration::from_secs(70)), 200), 11, "no more than it takes");
    }

    #[test]
    fn a_command_is_cut_by_who_is_there_and_by_what_its_parts_took() {
        let cut = |workers, known: &[(u32, u64)], target: Option<u64>| {
            let known: Vec<_> = known.iter().map(|(parts, s)| (*parts, Duration::from_secs(*s))).collect();
            partitions(workers, &known, target.map(Duration::from_secs), Duration::from_secs(1))
        };
        assert_eq!((cut(2, &[], None), cut(500, &[], None), cut(0, &[], None)), (6, 1500, 3));
        assert_eq!(cut(20, &[(60, 40)], None), 5, "a part is worth eight starts");
        assert_eq!(cut(20, &[(50, 10_000)], None), 50, "near enough: these have history");
        assert_eq!(cut(20, &[(64, 10_000), (300, 10_000)], None), 64);
        assert_eq!(cut(20, &[(300, 10_000)], None), 60);
        assert_eq!(cut(100, &[(300, 10_000)], Some(1000)), 33, "eleven workers do");
        assert_eq!(cut(1_000_000, &[], None), limits::MAX_PARTITIONS);
    }

    #[test]
    fn an_empty_listing_needs_one_worker() {
        assert_eq!(workers(&estimates(&[]), None, 5, Duration::ZERO), 1);
    }

    #[test]
    fn a_group_stays_together_unless_it_is_more_than_a_fair_share() {
        let listed: Vec<_> =
            [Some("a"), None, Some("a"), Some("b"), Some("b"), Some("b")].map(in_group).into();
        let open: Vec<_> = (0..6).map(TestIndex).collect();
        let tests = |workers| -> Vec<Vec<u32>> {
            let units = units(&listed, &estimates(&[1; 6]), &open, workers);
            units.into_iter().map(|unit| unit.tests.into_iter().map(|test| test.0).collect()).collect()
        };
        assert_eq!(tests(2), [vec![0, 2], vec![1], vec![3, 4, 5]]);
        assert_eq!(tests(3), [vec![0, 2], vec![1], vec![3, 4], vec![5]], "fair is two seconds");
    }

    #[test]
    fn the_longest_is_dealt_first() {
        assert_eq!(plan(&singles(&[1, 9, 2, 8]), 2), [vec![1, 0], vec![3, 2]]);
    }

    #[test]
    fn what_is_unknown_comes_after_what_decides_the_end_and_before_the_rest() {
        let mut units = singles(&[2, 2, 90, 2]);
        units[3].is_known = false;
        assert_eq!(plan(&units, 2), [vec![2], vec![3, 0, 1]]);
    }

    #[test]
    fn what_is_unknown_is_dealt_from_everywhere_to_everybody() {
        for (count, workers) in [(64, 8), (100, 5), (1024, 32), (6400, 50)] {
            let mut units = singles(&vec![1; count]);
            units.iter_mut().for_each(|unit| unit.is_known = false);
            let (share, half) = (count / workers, count as u32 / 2);
            for dealt in plan(&units, workers as u32) {
                let early = dealt.iter().filter(|position| **position < half).count();
                assert!(early.abs_diff(share / 2) <= share / 4, "{early} of {share} of {count}");
                let window = |position: &u32| *position as usize / share;
                let mut windows: Vec<usize> = dealt.iter().map(window).collect();
                windows.sort_unstable();
                let most = windows.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
                assert!(most <= Some(share.div_ceil(3)), "{most:?} of {share} beside each other");
            }
        }
    }

    #[test]
    fn equal_guesses_are_dealt_round() {
        assert_eq!(plan(&singles(&[0; 6]), 3), [vec![0, 3], vec![1, 4], vec![2, 5]]);
    }

    proptest! {
        #[test]
        fn each_unit_is_dealt_once_and_the_bound_of_graham_holds(
            seconds in proptest::collection::vec(1..1000u64, 0..200),
            workers in 1..20u32,
        ) {
            let shares = plan(&singles(&seconds), workers);
            let mut dealt: Vec<u32> = shares.iter().flatten().copied().collect();
            dealt.sort();
            prop_assert_eq!(dealt, (0..seconds.len() as u32).collect::<Vec<_>>());
            let load = |share: &Vec<u32>| share.iter().map(|p| seconds[*p as usize]).sum::<u64>();
            let makespan = shares.iter().map(load).max().unwrap();
            let total: u64 = seconds.iter().sum();
            let longest = seconds.iter().max().copied().unwrap_or(0);
            prop_assert!(makespan <= total / u64::from(workers) + 1 + longest);
        }
    }
}
