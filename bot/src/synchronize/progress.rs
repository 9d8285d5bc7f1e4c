//! The tests of one attempt: how far they have come, and how much of it the scheduler has. Pure.
//!
//! What a worker tells is kept until the scheduler says that it has it: the listing until it is not asked for any more,
//! each report by its number. Batches are taken in their order and once, whatever is answered twice or too late.

use crate::{
    remote::{TestsGrant, TestsProgress},
    suite::{ListedTest, OVERHEAD, TestReport, TestsCommand, TestsNews},
};
use proto::limits;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Reports are gathered this long before they are told, unless they fill a call or the bot is hungry.
const GATHER: Duration = Duration::from_millis(50);

/// That tests have begun is told after this time, if nothing else is.
const GATHER_BEGUN: Duration = Duration::from_secs(1);

/// Most bytes of reports that one call tells, over all attempts.
const MAX_BYTES_PER_SYNC: usize = 1024 * 1024;

/// With as many bytes of reports in hand, no more are taken: the tests wait until the scheduler has some.
const MAX_BYTES_HELD: usize = 16 * 1024 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The scheduler does not know the tests.
    list: bool,
    listing: Option<Arc<[ListedTest]>>,
    /// Reports that the scheduler does not have.
    reports: VecDeque<Arc<TestReport>>,
    /// How large they are.
    bytes: usize,
    /// The number of the first of them.
    taken: u64,
    /// Batches that the attempt was given.
    batches: u32,
    /// It was told that there are no more.
    complete: bool,
    hungry: bool,
    running: BTreeSet<u32>,
    /// It has a result.
    ended: bool,
    /// No call has told of the hunger, of what runs.
    untold_hunger: bool,
    untold_running: bool,
    /// The scheduler did not take what it was told: tell it again, but not before this time.
    retell: Option<Duration>,
}

/// What is left of a call's room for reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    reports: usize,
    bytes: usize,
    /// What one attempt gets of it.
    share: (usize, usize),
    /// A listing fills a call.
    listing: bool,
}

impl Room {
    /// For this many attempts that have reports.
    pub(super) fn among(attempts: usize) -> Self {
        let (reports, bytes, attempts) = (limits::MAX_REPORTS_PER_SYNC, MAX_BYTES_PER_SYNC, attempts.max(1));
        Self { reports, bytes, share: ((reports / attempts).max(1), bytes / attempts), listing: true }
    }

    /// How many reports of these sizes one attempt may tell. One at least, as long as there is room, or a share smaller
    /// than a report would stop them all.
    fn take(&mut self, sizes: impl Iterator<Item = usize>) -> usize {
        let (mut reports, mut bytes) = (0, 0);
        for size in sizes {
            let fits = reports < self.share.0 && bytes + size <= self.share.1;
            if self.reports == 0 || self.bytes == 0 || !(fits || reports == 0) {
                break;
            }
            (reports, bytes) = (reports + 1, bytes + size);
            self.reports -= 1;
            self.bytes = self.bytes.saturating_sub(size);
        }
        reports
    }
}

impl Progress {
    pub(super) fn new(list: bool) -> Self {
        Self { list, ..Self::default() }
    }

    /// Takes in what the attempt says.
    pub(super) fn take(&mut self, news: TestsNews) {
        match news {
            TestsNews::Listed(tests) => self.listing = self.list.then(|| tests.into()),
            TestsNews::Started { index, .. } => {
                self.running.insert(index);
                self.untold_running = true;
            }
            TestsNews::Finished(report) => {
                self.running.remove(&report.index);
                self.bytes += size(&report);
                self.reports.push_back(Arc::new(report));
            }
            TestsNews::Hungry => self.set_hungry(!self.complete),
        }
    }

