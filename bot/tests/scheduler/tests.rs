//! A worker's tests, as the scheduler knows them: everything here is durable.

use proto::v1;

/// Of one attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tests {
    pub(crate) listing: Option<v1::TestListing>,
    pub(crate) batches: Vec<v1::TestBatch>,
    pub(crate) reports: Vec<v1::TestReport>,
    /// How many tests a batch has.
    size: usize,
    /// What the bot has said last of what runs.
    pub(crate) running: Vec<u32>,
    complete: bool,
    /// All batches are handed out at once, whoever asked for one.
    pub(crate) hasty: bool,
}

impl Tests {
    /// Handed out in batches of this size.
    pub(crate) fn of(size: usize) -> Self {
        Self { size, ..Self::default() }
    }

    pub(super) fn take_in(&mut self, told: &v1::TestsProgress) {
        if self.listing.is_none() {
            let whole = |listing| proto::listing::unfold(listing).collect::<Result<_, _>>().unwrap();
            self.listing = told.listing.as_ref().map(|listing| v1::TestListing { tests: whole(listing) });
        }
        let has = self.reports.len() as u64;
        let new = has.checked_sub(told.reports_from).expect("what was not taken is told");
        self.reports.extend(told.reports.iter().skip(new as usize).cloned());
        self.running.clone_from(&told.running);
        if told.hungry && told.batches as usize == self.batches.len() {
            self.grant();
            while self.hasty && !self.complete {
                self.grant();
            }
        }
    }

    fn grant(&mut self) {
        let Some(listing) = &self.listing else { return };
        let granted: usize = self.batches.iter().map(|batch| batch.tests.len()).sum();
        let test = |(index, test): (usize, &v1::ListedTest)| v1::GrantedTest {
            test: index as u32,
            name: test.name.clone(),
            timeout: None,
        };
        let tests: Vec<_> =
            listing.tests.iter().enumerate().skip(granted).take(self.size).map(test).collect();
        self.complete = tests.is_empty();
        if !self.complete {
            self.batches.push(v1::TestBatch { number: self.batches.len() as u32 + 1, tests });
        }
    }

    /// What a bot is told that has had so many batches.
    pub(super) fn answer(&self, had: u32) -> v1::TestsGrant {
        v1::TestsGrant {
            list: self.listing.is_none(),
            reports_taken: self.reports.len() as u64,
            batches: self.batches[had as usize..].to_vec(),
            complete: self.complete,
        }
    }
}
