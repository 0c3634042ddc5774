//! Lanes as no honest device uses them: each attack ends its own session, and bystanders notice nothing.

use bytes::Bytes;
use feldakte_core::{lane::Lane, limits};
use feldakte_proto::{ClientMessage, CloseCode, Fetch, Hello, Push, ServerMessage, VERSION};
use feldakte_tests::harness::{
    address::Transport,
    author::Author,
    crew,
    local::Site,
    new_document,
    raw::{Line, RawClient, RawLane, hello},
};
use tonic::Code;

use super::bystander::Bystander;

/// What comes on a stream beside the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    PushBeforeItSaysWhichLane,
    SecondSession,
    SessionAsALane,
    LaneOfTheGateway,
    SecondEnter,
    FetchOnALane,
    PushNumberTwice,
    UrgentFrameOfTheSessionsSize,
}

impl Attack {
    const ALL: [Attack; 8] = [
        Attack::PushBeforeItSaysWhichLane,
        Attack::SecondSession,
        Attack::SessionAsALane,
        Attack::LaneOfTheGateway,
        Attack::SecondEnter,
        Attack::FetchOnALane,
        Attack::PushNumberTwice,
        Attack::UrgentFrameOfTheSessionsSize,
    ];

    async fn send(self, lane: &mut RawLane) {
        let document = new_document();
        let push = |changes| ClientMessage::Push(Push { push: 1, document, changes, user: None });
        let enter = ClientMessage::Enter;
        let messages = match self {
            Attack::PushBeforeItSaysWhichLane => vec![push(Vec::new())],
            Attack::SecondSession => vec![hello(None)],
            Attack::SessionAsALane => vec![enter(Lane::Session)],
            Attack::LaneOfTheGateway => vec![enter(Lane::Snapshots)],
            Attack::SecondEnter => vec![enter(Lane::Urgent), enter(Lane::Background)],
            Attack::FetchOnALane => {
                vec![enter(Lane::Urgent), ClientMessage::Fetch(Fetch { documents: vec![document] })]
            }
            Attack::PushNumberTwice => vec![enter(Lane::Background), push(Vec::new()), push(Vec::new())],
            Attack::UrgentFrameOfTheSessionsSize => {
                let changes = vec![Bytes::from(vec![0; limits::URGENT_FRAME_LEN_MAX])];
                vec![enter(Lane::Urgent), push(changes)]
            }
        };
        for message in messages {
            lane.send(&message).await;
        }
    }

    fn code(self) -> CloseCode {
        match self {
            Attack::UrgentFrameOfTheSessionsSize => CloseCode::TooLarge,
            _ => CloseCode::Protocol,
        }
    }
}

async fn a_lane_that_is_used_as_none_ends_its_own_session_only(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    for attack in Attack::ALL {
        let attacker = site.pki.enrol(&crew("rtw-1"));
        let (mut session, _) = RawClient::session(&attacker, gateway.address, None).await;
        let mut lane = session.open_lane(Lane::Urgent).await;
        attack.send(&mut lane).await;
        assert_eq!(session.closed().await, Some(attack.code()), "{attack:?}");
    }
    bystander.unharmed().await;
}

/// Nothing of a lane is read before the device is welcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_before_the_session_brings_nothing_into_the_log() {
    let site = Site::over(Transport::Quic);
    let gateway = site.start().await;
    let attacker = site.pki.enrol(&crew("rtw-1"));
    let mut client = RawClient::open(attacker.dial(), gateway.address).await.unwrap();
    let mut author = Author::new(&attacker.principal, new_document());
    let mut lane = client.open_lane(Lane::Urgent).await.enter(Lane::Urgent).await;
    lane.push(author.document, author.begin(1)).await;
    // The stream that carries bytes first is not the session's: a client decides by its number, and this one is later.
    let unknown = ClientMessage::Hello(Hello { versions: vec![VERSION + 1], ..Hello::default() });
    client.send(&unknown).await;
    assert_eq!(client.closed().await, Some(CloseCode::Version));
    assert_eq!(gateway.metrics().changes_durable.get(), 0);
}

async fn more_lanes_than_a_session_may_have_wait_and_cost_nobody_else(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let attacker = site.pki.enrol(&crew("rtw-1"));
    let (mut session, _) = RawClient::session(&attacker, gateway.address, None).await;
    let mut held = Vec::new();
    for _ in 0..limits::LANES_MAX {
        held.push(session.enter(Lane::Urgent).await);
    }
    // All of them are served; the session goes on as if there were none.
    for lane in &mut held {
        let mut author = Author::new(&attacker.principal, new_document());
        lane.push(author.document, author.begin(1)).await;
        assert!(matches!(lane.next().await, Some(ServerMessage::Durable(_))));
    }
    let mut author = Author::new(&attacker.principal, new_document());
    assert_eq!(session.push_and_wait(author.document, author.begin(1)).await.refused, []);
    bystander.unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_of_somebody_elses_session_is_not_to_be_had() {
    let site = Site::over(Transport::Grpc);
    let gateway = site.start().await;
    let [victim, thief] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut session, _) = RawClient::session(&victim, gateway.address, None).await;
    let name = session.grpc().name();
    let line = Line::connect(&thief.dial(), &(gateway.address.socket, None), 1 << 20).await.expect("a device gets in");
    let refused = RawLane::over_grpc(&line, &name).await.map(drop).expect_err("it is somebody else's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(gateway.metrics().rejected.get_or_create(&vec![("reason", "bulk_not_permitted")]).get(), 1);
    let mut author = Author::new(&victim.principal, new_document());
    assert_eq!(session.push_and_wait(author.document, author.begin(1)).await.refused, []);
}

feldakte_tests::over_both!(
    a_lane_that_is_used_as_none_ends_its_own_session_only,
    more_lanes_than_a_session_may_have_wait_and_cost_nobody_else,
);
