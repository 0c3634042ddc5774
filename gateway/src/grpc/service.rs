//! The calls of a connection: session, its other lanes, bulk and probe.

use std::sync::Arc;

use feldakte_certs::identity;
use feldakte_core::{audit::Reason, ids::SessionId};
use feldakte_proto::{
    CloseCode,
    grpc::{BulkRequest, Frame, SERVICE_NAME, SessionName, SyncServer, SyncService, status_of},
};
use hyper::{Request as HttpRequest, Response as HttpResponse, body::Incoming};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming, async_trait,
    body::Body,
    codegen::{Service, tokio_stream},
};
use tracing::warn;

use super::{
    Door,
    connection::{Caller, Purpose},
    modest::Modest,
};
use crate::{
    audit::Trail,
    session,
    transport::{
        self,
        grpc::{Connection, NotAnswered, Outgoing},
    },
};

/// Answers the calls of one connection.
#[derive(Clone)]
pub struct Calls {
    /// What all connections share.
    pub door: Arc<Door>,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// The gateway goes down.
    pub shutdown: CancellationToken,
}

impl Calls {
    /// Answers one call.
    pub async fn route(&self, mut server: SyncServer<Self>, request: HttpRequest<Incoming>) -> HttpResponse<Body> {
        let service = request.uri().path().split('/').nth(1);
        if service == Some(SERVICE_NAME) {
            return match server.call(request.map(Modest::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
        }
        // What goes out on the connection of a session is the session.
        if !self.caller.decide(Purpose::Errands) {
            return status_of(CloseCode::Protocol).into_http();
        }
        self.door.errands.answer(request).await
    }

    /// The caller's session of that name. One that does not exist looks like one that is somebody else's.
    fn find(&self, name: &SessionName) -> Result<Connection, Status> {
        let session = self.door.names.find(name).filter(|session| session.is_of(&self.caller.line));
        session.ok_or_else(|| self.refuse_stranger())
    }

    /// Somebody else's session: who asks is an enrolled device all the same.
    fn refuse_stranger(&self) -> Status {
        let shared = &self.door.shared;
        shared.metrics.rejected.get_or_create(&vec![("reason", "bulk_not_permitted")]).inc();
        let principal = self.caller.line.chain.first().map(|leaf| identity::principal_of(leaf));
        if let Some(Ok(principal)) = principal {
            warn!(device = %principal.device, "bulk of no session of its own was asked for");
            let id = SessionId(shared.environment.random_uuid());
            Trail::new(shared.audit.clone(), &principal, &principal.tenant, id).end(Reason::NotPermitted);
        }
        status_of(CloseCode::NotPermitted)
    }
}

#[async_trait]
impl SyncService for Calls {
    type SessionStream = Outgoing;
    type BulkStream = Outgoing;
    type LaneStream = Outgoing;
    type LiveStream = Outgoing;
    type ProbeStream = tokio_stream::Empty<Result<Frame, Status>>;

    async fn session(&self, request: Request<Streaming<Frame>>) -> Result<Response<Outgoing>, Status> {
        let (connection, outgoing) = Connection::begin(self.caller.line.clone(), request.into_inner());
        if !self.caller.decide(Purpose::Session(connection.ended())) {
            return Err(status_of(CloseCode::Protocol));
        }
        let name = SessionName(self.door.shared.environment.random());
        let Self { door, caller: _, shutdown } = self.clone();
        let serve = {
            let name = name.clone();
            async move {
                door.names.insert(&name, connection.clone());
                session::serve(door.shared.clone(), transport::Connection::grpc(connection), shutdown).await;
                door.names.remove(&name);
            }
        };
        self.door.sessions.spawn(serve);
        // Not a byte leaves before the session has something to say.
        let mut response = Response::new(outgoing.begun().await?);
        name.write(response.metadata_mut());
        Ok(response)
    }

    async fn bulk(&self, request: Request<Frame>) -> Result<Response<Outgoing>, Status> {
        let malformed = |error| status_of(CloseCode::from(&error));
        let BulkRequest { session, fetch } = BulkRequest::decode(request.into_inner()).map_err(malformed)?;
        let session = self.find(&session)?;
        if !self.caller.decide(Purpose::Bulk(session.ended())) {
            return Err(status_of(CloseCode::Protocol));
        }
        let outgoing = session.answer(&self.caller.line, fetch).map_err(|error| match error {
            NotAnswered::Passed => Status::not_found("the fetch has passed"),
            NotAnswered::TooMany => Status::resource_exhausted("too many fetches"),
        })?;
        Ok(Response::new(outgoing.begun().await?))
    }

    async fn lane(&self, request: Request<Streaming<Frame>>) -> Result<Response<Outgoing>, Status> {
        let name = SessionName::read(request.metadata()).ok_or_else(|| status_of(CloseCode::Protocol))?;
        let session = self.find(&name)?;
        if !session.is_on(&self.caller.line) && !self.caller.decide(Purpose::Bulk(session.ended())) {
            return Err(status_of(CloseCode::Protocol));
        }
        let outgoing = session.enter(&self.caller.line, request.into_inner());
        outgoing.map(Response::new).map_err(|_| Status::resource_exhausted("too many lanes"))
    }

    async fn live(&self, request: Request<Streaming<Frame>>) -> Result<Response<Outgoing>, Status> {
        let name = SessionName::read(request.metadata()).ok_or_else(|| status_of(CloseCode::Protocol))?;
        let session = self.find(&name)?;
        match session.is_on(&self.caller.line) {
            true => Ok(Response::new(session.enter_live(request.into_inner()))),
            false => Err(status_of(CloseCode::Protocol)),
        }
    }

    async fn probe(&self, _: Request<Frame>) -> Result<Response<Self::ProbeStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}
