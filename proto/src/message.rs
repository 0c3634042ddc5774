//! Messages of the session and its other lanes as the rest of the product sees them.

use bytes::Bytes;
use feldakte_core::{
    call::{Say, Told},
    ids::{CaseId, Cursor, DocumentId, Epoch, Position, SessionId, TenantId, UserId},
    lane::Lane,
    limits,
};

use crate::{
    authority::{Answer, BreakGlass, Credential, Receipts, Renew, Renewed, Share, SignedIn, WipeOrder},
    convert::{self, Refused},
    error::DecodeError,
    frame::frame_of,
    packed, pb, shape,
};

/// The protocol version this build speaks best. In the first one nothing on the session stream is packed; before the third
/// nothing is said about calls.
pub const VERSION: u32 = 3;

/// The first one with calls.
pub const CALLS_SINCE: u32 = 3;

/// The first one.
pub const VERSION_PLAIN: u32 = 1;

/// All that it speaks, best first.
pub const VERSIONS: [u32; 3] = [VERSION, PACKED_SINCE, VERSION_PLAIN];

/// The version both sides speak: the device's first choice that we know.
pub fn negotiate(offered: &[u32]) -> Option<u32> {
    offered.iter().copied().find(|version| VERSIONS.contains(version))
}

/// From device to gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// First.
    Hello(Hello),
    /// Changes to be made durable.
    Push(Push),
    /// Snapshots wanted.
    Fetch(Fetch),
    /// An emergency.
    BreakGlass(BreakGlass),
    /// Somebody else's grant begins or ends.
    Share(Share),
    /// What has happened on the device.
    Receipts(Receipts),
    /// A new certificate wanted.
    Renew(Renew),
    /// First on a stream beside the session's: which lane it is.
    Enter(Lane),
    /// Nothing: see [`feldakte_core::lane::TAIL_AFTER`].
    Tail,
    /// About calls.
    Say(Say),
}

/// From gateway to device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage {
    /// First.
    Welcome(Welcome),
    /// A push is durable.
    Durable(Durable),
    /// Entries of the log.
    Changes(ChangesFrame),
    /// What became of a request.
    Answer(Answer),
    /// The device is to destroy what it holds.
    Wipe(WipeOrder),
    /// A new certificate.
    Renewed(Renewed),
    /// Nothing: see [`feldakte_core::lane::TAIL_AFTER`].
    Tail,
    /// About calls.
    Told(Told),
}

/// A device introduces itself; who it is stands in its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// Versions it speaks, best first.
    pub versions: Vec<u32>,
    /// SDK build, for support.
    pub build: String,
    /// How far it is.
    pub cursor: Option<Cursor>,
    /// Whose log it reads; its own tenant's when `None`.
    pub tenant: Option<TenantId>,
    /// Who uses the device.
    pub active: Option<Credential>,
    /// Whose unsent work it delivers besides.
    pub delivers: Vec<Credential>,
    /// Cases that somebody looks at on it.
    pub in_use: Vec<CaseId>,
    /// Whether it claims to be on a mission.
    pub on_mission: bool,
}

/// The gateway takes the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version both speak.
    pub version: u32,
    /// Names the session in logs.
    pub session: SessionId,
    /// The log's incarnation.
    pub epoch: Epoch,
    /// The log's last position.
    pub head: Position,
    /// Nothing to send between the device's cursor and `head`.
    pub caught_up: bool,
    /// Gateway clock, milliseconds since 1970-01-01 UTC.
    pub server_time_ms: i64,
    /// Set when the log was restored: old positions beyond it were lost.
    pub restored_to: Option<Position>,
    /// What became of [`Hello::active`].
    pub active: Option<SignedIn>,
    /// What became of [`Hello::delivers`], in its order.
    pub delivers: Vec<SignedIn>,
}

/// Changes of one document.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Push {
    /// Ascending within the session.
    pub push: u64,
    /// Which document.
    pub document: DocumentId,
    /// Change chunks, unread.
    pub changes: Vec<Bytes>,
    /// Whose work it is, one of those who signed in with this session; the device's own when `None`.
    pub user: Option<UserId>,
}

/// Documents wanted as snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Most wanted first.
    pub documents: Vec<DocumentId>,
}

/// A push is durable, but for what was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// Which push.
    pub push: u64,
    /// Where it stands.
    pub position: Position,
    /// Everything this device may see up to here has been sent; `None` while catching up.
    pub cursor: Option<Position>,
    /// What was not taken.
    pub refused: Vec<Refused>,
}

