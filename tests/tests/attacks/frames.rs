//! Frames that no honest device sends, before and after `Hello`: each ends its own connection, with the code that
//! names it.

use bytes::{BufMut, Bytes, BytesMut};
use feldakte_core::{ids::DocumentId, limits};
use feldakte_proto::{ClientMessage, CloseCode, Fetch, Hello, Push, VERSION, encode_frame};
use feldakte_tests::harness::{
    address::Transport,
    crew,
    local::Site,
    new_document,
    raw::{RawClient, hello},
};

use super::bystander::Bystander;

/// What is sent instead of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    Garbage,
    GarbageInAFrame,
    GarbageAfterHello,
    LengthZero,
    LengthZeroAfterHello,
    LengthMax,
    LengthMaxAfterHello,
    OversizeHello,
    OversizeFrame,
    TruncatedHello,
    TruncatedFrame,
    NothingAtAll,
    UnknownVersion,
    NoVersion,
    TooManyVersions,
    PushFirst,
    FetchFirst,
    SecondHello,
    EmptyMessage,
    UnknownMessage,
    PushNumberZero,
    PushNumberTwice,
    PushOfTooManyChanges,
    PushToNoDocument,
    PushOfCountlessFields,
    PushThatUnpacksBeyondTheLimit,
    PushThatIsABomb,
    FetchOfTooMany,
    FetchOfNoDocument,
    StreamReset,
}

impl Attack {
    pub const ALL: [Attack; 30] = [
        Attack::Garbage,
        Attack::GarbageInAFrame,
        Attack::GarbageAfterHello,
        Attack::LengthZero,
        Attack::LengthZeroAfterHello,
        Attack::LengthMax,
        Attack::LengthMaxAfterHello,
        Attack::OversizeHello,
        Attack::OversizeFrame,
        Attack::TruncatedHello,
        Attack::TruncatedFrame,
        Attack::NothingAtAll,
        Attack::UnknownVersion,
        Attack::NoVersion,
        Attack::TooManyVersions,
        Attack::PushFirst,
        Attack::FetchFirst,
        Attack::SecondHello,
        Attack::EmptyMessage,
        Attack::UnknownMessage,
        Attack::PushNumberZero,
        Attack::PushNumberTwice,
        Attack::PushOfTooManyChanges,
        Attack::PushToNoDocument,
        Attack::PushOfCountlessFields,
        Attack::PushThatUnpacksBeyondTheLimit,
        Attack::PushThatIsABomb,
        Attack::FetchOfTooMany,
        Attack::FetchOfNoDocument,
        Attack::StreamReset,
    ];

    /// The code with which the gateway must close.
    pub fn code(self) -> CloseCode {
        match self {
            Attack::Garbage
            | Attack::LengthMax
            | Attack::LengthMaxAfterHello
            | Attack::OversizeHello
            | Attack::OversizeFrame
            | Attack::PushThatUnpacksBeyondTheLimit => CloseCode::TooLarge,
            Attack::UnknownVersion | Attack::NoVersion => CloseCode::Version,
            // To take a stream back is to leave.
            Attack::StreamReset => CloseCode::Done,
            _ => CloseCode::Protocol,
        }
    }

    fn comes_after_hello(self) -> bool {
        matches!(
            self,
            Attack::GarbageAfterHello
                | Attack::LengthZeroAfterHello
                | Attack::LengthMaxAfterHello
                | Attack::OversizeFrame
                | Attack::TruncatedFrame
                | Attack::SecondHello
                | Attack::EmptyMessage
                | Attack::UnknownMessage
                | Attack::PushNumberZero
                | Attack::PushNumberTwice
                | Attack::PushOfTooManyChanges
                | Attack::PushToNoDocument
                | Attack::PushOfCountlessFields
                | Attack::PushThatUnpacksBeyondTheLimit
                | Attack::PushThatIsABomb
                | Attack::FetchOfTooMany
                | Attack::FetchOfNoDocument
                | Attack::StreamReset
        )
    }

    /// Does it on a connection that has said nothing yet, and waits for the gateway's verdict.
    pub async fn perform(self, client: &mut RawClient) -> Option<CloseCode> {
        if self.comes_after_hello() {
            client.send(&hello(None)).await;
        }
        match self {
            Attack::StreamReset => {
                // Welcomed first, so that the session is open.
                client.next().await.expect("a welcome");
                client.reset().await;
            }
            Attack::TruncatedHello | Attack::TruncatedFrame | Attack::NothingAtAll => {
                client.send_bytes(self.bytes()).await;
                client.finish();
            }
            _ => client.send_bytes(self.bytes()).await,
        }
        loop {
            if let Err(code) = client.next().await {
                return code;
            }
        }
    }

