//! What load balancers and people ask: `grpc.health.v1`, and reflection for `grpcurl`.

use std::pin::Pin;

use feldakte_proto::grpc::{SCHEMA, SERVICE_NAME};
use hyper::{Request, Response, body::Incoming};
use tonic::{Status, body::Body, codegen::Service};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use super::Readiness;

/// Answers errands.
pub struct Errands {
    readiness: Readiness,
    reporter: HealthReporter,
    health: HealthServer<HealthService>,
    reflection: Reflection,
}

type Reflection = Box<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>;
type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

impl Errands {
    /// `readiness` tells whether commits succeed.
    pub fn new(readiness: Readiness) -> Self {
        let reporter = HealthReporter::new();
        let health = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
        Self { readiness, reporter, health, reflection: reflection() }
    }

    /// Answers one call.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path().split('/').nth(1) {
            Some(HEALTH) => {
                self.look().await;
                infallible(self.health.clone().call(request).await)
            }
            Some(REFLECTION) => (self.reflection)(request).await,
            _ => Status::unimplemented("").into_http(),
        }
    }

    /// Health is asked for seldom: it is looked at when it is.
    async fn look(&self) {
        let status = if (self.readiness)().await { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", SERVICE_NAME] {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

fn reflection() -> Reflection {
    let builder = tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(SCHEMA);
    let builder = builder.register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    let service = builder.build_v1().expect("the schema was compiled with this program");
    Box::new(move |request| {
        let mut service = service.clone();
        Box::pin(async move { infallible(service.call(request).await) })
    })
}

fn infallible(answer: Result<Response<Body>, std::convert::Infallible>) -> Response<Body> {
    match answer {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
