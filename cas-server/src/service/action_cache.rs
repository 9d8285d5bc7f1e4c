//! `ActionCache`: what actions gave, by instance name and the action's digest.

use super::{actions::Actions, digest::Named};
use cas::status::to_status;
use proto::{Digest, reapi};
use reapi::{ActionResult, GetActionResultRequest, UpdateActionResultRequest};
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub(super) struct ActionCacheService {
    actions: Actions,
}

impl ActionCacheService {
    pub(super) fn new(actions: Actions) -> Self {
        Self { actions }
    }
}

#[tonic::async_trait]
impl reapi::action_cache_server::ActionCache for ActionCacheService {
    async fn get_action_result(
        &self,
        request: Request<GetActionResultRequest>,
    ) -> Result<Response<ActionResult>, Status> {
        let request = request.into_inner();
        let action = action(request.digest_function, request.action_digest.as_ref())?;
        let found = self.actions.get(&request.instance_name, action).await;
        let Some(mut result) = found.map_err(|error| to_status(&error))? else {
            return Err(Status::not_found(format!("there is no result of {action}, or no complete one")));
        };
        let inlined = self.actions.inline(&mut result, action.function(), &request).await;
        inlined.map_err(|error| to_status(&error))?;
        Ok(Response::new(result))
    }

    async fn update_action_result(
        &self,
        request: Request<UpdateActionResultRequest>,
    ) -> Result<Response<ActionResult>, Status> {
        let request = request.into_inner();
        let action = action(request.digest_function, request.action_digest.as_ref())?;
        let result =
            request.action_result.ok_or_else(|| Status::invalid_argument("there is no action_result"))?;
        let stored = self.actions.put(&request.instance_name, action, result).await;
        stored.map(Response::new).map_err(|error| to_status(&error))
    }
}

fn action(function: i32, digest: Option<&reapi::Digest>) -> Result<Digest, Status> {
    let digest = Named::parse(function).and_then(|named| named.required(digest));
    digest.map_err(|error| Status::invalid_argument(error.to_string()))
}