/// Entries of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangesFrame {
    /// Where the cursor is after storing this frame; `None` leaves it.
    pub to: Option<Position>,
    /// Entries as stored.
    pub entries: Vec<RawEntry>,
    /// Documents to fetch as snapshots.
    pub bootstrap: Vec<DocumentId>,
    /// What follows is live.
    pub caught_up: bool,
}

/// An entry that is still encoded: the gateway passes on what it stored, the device decodes.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// Its place.
    pub position: Position,
    /// For [`crate::decode_entry`].
    pub entry: Bytes,
}

feldakte_core::hide_content! { Push { push, document }, RawEntry { position } }

impl ClientMessage {
    /// As one frame, header included.
    pub fn encode(&self) -> Bytes {
        let body = match self {
            ClientMessage::Hello(hello) => pb::client_frame::Body::Hello(hello.into()),
            ClientMessage::Push(push) => pb::client_frame::Body::Push(push.into()),
            ClientMessage::Fetch(fetch) => pb::client_frame::Body::Fetch(fetch.into()),
            ClientMessage::BreakGlass(request) => pb::client_frame::Body::BreakGlass(request.into()),
            ClientMessage::Share(request) => pb::client_frame::Body::Share(request.into()),
            ClientMessage::Receipts(receipts) => pb::client_frame::Body::Receipts(receipts.into()),
            ClientMessage::Renew(request) => pb::client_frame::Body::Renew(request.into()),
            ClientMessage::Tail => pb::client_frame::Body::Tail(pb::Tail {}),
            ClientMessage::Say(say) => pb::client_frame::Body::Say(say.into()),
            ClientMessage::Enter(lane) => pb::client_frame::Body::Enter(pb::Enter { lane: lane.number() }),
        };
        frame_of(&pb::ClientFrame { body: Some(body) })
    }

    /// The same for a gateway that speaks that version: packed where that makes it smaller.
    pub fn encode_for(&self, version: u32) -> Bytes {
        match self {
            ClientMessage::Push(push) if version >= PACKED_SINCE => {
                let body = pb::client_frame::Body::Push(packed::push(push.into()));
                frame_of(&pb::ClientFrame { body: Some(body) })
            }
            _ => self.encode(),
        }
    }

    /// Reads one frame's content.
    ///
    /// # Errors
    /// When it is not a message, or exceeds a limit.
    pub fn decode(frame: Bytes) -> Result<Self, DecodeError> {
        let pb::ClientFrame { body } = shape::decode(frame, "client frame", &shape::CLIENT_FRAME)?;
        Ok(match body.ok_or(DecodeError::MissingField("body"))? {
            pb::client_frame::Body::Hello(hello) => ClientMessage::Hello(hello.try_into()?),
            pb::client_frame::Body::Push(push) => ClientMessage::Push(push.try_into()?),
            pb::client_frame::Body::Fetch(fetch) => ClientMessage::Fetch(fetch.try_into()?),
            pb::client_frame::Body::BreakGlass(request) => ClientMessage::BreakGlass(request.try_into()?),
            pb::client_frame::Body::Share(request) => ClientMessage::Share(request.try_into()?),
            pb::client_frame::Body::Receipts(receipts) => ClientMessage::Receipts(receipts.try_into()?),
            pb::client_frame::Body::Renew(request) => ClientMessage::Renew(request.try_into()?),
            pb::client_frame::Body::Tail(pb::Tail {}) => ClientMessage::Tail,
            pb::client_frame::Body::Say(say) => ClientMessage::Say(say.try_into()?),
            pb::client_frame::Body::Enter(pb::Enter { lane }) => {
                ClientMessage::Enter(Lane::from_number(lane).ok_or(DecodeError::UnknownValue("lane"))?)
            }
        })
    }
}

impl ServerMessage {
    /// As one frame, header included.
    pub fn encode(&self) -> Bytes {
        let body = match self {
            ServerMessage::Welcome(welcome) => pb::server_frame::Body::Welcome(welcome.into()),
            ServerMessage::Durable(durable) => pb::server_frame::Body::Durable(durable.into()),
            ServerMessage::Changes(changes) => pb::server_frame::Body::Changes(changes.into()),
            ServerMessage::Answer(answer) => pb::server_frame::Body::Answer(answer.into()),
            ServerMessage::Wipe(order) => pb::server_frame::Body::Wipe(order.into()),
            ServerMessage::Renewed(renewed) => pb::server_frame::Body::Renewed(renewed.into()),
            ServerMessage::Tail => pb::server_frame::Body::Tail(pb::Tail {}),
            ServerMessage::Told(told) => pb::server_frame::Body::Told(told.into()),
        };
        frame_of(&pb::ServerFrame { body: Some(body) })
    }

