//! What an app is shown: cases, how safe they are, and the state of the link.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use feldakte_core::log::Binding;
pub use feldakte_core::{
    access::{Access, BreakGlassReason, Role, Subject},
    call,
    case::{
        Addendum, Claim, Conflict, DocumentView, Edit, ElementId, Entry, Event as CaseEvent, Fact, Finalisation, Flag,
        Link, Links, Order, OrderState, OrderStep, Outcome, Path, Provenance, Recorded, Status as CaseStatus, Verdict,
        schema::{self, CaseKind},
        vitals,
    },
    crdt::{Origin, Stamp, Value},
    ids::{
        ActorId, CallId, CaseId, ChangeHash, DeviceId, DocumentId, EntryId, OrderId, Part, TenantId, UnitId, UserId,
    },
};
pub use feldakte_proto::Reason;

pub use crate::{store::WipeStage, transport::Transport};

/// A case as it is on this device.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseView {
    /// Which.
    pub case: CaseId,
    /// Its documents, as far as this device holds them.
    pub documents: Vec<DocumentView>,
    /// How safe it is.
    pub sync: CaseSync,
    /// Who the actors in it really are, as certified by the gateway.
    pub authors: Vec<Author>,
}

/// A certified author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The actor inside the document.
    pub actor: ActorId,
    /// The device.
    pub device: DeviceId,
    /// Its tenant, when that is not the log's own: a guest's.
    pub home: Option<TenantId>,
    /// Its unit.
    pub unit: UnitId,
    /// As what it acted: the user's role, else the device's.
    pub role: Role,
    /// Who used it, when somebody had signed in.
    pub user: Option<UserId>,
}

impl From<Binding> for Author {
    fn from(Binding { actor, device, home, unit, role, user }: Binding) -> Self {
        Self { actor, device, home, unit, role, user }
    }
}

/// How safe the changes of this device to a case are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaseSync {
    /// Saved on this device only.
    pub local: u64,
    /// On their way; saved on this device.
    pub sent: u64,
    /// Durable at the gateway.
    pub durable: u64,
    /// Refused by the gateway; parked with reason and content.
    pub refused: u64,
    /// Made after access had ended, and kept at the gateway for a supervisor to decide.
    pub kept: u64,
    /// Parts of the case have not arrived yet.
    pub incomplete: bool,
    /// This device's access has ended.
    pub revoked: bool,
}

/// [`CaseSync`] in one word: the least safe that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncState {
    /// Something was refused and wants a person.
    Refused,
    /// Something is on this device only.
    Local,
    /// All that is on this device is on its way.
    Sent,
    /// Everything is durable at the gateway.
    Durable,
}

impl CaseSync {
    /// In one word.
    pub fn state(&self) -> SyncState {
        match self {
            CaseSync { refused: 1.., .. } => SyncState::Refused,
            CaseSync { local: 1.., .. } => SyncState::Local,
            CaseSync { sent: 1.., .. } => SyncState::Sent,
            _ => SyncState::Durable,
        }
    }
}

/// A line in the list of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseSummary {
    /// Which.
    pub case: CaseId,
    /// How safe it is.
    pub sync: CaseSync,
}

/// A refused change, kept for a person to decide.
#[derive(Debug, Clone, PartialEq)]
pub struct ParkedEdit {
    /// Why the gateway refused it.
    pub reason: Reason,
    /// What the user did.
    pub edits: Vec<Edit>,
}

/// Somebody who has signed in on this device before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceUser {
    /// A pseudonym.
    pub user: UserId,
    /// He uses the device at the moment.
    pub is_active: bool,
    /// He signs in with a PIN.
    pub has_pin: bool,
    /// Changes of his that the gateway has not confirmed.
    pub unsent: u64,
}

/// The link to the gateway. Connected means: the gateway has answered, not merely that a socket is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// The app wants no connection.
    Offline,
    /// Dialling, or waiting to dial again.
    Connecting,
    /// In session with the gateway.
    Connected,
    /// The gateway refuses this device until somebody acts: certificate expired or denied, app too old.
    Refused,
}

/// The whole client in one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The link.
    pub link: LinkState,
    /// Cases on this device.
    pub cases: u64,
    /// Changes over all cases.
    pub sync: CaseSync,
    /// Every change ever made on this device is durable at the gateway, in the log or kept for a supervisor. Computed from durable changes, never from
    /// an empty queue.
    pub all_safe: bool,
    /// Who uses the device.
    pub user: Option<UserId>,
    /// Changes of other users of this device that are not safe yet.
    pub others: u64,
    /// Gateway clock minus device clock, milliseconds; `None` before the first session.
    pub clock_offset_ms: Option<i64>,
    /// How far the order to destroy everything is, once it was given.
    pub wipe: Option<WipeStage>,
}

/// The path to the gateway as it is at the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkFacts {
    /// What carries the session.
    pub transport: Transport,
    /// Where the gateway was reached.
    pub gateway: SocketAddr,
    /// The device's own address towards it, if that can be told.
    pub local: Option<IpAddr>,
    /// Time there and back, smoothed.
    pub rtt: Duration,
    /// Share of the packets to the gateway that were lost in the last second, `0.0..=1.0`. `None` when none were sent, and
    /// over TCP, which does not tell.
    pub loss: Option<f64>,
    /// Bytes per second that were sent in the last second.
    pub up: Option<u64>,
    /// Bytes per second that came in the last second.
    pub down: Option<u64>,
    /// Bytes per second that the congestion control would send at the moment; an idle path has not been tried. `None` over
    /// TCP, which does not tell.
    pub up_capacity: Option<u64>,
    /// How long ago something was last seen to come from the gateway.
    pub age: Duration,
}

/// Something an app may want to show at once. Events are coalesced: a slow observer sees the newest state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The link has changed.
    Link(LinkState),
    /// The content of a case has changed.
    CaseChanged(CaseId, Changed),
    /// How safe a case is has changed.
    SyncChanged(CaseId),
    /// This device's access to the case has ended, its work is delivered, and its content has been destroyed.
    CaseRemoved(CaseId),
    /// The gateway was not heard of for longer than [`crate::ClientOptions::purge_after`]: what is safe there was removed
    /// from the device, and comes back at the next contact. Unsent work is still here.
    ContentExpired,
    /// Somebody else uses the device: forget what is on the screen, and read again.
    UserChanged,
    /// The user's token is believed no more: sign in again. His work is still delivered.
    SignInEnded,
    /// By order of the gateway everything on this device was destroyed.
    Wiped,
}

/// What of a case has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// These paths, and nothing else.
    Paths(BTreeSet<(Part, Path)>),
    /// Read it again: it was edited here, has just arrived, or so much has changed that nobody counts.
    Everything,
}

impl Default for Changed {
    fn default() -> Self {
        Changed::Paths(BTreeSet::new())
    }
}

/// Implemented by the app.
pub trait Observer: Send + Sync + 'static {
    /// Called from a task of the SDK, one event at a time. May take its time; it delays nothing but itself.
    fn on_event(&self, event: Event);
}
