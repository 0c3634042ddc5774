//! Strategies for everything that is encoded, and the edits an adversary or a newer version makes to encodings.

use bytes::Bytes;
use feldakte_core::{
    access::{Access, BreakGlassReason, Grant, Role, Subject},
    ids::{
        ActorId, CaseId, ChangeHash, Cursor, DeviceId, DocumentId, Epoch, Part, Position, SessionId, TenantId, UnitId,
        UserId,
    },
    lane::Lane,
    limits,
    log::{Binding, Entry, Quarantine, QuarantineReason},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::{
    Answer, BreakGlass, ChangesFrame, ClientMessage, Credential, Durable, Fetch, Hello, Login, LoginEvent,
    OpenedOffline, Outcome, Push, RawEntry, Reason, Receipts, Refused, Renew, Renewed, Seen, ServerMessage, Share,
    SignInRefusal, SignedIn, Snapshot, Unbundled, Welcome, WipeOrder,
};

mod calls;

pub(crate) fn document() -> impl Strategy<Value = DocumentId> {
    (any::<[u8; 16]>(), select(&Part::ALL[..])).prop_map(|(case, part)| {
        let case = CaseId::from_slice(&case).expect("16 bytes");
        DocumentId { case, part }
    })
}

pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let grant = (subject(), select(&[Access::Read, Access::Write][..]), option::of(any::<i64>()));
    let grant = grant.prop_map(|(subject, access, until)| Grant { subject, access, until });
    let authority = (vec(grant, 0..4), vec(subject(), 0..4));
    (document(), authority, vec(binding(), 0..4), vec(quarantine(), 0..4), vec(blob(), 0..6)).prop_map(
        |(document, (grants, revoked), bindings, quarantined, changes)| Entry {
            document,
            grants,
            revoked,
            bindings,
            quarantined,
            changes,
        },
    )
}

pub(crate) fn unbundled() -> impl Strategy<Value = Unbundled> {
    let snapshot = (document(), position(), blob(), vec(binding(), 0..4), vec(quarantine(), 0..4)).prop_map(
        |(document, position, chunks, bindings, quarantined)| Snapshot {
            document,
            position,
            chunks,
            bindings,
            quarantined,
        },
    );
    (vec(snapshot, 0..5), vec(document(), 0..5))
        .prop_map(|(snapshots, unavailable)| Unbundled { snapshots, unavailable })
}

pub(crate) fn client_message() -> impl Strategy<Value = ClientMessage> {
    let cursor =
        (any::<[u8; 16]>(), position()).prop_map(|(epoch, position)| Cursor { epoch: epoch_of(epoch), position });
    let cases = vec(document().prop_map(|document| document.case), 0..=limits::IN_USE_MAX);
    let users = (option::of(tenant()), option::of(credential()), vec(credential(), 0..4), (cases, any::<bool>()));
    let hello = (vec(any::<u32>(), 0..16), "\\PC{0,16}", option::of(cursor), users).prop_map(
        |(versions, build, cursor, (tenant, active, delivers, (in_use, on_mission)))| {
            ClientMessage::Hello(Hello { versions, build, cursor, tenant, active, delivers, in_use, on_mission })
        },
    );
    let push = (any::<u64>(), document(), vec(blob(), 0..6), option::of(user()))
        .prop_map(|(push, document, changes, user)| ClientMessage::Push(Push { push, document, changes, user }));
    let fetch = vec(document(), 0..20).prop_map(|documents| ClientMessage::Fetch(Fetch { documents }));
    let renew = (any::<u64>(), text()).prop_map(|(request, csr)| ClientMessage::Renew(Renew { request, csr }));
    let enter = select(&Lane::ALL[..]).prop_map(ClientMessage::Enter);
    prop_oneof![
        hello,
        push,
        fetch,
        break_glass(),
        share(),
        receipts(),
        renew,
        enter,
        Just(ClientMessage::Tail),
        calls::say().prop_map(ClientMessage::Say)
    ]
}

fn break_glass() -> impl Strategy<Value = ClientMessage> {
    (any::<u64>(), document(), reason(), text()).prop_map(|(request, document, reason, text)| {
        ClientMessage::BreakGlass(BreakGlass { request, case: document.case, reason, text })
    })
}