    /// The attempt has a result: nothing runs any more, and nothing is wanted.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.set_hungry(false);
        self.running.clear();
        self.untold_running = false;
    }

    /// Whether there is room for more news.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < MAX_BYTES_HELD
    }

    /// Reports that the scheduler does not have.
    pub(super) fn untold(&self) -> u64 {
        self.reports.len() as u64
    }

    pub(super) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// From when on there is something that is worth a call. Reports were `told` last at this time.
    pub(super) fn news_from(&self, told: Duration) -> Option<Duration> {
        let many = self.reports.len() >= limits::MAX_REPORTS_PER_SYNC || self.bytes >= MAX_BYTES_PER_SYNC;
        let unsent = match self.retell {
            Some(retell) => Some(retell),
            None if many || self.listing.is_some() => Some(Duration::ZERO),
            None if self.ended && self.has_reports() => Some(Duration::ZERO),
            None => self.has_reports().then_some(told + GATHER),
        };
        let hunger = self.untold_hunger.then_some(Duration::ZERO);
        let running = self.untold_running.then_some(told + GATHER_BEGUN);
        [unsent, hunger, running].into_iter().flatten().min()
    }

    /// What a call that begins now tells. Takes of the `room` what it needs.
    pub(super) fn tell(&mut self, room: &mut Room, now: Duration) -> TestsProgress {
        let is_due = self.ended || self.retell.is_none_or(|retell| retell <= now);
        let sizes = self.reports.iter().map(|report| size(report)).take_while(|_| is_due);
        let reports = room.take(sizes);
        let listing = self.listing.clone().filter(|_| is_due && std::mem::take(&mut room.listing));
        self.untold_hunger = false;
        self.untold_running = false;
        TestsProgress {
            listing,
            reports_from: self.taken,
            reports: self.reports.range(..reports).cloned().collect(),
            batches: self.batches,
            hungry: self.hungry,
            running: self.running.clone(),
        }
    }

    /// Whether the result may be told: when all reports were taken before. A scheduler that does not take them gets it
    /// beside them, or it would never come.
    pub(super) fn lets_go(&self) -> bool {
        self.reports.is_empty() || self.retell.is_some()
    }

    /// Takes in what the scheduler says; what the attempt is to be told comes back.
    pub(super) fn grant(&mut self, grant: TestsGrant) -> Vec<TestsCommand> {
        self.list = grant.list;
        self.listing = self.listing.take().filter(|_| grant.list);
        let new = usize::try_from(grant.reports_taken.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        for report in self.reports.drain(..new.min(self.reports.len())) {
            self.taken += 1;
            self.bytes -= size(&report);
        }
        if self.reports.is_empty() && self.listing.is_none() {
            self.retell = None;
        }
        let mut batches = grant.batches;
        batches.sort_by_key(|batch| batch.number);
        let last = batches.last().map_or(0, |batch| batch.number);
        let mut commands = Vec::new();
        for batch in batches {
            // One that does not follow comes again, after those before it.
            if self.batches.checked_add(1) == Some(batch.number) && !self.complete {
                self.batches = batch.number;
                self.set_hungry(false);
                commands.push(TestsCommand::Batch(batch));
            }
        }
        if grant.complete && !self.complete && last <= self.batches {
            self.complete = true;
            self.set_hungry(false);
            commands.push(TestsCommand::Complete);
        }
        commands
    }

    /// A call that told this was answered. What was not taken is told again later.
    pub(super) fn answered(&mut self, told: &TestsProgress, now: Duration) {
        if tells(told) {
            let ignored = !told.reports.is_empty() && self.taken <= told.reports_from;
            let unlisted = told.listing.is_some() && self.listing.is_some();
            self.retell = (ignored || unlisted).then(|| now + super::RETELL);
        }
    }

    fn set_hungry(&mut self, hungry: bool) {
        self.hungry = hungry;
        self.untold_hunger = hungry;
    }
}

/// Whether it has something that the scheduler has to take.
pub(super) fn tells(told: &TestsProgress) -> bool {
    !told.reports.is_empty() || told.listing.is_some()
}

fn size(report: &TestReport) -> usize {
    report.message.len() + report.tail.len() + OVERHEAD
}
