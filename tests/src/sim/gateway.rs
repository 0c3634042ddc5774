//! The gateway's machine: starts the real gateway on what its disk holds, and takes orders until its power is cut.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use feldakte_certs::deny::DenyList;
use feldakte_core::{
    access::{Grant, Policy, Subject},
    call::Plan,
    ids::DocumentId,
    limits,
    limits::Shares,
};
use feldakte_gateway::{
    environment::Environment,
    gateway::{Gateway, Parts},
    tls,
    users::Users,
};

use super::{
    pki,
    watched_store::WatchedStore,
    witness::{AuthorityPromise, Invariant},
    world::{World, clock},
};

/// What the gateway's operator does.
#[derive(Debug, Clone)]
pub enum GatewayOrder {
    /// Grants a document.
    Grant(DocumentId, Grant),
    /// Ends a subject's grants of a document.
    Revoke(DocumentId, Subject),
    /// Ends the process in order.
    Drain,
}

/// One life of the machine. Does not return: the driver ends it.
pub async fn run(world: Arc<World>) -> turmoil::Result {
    let machine = &world.gateway;
    let ending = tokio::select! {
        biased;
        () = machine.power.cut.notified() => Ending::PowerCut,
        ending = serve(&world) => ending,
    };
    world.trace.note(format_args!("gateway ends: {ending:?}"));
    if ending == Ending::PowerCut {
        machine.store.crash();
    }
    machine.power.is_out.store(true, Ordering::Relaxed);
    std::future::pending().await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    PowerCut,
    Drained,
    StoreFailed,
}

async fn serve(world: &Arc<World>) -> Ending {
    let machine = &world.gateway;
    world.witness.found_log(&machine.store.entries());
    let deny = DenyList::default();
    let pki = pki::shared();
    let config = tls::endpoint_config(&pki.reset_secret());
    let mut server = pki.server_config(deny.clone());
    let transport = Arc::get_mut(&mut server.transport).expect("nobody else has the new configuration");
    transport.send_window(world.plan.send_window);
    let endpoint = machine.port.server(PORT, config, server);
    let batch_max = SESSIONS_STALLED * world.tablets.len() * PUSHES_MAX + ORDERS_MAX;
    let store = WatchedStore::new(
        machine.store.clone(),
        world.witness.clone(),
        machine.faults.clone(),
        machine.permits,
        batch_max,
        machine.next_seed(),
    );
    let environment = Environment::simulated(clock(0), machine.next_seed());
    let endpoint = endpoint.expect("the port is free");
    let users = Users::local_only().expect("randomness");
    let (store, audit, audit_key) = (Arc::new(store), machine.audit.clone(), machine.audit_key.clone());
    let (policy, shares, enrolment, matters) = (Policy::default(), Shares::DEFAULT, None, machine.matters.clone());
    let (calls, grpc, web, relay) = (Plan::empty(), None, None, None);
    let parts = Parts {
        endpoint,
        grpc,
        web,
        store,
        matters,
        audit,
        audit_key,
        deny,
        enrolment,
        policy,
        users,
        calls,
        relay,
        shares,
        environment,
    };
    let gateway = match Gateway::start(parts).await {
        Ok(gateway) => gateway,
        Err(error) => {
            world.witness.violate(Invariant::Sanity, format!("the gateway does not start: {error}"));
            return Ending::StoreFailed;
        }
    };
    world.trace.note(format_args!("gateway serves"));
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut lagged = 0;
    loop {
        let order = tokio::select! {
            biased;
            () = gateway.failed() => return Ending::StoreFailed,
            _ = look.tick() => {
                judge_bounds(world, &gateway);
                let lags = gateway.metrics().readers_lagged.get();
                if std::mem::replace(&mut lagged, lags) != lags {
                    world.trace.note(format_args!("{lags} readers have lagged"));
                }
                continue;
            }
            order = machine.orders.next() => order,
        };
        if let GatewayOrder::Drain = order {
            gateway.drain().await;
            return Ending::Drained;
        }
        tokio::select! {
            biased;
            () = gateway.failed() => return Ending::StoreFailed,
            () = obey(world, &gateway, order) => {}
        }
    }
}

async fn obey(world: &World, gateway: &Gateway, order: GatewayOrder) {
    let (document, grants, revoked) = match order {
        GatewayOrder::Grant(document, grant) => (document, vec![grant], Vec::new()),
        GatewayOrder::Revoke(document, subject) => (document, Vec::new(), vec![subject]),
        GatewayOrder::Drain => return,
    };
    let result = match revoked.is_empty() {
        true => gateway.grant(document, grants.clone()).await,
        false => gateway.revoke(document, revoked.clone()).await,
    };
    match result {
        Ok(position) => {
            world.trace.note(format_args!("authority over {document} at {position}: {grants:?} -{revoked:?}"));
            world.witness.told_authority(AuthorityPromise { document, position, grants, revoked });
        }
        Err(error) => world.trace.note(format_args!("authority over {document} unchanged: {error}")),
    }
}

fn judge_bounds(world: &World, gateway: &Gateway) {
    let census = gateway.census();
    // A device that comes back supersedes its old session, which takes a moment to end.
    let sessions_max = 2 * world.tablets.len();
    let checks = [
        // An attempt to connect that the tablet has given up is there until it should have said hello.
        ("connections", census.connections, sessions_max + ATTEMPTS_MAX * world.tablets.len()),
        ("mailboxes", census.mailboxes, sessions_max),
        ("live entries in a mailbox", census.mailbox_entries, limits::READER_OUTBOX),
        ("bytes in a mailbox", census.mailbox_bytes, limits::READER_OUTBOX_BYTES),
        ("answers in a mailbox", census.mailbox_answers, PUSHES_MAX),
        ("submissions", census.submissions, SESSIONS_STALLED * world.tablets.len() * PUSHES_MAX + ORDERS_MAX),
        // Ledgers of documents that were refused to be opened stand beside those of the log.
        ("bytes of submissions", census.submission_bytes, limits::SEQUENCER_BYTES),
        ("bytes of ledgers", census.ledger_bytes, LEDGER_BYTES_MAX),
    ];
    for (what, found, max) in checks {
        if found > max {
            world.witness.violate(Invariant::Bounds, format!("{found} {what}, at most {max} are expected"));
        }
    }
}

/// Where the gateway listens.
pub const PORT: u16 = 4433;
/// Pushes that one device may have under way: half of what the gateway takes.
const PUSHES_MAX: usize = limits::PUSHES_IN_FLIGHT / 2;
/// Attempts that a tablet begins within [`limits::HELLO_WITHIN`], one every half second.
const ATTEMPTS_MAX: usize = 10;
/// While the store takes no commits, pushes of a device's older sessions wait beside those of its present one.
const SESSIONS_STALLED: usize = 4;
/// Acts of authority and quarantine marks that may stand beside them in one commit.
const ORDERS_MAX: usize = 8;
/// A simulation writes some thousand changes; each is worth some fifty bytes of ledger.
const LEDGER_BYTES_MAX: usize = 4 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(50);
