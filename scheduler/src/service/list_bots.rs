//! The bots that have called since the scheduler started, by id.

use super::{
    Service,
    list::{LARGEST_PAGE, PAGE_BYTES},
};
use crate::{
    queue::{BotState, MOST_LOOKED_AT, Queue},
    wire::{
        bot,
        field::{FieldError, InField},
    },
};
use prost::Message as _;
use proto::{BotId, Requirements, Timestamp, v1};
use tonic::Status;

struct Asked {
    requirements: Requirements,
    states: Vec<BotState>,
    /// Bots up to this one were told already.
    after: Option<BotId>,
    size: usize,
}

pub(super) async fn list_bots(
    service: &Service,
    request: v1::ListBotsRequest,
) -> Result<v1::ListBotsResponse, Status> {
    let state = |state: &i32| {
        let unknown = || FieldError::new("states", format!("{state} is no state of a bot"));
        bot::parse_bot_state(*state).ok_or_else(unknown)
    };
    let asked = Asked {
        requirements: Requirements::try_from(&request.requirements[..]).in_field("requirements")?,
        states: request.states.iter().map(state).collect::<Result<_, _>>()?,
        after: match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse().in_field("page_token")?),
        },
        size: match request.page_size as usize {
            0 => LARGEST_PAGE,
            size => size.min(LARGEST_PAGE),
        },
    };
    Ok(service.shell.read(move |queue, now| page(queue, &asked, now)).await?)
}

fn page(queue: &Queue, asked: &Asked, now: Timestamp) -> v1::ListBotsResponse {
    let mut response = v1::ListBotsResponse::default();
    let mut bytes = 0;
    for (looked_at, (id, known)) in queue.bots_after(asked.after.as_ref()).enumerate() {
        if looked_at == MOST_LOOKED_AT {
            return response;
        }
        let in_state = |state: &BotState| queue.bot_is(id, known, *state, now);
        if asked.requirements.fit(&known.dimensions)
            && (asked.states.is_empty() || asked.states.iter().any(in_state))
        {
            let told = bot::bot(queue, id, known, now);
            bytes += told.encoded_len();
            if response.bots.len() == asked.size || (bytes > PAGE_BYTES && !response.bots.is_empty()) {
                return response;
            }
            response.bots.push(told);
        }
        response.next_page_token = id.to_string();
    }
    response.next_page_token.clear();
    response
}