    fn bytes(self) -> Bytes {
        match self {
            Attack::Garbage => [vec![0xff], random(3_000)].concat().into(),
            // Tag 0 is no protobuf; what follows may be anything.
            Attack::GarbageInAFrame => encode_frame(&[vec![0], random(3_000)].concat()),
            Attack::GarbageAfterHello => encode_frame(&[vec![0], random(60_000)].concat()),
            Attack::LengthZero | Attack::LengthZeroAfterHello => header(0),
            Attack::LengthMax | Attack::LengthMaxAfterHello => header(u32::MAX),
            Attack::OversizeHello => header(limits::HELLO_LEN_MAX as u32 + 1),
            Attack::OversizeFrame => header(limits::FRAME_LEN_MAX as u32 + 1),
            Attack::TruncatedHello => hello(None).encode().slice(..6),
            Attack::TruncatedFrame => push(1, vec![Bytes::from_static(b"x")]).encode().slice(..9),
            Attack::NothingAtAll | Attack::StreamReset => Bytes::new(),
            Attack::UnknownVersion => versions(vec![VERSION + 1, 77]),
            Attack::NoVersion => versions(Vec::new()),
            Attack::TooManyVersions => versions((100..200).collect()),
            Attack::PushFirst => push(1, Vec::new()).encode(),
            Attack::FetchFirst => ClientMessage::Fetch(Fetch { documents: Vec::new() }).encode(),
            Attack::SecondHello => hello(None).encode(),
            Attack::EmptyMessage => encode_frame(&[0x78, 0]),
            Attack::UnknownMessage => encode_frame(&field(9, b"later")),
            Attack::PushNumberZero => push(0, Vec::new()).encode(),
            Attack::PushNumberTwice => [push(3, Vec::new()).encode(), push(3, Vec::new()).encode()].concat().into(),
            Attack::PushOfTooManyChanges => {
                push(1, vec![Bytes::from_static(b"x"); limits::PUSH_CHANGES_MAX + 1]).encode()
            }
            Attack::PushToNoDocument => encode_frame(&field(2, &field(2, &[7; 16]))),
            // Two bytes each on the wire, and much more in memory if they were decoded first and counted then.
            Attack::PushOfCountlessFields => encode_frame(&field(2, &field(3, &[]).repeat(500_000))),
            // Zeros: a thousandth of their size on the wire.
            Attack::PushThatUnpacksBeyondTheLimit => packed_push(limits::FRAME_LEN_MAX + 1),
            Attack::PushThatIsABomb => packed_push(limits::FRAME_LEN_MAX),
            Attack::FetchOfTooMany => {
                let documents: Vec<DocumentId> = vec![new_document(); limits::FETCH_DOCUMENTS_MAX + 1];
                ClientMessage::Fetch(Fetch { documents }).encode()
            }
            Attack::FetchOfNoDocument => encode_frame(&field(3, &field(1, &[9; 17]))),
        }
    }
}

async fn each_malformed_frame_closes_its_own_session_with_its_code(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    for attack in Attack::ALL {
        let attacker = site.pki.enrol(&crew("attacker"));
        let mut client = RawClient::open(attacker.dial(), gateway.address).await.unwrap();
        // A call that was taken back gets no answer.
        let is_told = over == Transport::Quic || attack != Attack::StreamReset;
        assert_eq!(attack.perform(&mut client).await, is_told.then(|| attack.code()), "{attack:?}");
        if !attack.comes_after_hello() {
            assert_eq!(client.received, 0, "{attack:?}: not a byte before a proper hello");
        }
    }
    bystander.unharmed().await;
    assert_eq!(gateway.metrics().changes_quarantined.get(), 0);
}

/// Four may run; the client here lets none of them open its stream.
#[tokio::test(flavor = "multi_thread")]
async fn more_fetches_at_once_than_allowed_close_the_session() {
    let site = Site::new();
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let attacker = site.pki.enrol(&crew("attacker"));
    let mut config = attacker.quic();
    let mut transport = feldakte_tests::harness::pki::transport();
    transport.max_concurrent_uni_streams(0_u32.into());
    config.transport_config(std::sync::Arc::new(transport));
    let (mut client, _) = RawClient::session_with(config, gateway.address, None).await;
    for _ in 0..5 {
        client.send(&ClientMessage::Fetch(Fetch { documents: vec![new_document()] })).await;
    }
    assert_eq!(client.next().await, Err(Some(CloseCode::Protocol)));
    bystander.unharmed().await;
}

fn push(push: u64, changes: Vec<Bytes>) -> ClientMessage {
    ClientMessage::Push(Push { push, document: new_document(), changes, user: None })
}

/// A push whose changes are 64 MiB packed, and say that they are that long.
fn packed_push(claim: usize) -> Bytes {
    let packed = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let raw_len = [vec![1 << 3], feldakte_core::change::craft::unsigned(claim as u64)].concat();
    let changes = field(5, &[raw_len, field(2, &packed)].concat());
    encode_frame(&field(2, &[vec![1 << 3, 1], field(2, &[7; 17]), changes].concat()))
}

fn versions(versions: Vec<u32>) -> Bytes {
    ClientMessage::Hello(Hello { versions, ..Hello::default() }).encode()
}

fn header(len: u32) -> Bytes {
    Bytes::copy_from_slice(&len.to_be_bytes())
}

/// A protobuf field with a length.
pub fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u8(number << 3 | 2);
    out.put_slice(&feldakte_core::change::craft::unsigned(content.len() as u64));
    out.put_slice(content);
    out.to_vec()
}

fn random(len: usize) -> Vec<u8> {
    (0..len).map(|_| rand::random()).collect()
}

feldakte_tests::over_both!(each_malformed_frame_closes_its_own_session_with_its_code,);