    /// The same for a device that speaks that version: packed where that makes it smaller.
    pub fn encode_for(&self, version: u32) -> Bytes {
        match self {
            ServerMessage::Changes(changes) if version >= PACKED_SINCE => {
                let body = pb::server_frame::Body::Changes(packed::changes(changes.into()));
                frame_of(&pb::ServerFrame { body: Some(body) })
            }
            _ => self.encode(),
        }
    }

    /// Reads one frame's content.
    ///
    /// # Errors
    /// When it is not a message.
    pub fn decode(frame: Bytes) -> Result<Self, DecodeError> {
        let pb::ServerFrame { body } = shape::decode(frame, "server frame", &shape::SERVER_FRAME)?;
        Ok(match body.ok_or(DecodeError::MissingField("body"))? {
            pb::server_frame::Body::Welcome(welcome) => ServerMessage::Welcome(welcome.try_into()?),
            pb::server_frame::Body::Durable(durable) => ServerMessage::Durable(durable.try_into()?),
            pb::server_frame::Body::Changes(changes) => ServerMessage::Changes(changes.try_into()?),
            pb::server_frame::Body::Answer(answer) => ServerMessage::Answer(answer.try_into()?),
            pb::server_frame::Body::Wipe(order) => ServerMessage::Wipe(order.try_into()?),
            pb::server_frame::Body::Renewed(renewed) => ServerMessage::Renewed(renewed.try_into()?),
            pb::server_frame::Body::Tail(pb::Tail {}) => ServerMessage::Tail,
            pb::server_frame::Body::Told(told) => ServerMessage::Told(told.try_into()?),
        })
    }
}

impl From<&Hello> for pb::Hello {
    fn from(Hello { versions, build, cursor, tenant, active, delivers, in_use, on_mission }: &Hello) -> Self {
        Self {
            versions: versions.clone(),
            build: build.clone(),
            cursor: cursor.map(convert::cursor_to_pb),
            tenant: tenant.as_ref().map(TenantId::to_string).unwrap_or_default(),
            active: active.as_ref().map(pb::Credential::from),
            delivers: delivers.iter().map(pb::Credential::from).collect(),
            in_use: in_use.iter().map(|case| Bytes::copy_from_slice(case.as_bytes())).collect(),
            on_mission: *on_mission,
        }
    }
}

impl TryFrom<pb::Hello> for Hello {
    type Error = DecodeError;
    fn try_from(
        pb::Hello { versions, build, cursor, tenant, active, delivers, in_use, on_mission }: pb::Hello,
    ) -> Result<Self, DecodeError> {
        convert::at_most("versions", versions.len(), VERSIONS_MAX)?;
        convert::at_most("build", build.len(), BUILD_LEN_MAX)?;
        convert::at_most("delivers", delivers.len(), limits::DELIVERS_MAX)?;
        convert::at_most("in_use", in_use.len(), limits::IN_USE_MAX)?;
        let cursor = cursor.map(convert::cursor_from_pb).transpose()?;
        let tenant = (!tenant.is_empty()).then(|| tenant.parse()).transpose()?;
        let active = active.map(Credential::try_from).transpose()?;
        let delivers = delivers.into_iter().map(Credential::try_from).collect::<Result<_, _>>()?;
        let in_use = in_use.iter().map(|case| CaseId::from_slice(case)).collect::<Result<_, _>>()?;
        Ok(Self { versions, build, cursor, tenant, active, delivers, in_use, on_mission })
    }
}

impl From<&Welcome> for pb::Welcome {
    fn from(welcome: &Welcome) -> Self {
        let Welcome { version, session, epoch, head, caught_up, server_time_ms, restored_to, active, delivers } =
            welcome;
        Self {
            version: *version,
            session: Bytes::copy_from_slice(session.as_bytes()),
            epoch: Bytes::copy_from_slice(epoch.as_bytes()),
            head: head.0,
            caught_up: *caught_up,
            server_time_ms: *server_time_ms,
            restored_to: restored_to.map(|position| position.0),
            active: active.as_ref().map(pb::SignedIn::from),
            delivers: delivers.iter().map(pb::SignedIn::from).collect(),
        }
    }
}