fn share() -> impl Strategy<Value = ClientMessage> {
    let access = option::of(select(&[Access::Read, Access::Write][..]));
    (any::<u64>(), document(), vec(select(&Part::ALL[..]), 0..3), subject(), access, moment()).prop_map(
        |(request, document, parts, subject, access, until_ms)| {
            ClientMessage::Share(Share { request, case: document.case, parts, subject, access, until_ms })
        },
    )
}

fn receipts() -> impl Strategy<Value = ClientMessage> {
    let seen = (document(), option::of(user()), any::<i64>(), any::<i64>(), any::<u32>())
        .prop_map(|(document, user, first_ms, last_ms, count)| Seen { document, user, first_ms, last_ms, count });
    let opened = (document(), option::of(user()), reason(), text(), any::<i64>()).prop_map(
        |(document, user, reason, text, at_ms)| OpenedOffline { case: document.case, user, reason, text, at_ms },
    );
    let login = (user(), select(&LoginEvent::ALL[..]), any::<i64>()).prop_map(|(user, what, at_ms)| Login {
        user,
        what,
        at_ms,
    });
    let wiped = option::of(any::<[u8; 16]>());
    (any::<u64>(), vec(document(), 0..4), wiped, vec(seen, 0..4), vec(opened, 0..4), vec(login, 0..4)).prop_map(
        |(request, purged, wiped, reads, opened, logins)| {
            ClientMessage::Receipts(Receipts { request, purged, wiped, reads, opened, logins })
        },
    )
}

fn reason() -> impl Strategy<Value = BreakGlassReason> {
    select(BreakGlassReason::ALL.map(|(reason, _)| reason).to_vec())
}

fn credential() -> impl Strategy<Value = Credential> {
    prop_oneof![
        text().prop_map(Credential::Token),
        blob().prop_map(Credential::Ticket),
        user().prop_map(Credential::Local),
    ]
}

fn signed_in() -> impl Strategy<Value = SignedIn> {
    let role = select(&Role::ALL[..]);
    let signed_in = (user(), role, moment(), blob()).prop_map(|(user, role, until_ms, ticket)| SignedIn::As {
        user,
        role,
        until_ms,
        ticket,
    });
    prop_oneof![signed_in, select(&SignInRefusal::ALL[..]).prop_map(SignedIn::Refused)]
}

pub(crate) fn server_message() -> impl Strategy<Value = ServerMessage> {
    let reason = (1..=15u32).prop_map(|number| Reason::from_number(number).expect("1 to 15 are reasons"));
    let refused =
        (any::<u32>(), reason, any::<u64>()).prop_map(|(index, reason, expected)| Refused { index, reason, expected });
    let durable = (any::<u64>(), position(), option::of(place()), vec(refused, 0..6)).prop_map(
        |(push, position, cursor, refused)| ServerMessage::Durable(Durable { push, position, cursor, refused }),
    );
    let raw = (position(), blob()).prop_map(|(position, entry)| RawEntry { position, entry });
    let changes = (option::of(place()), vec(raw, 0..6), vec(document(), 0..6), any::<bool>()).prop_map(
        |(to, entries, bootstrap, caught_up)| {
            ServerMessage::Changes(ChangesFrame { to, entries, bootstrap, caught_up })
        },
    );
    let outcome = select(&Outcome::ALL[..]);
    let answer =
        (any::<u64>(), outcome).prop_map(|(request, outcome)| ServerMessage::Answer(Answer { request, outcome }));
    let wipe = any::<[u8; 16]>().prop_map(|order| ServerMessage::Wipe(WipeOrder { order }));
    let renew_at_ms = option::of(any::<i64>().prop_filter("0 is nothing", |at| *at != 0));
    let renewed = (any::<u64>(), text(), text(), renew_at_ms).prop_map(|(request, certificate, roots, renew_at_ms)| {
        ServerMessage::Renewed(Renewed { request, certificate, roots, renew_at_ms })
    });
    let told = calls::told().prop_map(ServerMessage::Told);
    prop_oneof![welcome(), durable, changes, answer, wipe, renewed, told]
}

