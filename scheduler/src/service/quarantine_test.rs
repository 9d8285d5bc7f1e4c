//! Tests whose failures are known.

use super::{
    Service,
    list::{LARGEST_PAGE, PAGE_BYTES},
};
use crate::{
    queue::{MOST_LOOKED_AT, Queue},
    wire::{field::FieldError, suite},
};
use prost::Message as _;
use proto::{Timestamp, v1};
use tonic::Status;

pub(super) async fn quarantine_test(
    service: &Service,
    request: v1::QuarantineTestRequest,
) -> Result<v1::QuarantineTestResponse, Status> {
    let quarantine = request.quarantine.ok_or_else(|| FieldError::new("quarantine", "is missing"))?;
    let quarantined = suite::parse_quarantine(&quarantine).map_err(|error| error.within("quarantine"))?;
    service.shell.quarantine(quarantined).await?;
    Ok(v1::QuarantineTestResponse {})
}

/// A suite and a test of it: those up to it were told already.
type Place = (String, String);

pub(super) async fn list_quarantines(
    service: &Service,
    request: v1::ListQuarantinesRequest,
) -> Result<v1::ListQuarantinesResponse, Status> {
    let after = match request.page_token.as_str() {
        "" => None,
        token => {
            let unknown = || FieldError::new("page_token", "is none that this list gave");
            Some(parse_token(token).ok_or_else(unknown)?)
        }
    };
    let size = match request.page_size as usize {
        0 => LARGEST_PAGE,
        size => size.min(LARGEST_PAGE),
    };
    let list = move |queue: &Queue, now| page(queue, &request.suite, after.as_ref(), size, now);
    Ok(service.shell.read(list).await?)
}

fn page(
    queue: &Queue,
    suite: &str,
    after: Option<&Place>,
    size: usize,
    now: Timestamp,
) -> v1::ListQuarantinesResponse {
    let mut response = v1::ListQuarantinesResponse::default();
    let mut bytes = 0;
    for (looked_at, one) in queue.quarantines(suite, after).enumerate() {
        if looked_at == MOST_LOOKED_AT {
            return response;
        }
        if now < one.expires {
            let told = suite::quarantine_to_wire(one);
            bytes += told.encoded_len();
            let full = bytes > PAGE_BYTES && !response.quarantines.is_empty();
            if response.quarantines.len() == size || full {
                return response;
            }
            response.quarantines.push(told);
        }
        response.next_page_token = token(&one.suite, &one.test);
    }
    response.next_page_token.clear();
    response
}

/// Names may have any character in them: the length of the first one tells where the second one begins.
fn token(suite: &str, test: &str) -> String {
    format!("{} {suite}{test}", suite.len())
}

fn parse_token(token: &str) -> Option<Place> {
    let (length, names) = token.split_once(' ')?;
    let (suite, test) = names.split_at_checked(length.parse().ok()?)?;
    Some((suite.to_owned(), test.to_owned()))
}