impl TryFrom<pb::Welcome> for Welcome {
    type Error = DecodeError;
    fn try_from(welcome: pb::Welcome) -> Result<Self, DecodeError> {
        let pb::Welcome { version, session, epoch, head, caught_up, server_time_ms, restored_to, active, delivers } =
            welcome;
        convert::at_most("delivers", delivers.len(), limits::DELIVERS_MAX)?;
        Ok(Self {
            version,
            session: SessionId::from_slice(&session)?,
            epoch: Epoch::from_slice(&epoch)?,
            head: Position(head),
            caught_up,
            server_time_ms,
            restored_to: restored_to.map(Position),
            active: active.map(SignedIn::try_from).transpose()?,
            delivers: delivers.into_iter().map(SignedIn::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Push> for pb::Push {
    fn from(Push { push, document, changes, user }: &Push) -> Self {
        let (document, user) = (convert::document_to_pb(*document), convert::user_to_pb(*user));
        Self { push: *push, document, changes: changes.clone(), user, packed: None }
    }
}

impl TryFrom<pb::Push> for Push {
    type Error = DecodeError;
    fn try_from(push: pb::Push) -> Result<Self, DecodeError> {
        let pb::Push { push, document, changes, user, packed } = push;
        let changes = packed::unpacked_changes(changes, packed)?;
        convert::at_most("changes", changes.len(), limits::PUSH_CHANGES_MAX)?;
        let (document, user) = (DocumentId::from_slice(&document)?, convert::user_from_pb(&user)?);
        Ok(Self { push, document, changes, user })
    }
}

impl From<&Fetch> for pb::Fetch {
    fn from(Fetch { documents }: &Fetch) -> Self {
        Self { documents: documents.iter().copied().map(convert::document_to_pb).collect() }
    }
}

impl TryFrom<pb::Fetch> for Fetch {
    type Error = DecodeError;
    fn try_from(pb::Fetch { documents }: pb::Fetch) -> Result<Self, DecodeError> {
        convert::at_most("documents", documents.len(), limits::FETCH_DOCUMENTS_MAX)?;
        Ok(Self { documents: convert::documents_from_pb(documents)? })
    }
}

impl From<&Durable> for pb::Durable {
    fn from(Durable { push, position, cursor, refused }: &Durable) -> Self {
        Self {
            push: *push,
            position: position.0,
            cursor: cursor.map_or(0, |cursor| cursor.0),
            refused: refused.iter().map(pb::Refused::from).collect(),
        }
    }
}

impl TryFrom<pb::Durable> for Durable {
    type Error = DecodeError;
    fn try_from(pb::Durable { push, position, cursor, refused }: pb::Durable) -> Result<Self, DecodeError> {
        convert::at_most("refused", refused.len(), limits::PUSH_CHANGES_MAX)?;
        let refused = refused.into_iter().map(Refused::try_from).collect::<Result<_, _>>()?;
        let cursor = (cursor > 0).then_some(Position(cursor));
        Ok(Self { push, position: Position(position), cursor, refused })
    }
}

impl From<&ChangesFrame> for pb::Changes {
    fn from(ChangesFrame { to, entries, bootstrap, caught_up }: &ChangesFrame) -> Self {
        let positioned = |raw: &RawEntry| pb::Positioned { position: raw.position.0, entry: raw.entry.clone() };
        Self {
            to: to.map_or(0, |to| to.0),
            entries: entries.iter().map(positioned).collect(),
            bootstrap: bootstrap.iter().copied().map(convert::document_to_pb).collect(),
            caught_up: *caught_up,
            packed: Vec::new(),
        }
    }
}

impl TryFrom<pb::Changes> for ChangesFrame {
    type Error = DecodeError;
    fn try_from(changes: pb::Changes) -> Result<Self, DecodeError> {
        let pb::Changes { to, entries, bootstrap, caught_up, packed } = changes;
        let entries = packed::unpacked_entries(entries, packed)?;
        let raw = |pb::Positioned { position, entry }| RawEntry { position: Position(position), entry };
        Ok(Self {
            to: (to > 0).then_some(Position(to)),
            entries: entries.into_iter().map(raw).collect(),
            bootstrap: convert::documents_from_pb(bootstrap)?,
            caught_up,
        })
    }
}

/// The version from which on pushes and entries may be packed.
const PACKED_SINCE: u32 = 2;
/// Versions a device may offer: one build speaks a handful.
const VERSIONS_MAX: usize = 16;
/// Length of the build text.
const BUILD_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests;
