use feldakte_core::live::{Moment, Numeric, Publisher};
use uuid::Uuid;

use super::*;

const CALL: CallId = CallId(Uuid::from_u128(1));
const OTHER: CallId = CallId(Uuid::from_u128(2));

fn session(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(number))
}

fn packets(call: CallId, count: u64) -> Vec<Bytes> {
    let mut publisher = Publisher::new(call, 1);
    let pulse = || vec![Numeric { code: "8867-4".into(), unit: "/min".into(), scale: 0, value: 80 }];
    let packet = |at| publisher.numerics(Moment { now_ms: at * 1_000, path_ms: 0, ago_ms: 0 }, pulse());
    (0..count).map(packet).collect::<Result<_, _>>().expect("fits")
}

fn waiting(member: &Member) -> Vec<Bytes> {
    let outbox = member.outbox();
    std::iter::from_fn(|| outbox.take()).collect()
}

fn fate(live: &Live, fate: &'static str) -> u64 {
    live.metrics.live_datagrams.get_or_create(&vec![("fate", fate)]).get()
}

#[tokio::test(start_paused = true)]
async fn what_the_publisher_sends_reaches_those_who_watch_and_nobody_else() {
    let live = Live::new(Arc::default());
    let mut crew = live.enter(session(1), Vitals::Send);
    let (desk, idle) = (live.enter(session(2), Vitals::Watch), live.enter(session(3), Vitals::Watch));
    live.open(CALL, session(1), &[session(2)]).expect("room");
    let packet = packets(CALL, 1).remove(0);
    crew.take(packet.clone()).expect("one");
    assert_eq!((waiting(&desk), waiting(&idle), waiting(&crew)), (vec![packet], vec![], vec![]));
    assert_eq!(fate(&live, "relayed"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_policy_says_who_sends_and_who_watches() {
    let live = Live::new(Arc::default());
    let (mut crew, mut other) = (live.enter(session(1), Vitals::Send), live.enter(session(4), Vitals::Send));
    let mut desk = live.enter(session(2), Vitals::Watch);
    let (dispatcher, wiped) = (live.enter(session(3), Vitals::No), live.enter(session(5), Vitals::Send));
    live.open(CALL, session(1), &[session(2), session(3), session(5)]).expect("room");
    let packet = packets(CALL, 1).remove(0);
    crew.take(packet.clone()).expect("one");
    assert_eq!(waiting(&desk).len(), 1);
    assert_eq!((waiting(&dispatcher), waiting(&wiped)), (vec![], vec![]));
    other.take(packet.clone()).expect("one");
    live.open(OTHER, session(2), &[session(2)]).expect("room");
    desk.take(packets(OTHER, 1).remove(0)).expect("one");
    assert_eq!(waiting(&desk), Vec::<Bytes>::new());
    assert_eq!((fate(&live, "relayed"), fate(&live, "not_permitted")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_call_gets_nothing_more_not_even_what_waits() {
    let live = Live::new(Arc::default());
    let mut crew = live.enter(session(1), Vitals::Send);
    let (first, second) = (live.enter(session(2), Vitals::Watch), live.enter(session(3), Vitals::Watch));
    live.open(CALL, session(1), &[session(2)]).expect("room");
    let packets = packets(CALL, 3);
    crew.take(packets[0].clone()).expect("one");
    live.open(CALL, session(1), &[session(3)]).expect("room");
    crew.take(packets[1].clone()).expect("one");
    assert_eq!((waiting(&first).len(), waiting(&second)), (0, vec![packets[1].clone()]));
    crew.take(packets[2].clone()).expect("one");
    live.close(CALL);
    assert_eq!(waiting(&second).len(), 0);
    assert_eq!(live.metrics.live_calls.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_loses_what_is_old_and_one_call_takes_no_room_from_another() {
    let live = Live::new(Arc::default());
    let (mut crew, mut other) = (live.enter(session(1), Vitals::Send), live.enter(session(4), Vitals::Send));
    let desk = live.enter(session(2), Vitals::Watch);
    live.open(CALL, session(1), &[session(2)]).expect("room");
    live.open(OTHER, session(4), &[session(2)]).expect("room");
    let quiet = packets(OTHER, 1).remove(0);
    other.take(quiet.clone()).expect("one");
    let packets = packets(CALL, 50);
    packets.iter().for_each(|packet| crew.take(packet.clone()).expect("within the rate"));
    let waiting = waiting(&desk);
    assert_eq!(waiting.len(), 1 + limits::LIVE_WAITING_PER_CALL);
    assert_eq!((waiting.first(), waiting.last()), (Some(&quiet), packets.last()));
    assert_eq!(live.metrics.live_replaced.get(), 50 - limits::LIVE_WAITING_PER_CALL as u64);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_dropped_and_a_flood_ends_the_session() {
    let live = Live::new(Arc::default());
    let mut crew = live.enter(session(1), Vitals::Send);
    let empty = Bytes::new();
    let taken = std::iter::from_fn(|| crew.take(empty.clone()).ok()).take(1 << 20).count();
    assert!((3_000..4_000).contains(&taken), "{taken} empty datagrams at once");
    assert!(fate(&live, "excess") > 0 && fate(&live, "unreadable") > 0);
    tokio::time::advance(std::time::Duration::from_secs(20)).await;
    assert_eq!(crew.take(empty), Ok(()), "a burst is forgotten");
}

#[tokio::test(start_paused = true)]
async fn twelve_leads_at_their_wildest_are_within_what_a_device_may_send() {
    let live = Live::new(Arc::default());
    let mut crew = live.enter(session(1), Vitals::Send);
    for _ in 0..600 {
        tokio::time::advance(std::time::Duration::from_millis(50)).await;
        crew.take(Bytes::from(vec![1; limits::LIVE_PACKET_LEN_MAX])).expect("no flood");
    }
    assert_eq!(fate(&live, "excess"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_answered_with_when_it_came() {
    let live = Live::new(Arc::default());
    let mut crew = live.enter(session(1), Vitals::Send);
    let asked = |train, index| Probe { train, index, since_us: None, len: 1_000 };
    crew.take(asked(7, 0).encode()).expect("one");
    tokio::time::advance(std::time::Duration::from_millis(3)).await;
    crew.take(asked(7, 1).encode()).expect("one");
    crew.take(asked(8, 0).encode()).expect("one");
    crew.take(Probe { since_us: Some(1), ..asked(8, 1) }.encode()).expect("one");
    let answers: Vec<_> = waiting(&crew).iter().map(|answer| Probe::decode(answer)).collect();
    let answer = |train, index, since_us| Ok(Some(Probe { since_us: Some(since_us), ..asked(train, index) }));
    assert_eq!(answers, [answer(7, 0, 0), answer(7, 1, 3_000), answer(8, 0, 0)]);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_calls_are_open() {
    let live = Live::new(Arc::default());
    let call = |number: usize| CallId(Uuid::from_u128(number as u128));
    (0..limits::LIVE_CALLS_MAX).for_each(|number| live.open(call(number), session(1), &[]).expect("room"));
    assert_eq!(live.open(call(limits::LIVE_CALLS_MAX), session(1), &[]), Err(TooMany));
    assert_eq!(live.open(call(0), session(2), &[]), Ok(()), "one that is open may change");
}
