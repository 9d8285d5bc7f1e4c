//! What is asked about tests.

use super::{CallError, Scheduler, TestsOrder, decode, encode};
use crate::model::{Quarantine, TestHistory, TestsPage};
use proto::{RunId, v1};

impl Scheduler {
    /// Some tests of a step and what has become of them. An empty token begins.
    pub async fn tests(
        &self,
        run: RunId,
        step: u32,
        order: TestsOrder,
        page_token: &str,
    ) -> Result<TestsPage, CallError> {
        let request = v1::ListTestsRequest {
            run_id: run.to_string(),
            step,
            page_size: 0,
            page_token: page_token.to_owned(),
            changed: order == TestsOrder::Changes,
        };
        let answer = self.call(async |mut client| client.list_tests(request.clone()).await).await?;
        decode::tests_page(answer).map_err(CallError::from)
    }

    /// What a test has come to in earlier runs. An empty suite means all of them.
    pub async fn test_history(&self, suite: &str, test: &str) -> Result<Vec<TestHistory>, CallError> {
        let request = v1::GetTestHistoryRequest { suite: suite.to_owned(), test: test.to_owned() };
        let answer = self.call(async |mut client| client.get_test_history(request.clone()).await).await?;
        Ok(answer.histories.into_iter().map(decode::history).collect::<Result<_, _>>()?)
    }

    /// Says that failures of a test are known, until the quarantine expires.
    pub async fn quarantine(&self, quarantine: &Quarantine) -> Result<(), CallError> {
        let request = v1::QuarantineTestRequest { quarantine: Some(encode::quarantine(quarantine)) };
        self.call(async |mut client| client.quarantine_test(request.clone()).await).await.map(drop)
    }

    /// The tests whose failures are known. An empty suite means all of them.
    pub async fn quarantines(&self, suite: &str) -> Result<Vec<Quarantine>, CallError> {
        let mut request = v1::ListQuarantinesRequest { suite: suite.to_owned(), ..Default::default() };
        let mut quarantines = Vec::new();
        loop {
            let answer = self.call(async |mut client| client.list_quarantines(request.clone()).await).await?;
            for quarantine in answer.quarantines {
                quarantines.push(decode::quarantine(quarantine)?);
            }
            if answer.next_page_token.is_empty() {
                return Ok(quarantines);
            }
            request.page_token = answer.next_page_token;
        }
    }
}
