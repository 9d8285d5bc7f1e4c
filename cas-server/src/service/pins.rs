//! `Pins`: closures that are kept from eviction.

use super::{closure::closure, wire};
use crate::engine::{Engine, PinError, PinKind, PinMode, PinName, PinRequest};
use cas::status::to_status;
use proto::{Digest, v1};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};

/// Closures that are walked at a time: each is in memory as a whole.
const WALKS: usize = 2;

/// A closure has been walked and pinned after this long, or it is given up.
const DEADLINE: Duration = Duration::from_secs(300);

/// No pin lives longer without being renewed.
const MAX_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// The service.
#[derive(Clone, Debug)]
pub(super) struct PinsService {
    engine: Arc<Engine>,
    walks: Arc<Semaphore>,
}

impl PinsService {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, walks: Arc::new(Semaphore::new(WALKS)) }
    }

    async fn pin(&self, request: v1::CreatePinRequest, mode: PinMode) -> Result<Response<v1::Pin>, Status> {
        let name = parse_name(&request.name)?;
        let root = request.root.as_ref().ok_or_else(|| Status::invalid_argument("root: it is missing"))?;
        let root =
            Digest::try_from(root).map_err(|error| Status::invalid_argument(format!("root: {error}")))?;
        let kind = match request.kind() {
            v1::PinKind::Isolated => PinKind::Isolated,
            v1::PinKind::Directory => PinKind::Directory,
            v1::PinKind::Unspecified => {
                return Err(Status::invalid_argument("kind: say what the root is"));
            }
        };
        let lifetime = parse_lifetime(request.lifetime.as_ref())?;
        let pinning = async {
            let _walk = self.walks.acquire().await;
            let closure = closure(&self.engine, root, kind).await?;
            self.engine.pin(PinRequest { name, root, kind, closure, lifetime }, mode).await
        };
        let late = |_| Status::unavailable("the closure could not be pinned in time: try again");
        let pin = tokio::time::timeout(DEADLINE, pinning).await.map_err(late)?;
        Ok(Response::new(wire::pin(&pin.map_err(|error| refusal(&error))?)))
    }
}

#[tonic::async_trait]
impl v1::pins_server::Pins for PinsService {
    async fn create_pin(&self, request: Request<v1::CreatePinRequest>) -> Result<Response<v1::Pin>, Status> {
        self.pin(request.into_inner(), PinMode::Create).await
    }

    async fn swap_pin(&self, request: Request<v1::SwapPinRequest>) -> Result<Response<v1::Pin>, Status> {
        let v1::SwapPinRequest { name, root, kind, lifetime } = request.into_inner();
        self.pin(v1::CreatePinRequest { name, root, kind, lifetime }, PinMode::Swap).await
    }

    async fn renew_pin(&self, request: Request<v1::RenewPinRequest>) -> Result<Response<v1::Pin>, Status> {
        let request = request.into_inner();
        let lifetime = parse_lifetime(request.lifetime.as_ref())?;
        let pin = self.engine.renew_pin(parse_name(&request.name)?, lifetime).await;
        Ok(Response::new(wire::pin(&pin.map_err(|error| refusal(&error))?)))
    }

    async fn release_pin(
        &self,
        request: Request<v1::ReleasePinRequest>,
    ) -> Result<Response<v1::ReleasePinResponse>, Status> {
        let released = self.engine.release_pin(parse_name(&request.into_inner().name)?).await;
        released.map_err(|error| refusal(&error))?;
        Ok(Response::new(v1::ReleasePinResponse {}))
    }

    async fn list_pins(
        &self,
        _: Request<v1::ListPinsRequest>,
    ) -> Result<Response<v1::ListPinsResponse>, Status> {
        let (pins, quota_bytes) = self.engine.pins();
        Ok(Response::new(v1::ListPinsResponse { pins: pins.iter().map(wire::pin).collect(), quota_bytes }))
    }
}

fn parse_name(name: &str) -> Result<PinName, Status> {
    name.parse().map_err(|error| Status::invalid_argument(format!("name: {error}")))
}

fn parse_lifetime(wire: Option<&prost_types::Duration>) -> Result<Duration, Status> {
    let lifetime = wire.and_then(|wire| Duration::try_from(*wire).ok());
    lifetime
        .filter(|lifetime| !lifetime.is_zero() && *lifetime <= MAX_LIFETIME)
        .ok_or_else(|| Status::invalid_argument("lifetime: more than zero and at most ten years"))
}

fn refusal(error: &PinError) -> Status {
    let code = match error {
        PinError::Name => Code::InvalidArgument,
        PinError::NotFound { .. } => Code::NotFound,
        PinError::Exists { .. } => Code::AlreadyExists,
        PinError::Busy { .. } => Code::Aborted,
        PinError::Incomplete { .. } => Code::FailedPrecondition,
        PinError::Quota { .. } | PinError::TooMany => Code::ResourceExhausted,
        PinError::Store(error) => return to_status(error),
    };
    Status::new(code, error.to_string())
}
