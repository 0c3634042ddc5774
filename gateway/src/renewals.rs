//! A device renews its certificate inside its session: the handshake has proven who it is.

use feldakte_certs::identity;
use feldakte_proto::{Answer, Outcome, Renew, Renewed, ServerMessage};
use tracing::error;

use crate::{
    enrolment::{EnrolmentError, Granted, since_1970_ms},
    gateway::Shared,
    transport::Connection,
};

/// What the device is told.
pub(crate) async fn answer(shared: &Shared, connection: &Connection, renew: Renew) -> ServerMessage {
    let Renew { request, csr } = renew;
    match grant(shared, connection, &csr).await {
        Ok(Granted { principal: _, certificate, roots, renew_at, overlap: _ }) => {
            let renew_at_ms = Some(since_1970_ms(renew_at));
            ServerMessage::Renewed(Renewed { request, certificate, roots, renew_at_ms })
        }
        Err(outcome) => ServerMessage::Answer(Answer { request, outcome }),
    }
}

async fn grant(shared: &Shared, connection: &Connection, csr: &str) -> Result<Granted, Outcome> {
    let enrolment = shared.enrolment.as_ref().ok_or(Outcome::Unavailable)?;
    let leaf = connection.leaf().ok_or(Outcome::NotPermitted)?;
    let named = identity::principal_of(leaf).map_err(|_| Outcome::NotPermitted)?;
    enrolment.renew_proven(&shared.audit, leaf, named, csr).await.map_err(|refused| match refused {
        EnrolmentError::TooMany => Outcome::TooOften,
        refused if refused.is_ours() => {
            error!(error = &refused as &dyn std::error::Error, "no certificate could be issued");
            Outcome::Unavailable
        }
        _ => Outcome::NotPermitted,
    })
}