fn welcome() -> impl Strategy<Value = ServerMessage> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>());
    let users = (option::of(signed_in()), vec(signed_in(), 0..4));
    (any::<u32>(), ids, position(), any::<bool>(), any::<i64>(), option::of(position()), users).prop_map(
        |(version, (session, epoch), head, caught_up, server_time_ms, restored_to, (active, delivers))| {
            let session = SessionId::from_slice(&session).expect("16 bytes");
            let epoch = epoch_of(epoch);
            ServerMessage::Welcome(Welcome {
                version,
                session,
                epoch,
                head,
                caught_up,
                server_time_ms,
                restored_to,
                active,
                delivers,
            })
        },
    )
}

fn epoch_of(bytes: [u8; 16]) -> Epoch {
    Epoch::from_slice(&bytes).expect("16 bytes")
}

fn position() -> impl Strategy<Value = Position> {
    any::<u64>().prop_map(Position)
}

/// A position that is one: 0 stands for "none" in some fields.
fn place() -> impl Strategy<Value = Position> {
    (1..=u64::MAX).prop_map(Position)
}

fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn unit() -> impl Strategy<Value = UnitId> {
    "[a-z0-9-]{1,63}".prop_map(|text| text.parse().expect("a slug"))
}

fn device() -> impl Strategy<Value = DeviceId> {
    any::<[u8; 16]>().prop_map(|bytes| DeviceId::from_slice(&bytes).expect("16 bytes"))
}

fn user() -> impl Strategy<Value = UserId> {
    any::<[u8; 16]>().prop_map(|bytes| UserId::from_slice(&bytes).expect("16 bytes"))
}

fn tenant() -> impl Strategy<Value = TenantId> {
    "[a-z0-9-]{1,63}".prop_map(|text| text.parse().expect("a slug"))
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}".prop_map(|text| text)
}

/// A moment that is one: 0 stands for "without an end" in some fields.
fn moment() -> impl Strategy<Value = Option<i64>> {
    option::of(any::<i64>().prop_filter("not 0", |ms| *ms != 0))
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        unit().prop_map(Subject::Unit),
        device().prop_map(Subject::Device),
        user().prop_map(Subject::User),
        (tenant(), unit()).prop_map(|(tenant, unit)| Subject::Guest { tenant, unit }),
    ]
}

fn binding() -> impl Strategy<Value = Binding> {
    let who = (device(), option::of(tenant()), unit(), select(&Role::ALL[..]), option::of(user()));
    (any::<[u8; 16]>(), who).prop_map(|(actor, (device, home, unit, role, user))| Binding {
        actor: ActorId(actor),
        device,
        home,
        unit,
        role,
        user,
    })
}

fn quarantine() -> impl Strategy<Value = Quarantine> {
    let reason = select(&[QuarantineReason::Panicked, QuarantineReason::Rejected, QuarantineReason::TooDeep][..]);
    (any::<[u8; 32]>(), reason).prop_map(|(change, reason)| Quarantine { change: ChangeHash(change), reason })
}

/// The content of an encoded frame.
pub(crate) fn content(frame: Bytes) -> Bytes {
    let mut decoder = crate::FrameDecoder::new(limits::BUNDLE_LEN_MAX);
    decoder.extend(&frame);
    let content = decoder.next_frame().expect("we keep our own limits").expect("a whole frame");
    assert!(!decoder.is_mid_frame(), "one frame and nothing else");
    content
}

/// `message` with a field of each wire type behind it that this version does not know.
pub(crate) fn with_unknown_fields(message: &[u8]) -> Bytes {
    let mut out = message.to_vec();
    encode_key(1000, WireType::Varint, &mut out);
    encode_varint(u64::MAX, &mut out);
    encode_key(1001, WireType::SixtyFourBit, &mut out);
    out.extend([0xff; 8]);
    encode_key(1002, WireType::ThirtyTwoBit, &mut out);
    out.extend([0xff; 4]);
    field(1003, b"from a later version", &mut out);
    out.into()
}

/// Appends a field with a length.
pub(crate) fn field(number: u32, content: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend(content);
}

/// A message of one field.
pub(crate) fn wrap(number: u32, content: &[u8]) -> Bytes {
    let mut out = Vec::new();
    field(number, content, &mut out);
    out.into()
}
