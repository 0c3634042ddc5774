//! One page from its first message to its end.
//!
//! Not a word of a call leaves before certificate and token have been judged, and the session stands on them from then on: it ends
//! within a second of them.

use std::sync::Arc;

use axum::extract::ws::WebSocket;
use feldakte_core::{
    access::{Principal, Role},
    audit::Reason,
    call::Told,
    ids::SessionId,
    limits,
};
use feldakte_proto::CloseCode;
use rustls_pki_types::CertificateDer;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    line::{self, Closing},
    message::{self, Hello, Welcome, close_code_of},
    page::Page,
};
use crate::{
    audit::{Trail, trail},
    gateway::Shared,
    registry::Peer,
    session::{OpenSession, SessionError, calls::Line, known_device},
    speaker::Speaker,
    turnstile::{self, Pass},
    users::Refusal,
};

/// Serves a page to its end. `stranger` is its place among those who have not said who they are.
pub(super) async fn serve(
    shared: Arc<Shared>,
    socket: WebSocket,
    (chain, stranger): (Vec<CertificateDer<'static>>, OwnedSemaphorePermit),
    shutdown: CancellationToken,
) {
    let id = shared.environment.session_id();
    let (line, closing) = line::Line::new(chain);
    let mut page = Page::new(socket);
    let served = serve_page(&shared, (&mut page, &line), (closing, stranger), id);
    let error = tokio::select! {
        biased;
        () = shutdown.cancelled() => SessionError::Draining,
        error = served => error,
    };
    shared.registry.remove(id);
    debug!(session = %id, %error, "a browser's session ended");
    line.close(error.close().code);
    page.close(close_code_of(line.code().unwrap_or(CloseCode::Done))).await;
}

async fn serve_page(
    shared: &Arc<Shared>,
    (page, line): (&mut Page, &line::Line),
    (mut closing, stranger): (Closing, OwnedSemaphorePermit),
    id: SessionId,
) -> SessionError {
    let begun = tokio::select! {
        biased;
        _ = closing.closed() => Err(SessionError::Gone),
        begun = begin(shared, page, line, id) => begun,
    };
    drop(stranger);
    let (speaker, pass) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            shared.metrics.rejected.get_or_create(&vec![("reason", error.name())]).inc();
            return error;
        }
    };
    let trail = Trail::new(shared.audit.clone(), &speaker.principal, &speaker.log, id);
    let error = tokio::select! {
        biased;
        _ = closing.closed() => SessionError::Gone,
        error = calls(shared, page, (&speaker, &trail, pass), id) => error,
    };
    error.audit_reason().into_iter().for_each(|reason| trail.end(reason));
    error
}

/// Certificate, first message, token, in this order. Whoever shows both is the user on the device.
async fn begin(
    shared: &Arc<Shared>,
    page: &mut Page,
    line: &line::Line,
    id: SessionId,
) -> Result<(Speaker, Pass), SessionError> {
    let leaf = line.chain().first();
    let device = leaf.map(|leaf| known_device(shared, leaf, Peer::Browser(line.clone()), id)).transpose()?;
    let hello = tokio::time::timeout(limits::HELLO_WITHIN, page.next_text()).await;
    let hello = hello.unwrap_or(Err(SessionError::HelloTimeout))?;
    let hello = Hello::parse(&hello).ok_or(SessionError::Unexpected("the first message was not hello"))?;
    let stranger = device.is_none();
    let judged = Speaker::of_browser(shared, device.clone(), hello.token).await;
    let speaker = judged.map_err(|refusal| refuse(shared, device, refusal, id))?;
    let Some(speaker) = speaker else {
        trail::note_stranger(&shared.audit, Reason::CertificateMissing);
        return Err(SessionError::NotPermitted);
    };
    if !may_take_calls(shared, &speaker) {
        Trail::new(shared.audit.clone(), &speaker.principal, &speaker.log, id).end(Reason::Role);
        return Err(SessionError::NotPermitted);
    }
    if stranger {
        shared.registry.insert(id, Peer::Browser(line.clone()), speaker.principal.device, None);
    }
    // First watched, then looked up: who is denied in between is found by one of the two.
    shared.registry.enter_page(id, speaker.sign_ins().clone());
    let is_over = speaker.sign_ins().are_over(shared.environment.latest_ms(), &shared.deny);
    if is_over || shared.deny.is_device_denied(speaker.principal.device) {
        return Err(SessionError::SignInEnded);
    }
    // Somebody may be waiting for a physician.
    let class = turnstile::class_of(speaker.principal.role, true);
    let pass = shared.turnstile.enter(class, speaker.principal.device).await?;
    Ok((speaker, pass))
}

fn refuse(shared: &Shared, device: Option<Principal>, refusal: Refusal, id: SessionId) -> SessionError {
    let reason = trail::reason_of(refusal.told());
    match device {
        Some(device) => Trail::new(shared.audit.clone(), &device, &device.tenant, id).end(reason),
        None => trail::note_stranger(&shared.audit, reason),
    }
    SessionError::SignInEnded
}

/// Pages are for physicians; a device that is to destroy what it holds, and one that needs a user, gets nothing.
fn may_take_calls(shared: &Shared, speaker: &Speaker) -> bool {
    let Principal { role, user, .. } = &speaker.principal;
    let is_physician = matches!(role, Role::TelePhysician | Role::EmergencyPhysician);
    is_physician && !speaker.is_wiped && (user.is_some() || !shared.users.requires_user(*role))
}

/// Calls, until one side ends it.
async fn calls(
    shared: &Arc<Shared>,
    page: &mut Page,
    (speaker, trail, mut pass): (&Speaker, &Trail, Pass),
    id: SessionId,
) -> SessionError {
    pass.during(Box::pin(trail.begin(speaker))).await;
    drop(pass);
    let Principal { tenant, unit, device, role, user } = speaker.principal.clone();
    info!(session = %id, %device, "a browser's session");
    let welcome = Welcome {
        session: id,
        tenant,
        unit,
        device,
        user: Welcome::user(user),
        role,
        until_ms: speaker.sign_ins().until_ms,
        server_time_ms: shared.environment.now_ms(),
    };
    if let Err(error) = page.tell(welcome.encode()).await {
        return error;
    }
    let _open = OpenSession::count(shared);
    let mut line = Line::new(shared, id);
    let member = shared.live.enter(id, shared.policy.row(role).vitals);
    let vitals = member.outbox();
    loop {
        let told = tokio::select! {
            biased;
            told = line.next() => Ok(Some(told)),
            said = page.next_text() => match said {
                Ok(text) => hear(&mut line, speaker, &text).await,
                Err(error) => Err(error),
            },
            // What is newest is known at the last moment; a page that takes nothing loses what is old.
            () = vitals.filled() => {
                if let Some(datagram) = vitals.take()
                    && let Err(error) = page.show(datagram).await
                {
                    return error;
                }
                continue;
            }
        };
        let told = match told {
            Ok(Some(told)) => page.tell(message::encode(&told)).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            return error;
        }
    }
}

async fn hear(line: &mut Line, speaker: &Speaker, text: &str) -> Result<Option<Told>, SessionError> {
    let say = serde_json::from_str(text).map_err(|_| SessionError::Unexpected("a message that is not about calls"))?;
    line.hear(speaker, say).await
}
