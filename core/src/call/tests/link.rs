//! Sessions, desks and gateways that go and come back.

use super::*;

fn in_a_call(region: &mut Region) -> (DeviceId, DeviceId, CallId) {
    let (crew, desk) = (region.crew(), region.desk("dortmund", 1));
    let call = region.call(crew);
    region.want(desk, call, Act::Accept);
    region.speak(crew, call, 1);
    (crew, desk, call)
}

#[test]
fn a_crew_that_comes_back_within_the_grace_has_its_call_in_a_new_epoch() {
    let mut region = Region::new();
    let (crew, desk, call) = in_a_call(&mut region);
    region.leave(crew);
    let fact = region.fact(desk, call).unwrap();
    assert_eq!((fact.phase, fact.use_phone, fact.phone.clone()), (Phase::Reconnecting, true, Some(phone("0151 1"))));
    region.pass(59_999);
    region.join(crew);
    let fact = region.fact(desk, call).unwrap();
    assert_eq!((fact.phase, fact.legs[0].epoch, fact.use_phone), (Phase::Active, 2, false));
}

#[test]
fn a_crew_that_does_not_come_back_loses_its_call_and_both_sides_are_told_to_phone() {
    let mut region = Region::new();
    let (crew, desk, call) = in_a_call(&mut region);
    region.leave(crew);
    region.pass(60_000);
    let fact = region.fact(desk, call).unwrap();
    assert_eq!((fact.end, fact.use_phone), (Some(End::CrewLost), true));
    let known = region.devices.get_mut(&crew).unwrap();
    let now_ms = region.now_ms;
    known.1.tick(now_ms);
    let advice = known.1.call(call).unwrap().use_phone.clone();
    assert_eq!(advice, Some(Advice { phone: Some(phone("+49 231 1")) }), "it knows the desk that had the call");
    region.join(crew);
    assert_eq!(region.fact(crew, call).unwrap().end, Some(End::CrewLost));
    // Told until it has written it down.
    region.want(crew, call, Act::Noted);
    region.join(crew);
    assert_eq!(region.fact(crew, call), None);
}

#[test]
fn a_dead_path_is_noticed_in_less_than_two_seconds() {
    let mut region = Region::new();
    let (crew, _, call) = in_a_call(&mut region);
    let began = region.now_ms;
    let book = &mut region.devices.get_mut(&crew).unwrap().1;
    let mut noticed = None;
    let mut pulses = 0;
    for step in 1..=8 {
        let now_ms = began + step * Book::TICK_MS;
        let (pulse, _) = book.tick(now_ms);
        pulses += usize::from(pulse.is_some());
        if noticed.is_none() && book.call(call).unwrap().use_phone.is_some() {
            noticed = Some(now_ms - began);
        }
    }
    assert_eq!((noticed, pulses), (Some(1_500), 4));
    book.take(Told::Pulse(4), began + 2_100);
    assert_eq!(book.call(call).unwrap().use_phone, None, "it lives again");
}

#[test]
fn a_lost_physician_is_replaced_and_the_crew_keeps_the_call() {
    let mut region = Region::new();
    let (crew, desk, call) = in_a_call(&mut region);
    let other = region.desk("dortmund", 1);
    region.leave(desk);
    region.pass(59_000);
    assert_eq!(region.phase(crew, call), Some(Phase::Reconnecting));
    region.effects.clear();
    region.pass(1_000);
    assert_eq!(region.opened(desk), (0, 1));
    assert!(region.is_rung(other, call));
    region.want(other, call, Act::Accept);
    let fact = region.fact(crew, call).unwrap();
    assert_eq!((fact.phase, fact.physician), (Phase::Connecting, Some(2)));
    region.join(desk);
    assert_eq!(region.fact(desk, call), None);
}

#[test]
fn somebody_else_at_the_desk_does_not_have_the_call_of_the_one_before() {
    let mut region = Region::new();
    let (crew, desk, call) = in_a_call(&mut region);
    region.leave(desk);
    region.parties.get_mut(&desk).unwrap().0.user = Some(crate::ids::UserId(Uuid::from_u128(9)));
    region.join(desk);
    assert_eq!(region.fact(desk, call), None);
    assert_eq!(region.fact(crew, call).unwrap().end, Some(End::PhysicianLost), "there is nobody else");
    assert_eq!(region.board.on_duty(), []);
    // The same while the one before has not been noticed to be gone.
    let (crew, desk, call) = in_a_call(&mut region);
    let other = region.desk("dortmund", 1);
    region.parties.get_mut(&desk).unwrap().0.user = Some(crate::ids::UserId(Uuid::from_u128(9)));
    region.effects.clear();
    region.join(desk);
    assert_eq!(region.opened(desk), (0, 1));
    assert!(region.is_rung(other, call) && region.fact(desk, call).is_none());
    let ways = region.board.ways(call);
    assert_eq!(ways.legs.len(), 1, "the crew alone: {ways:?}");
    assert_eq!(region.phase(crew, call), Some(Phase::Offered));
}

#[test]
fn a_restart_in_the_middle_of_a_ring_rings_again() {
    let mut region = Region::new();
    let (crew, desk) = (region.crew(), region.desk("dortmund", 1));
    let call = region.call(crew);
    region.pass(5_000);
    region.restart();
    region.join(crew);
    assert_eq!(region.phase(crew, call), Some(Phase::Queued));
    region.join(desk);
    assert!(region.is_rung(desk, call), "the desk is on duty as before");
    assert_eq!(region.phase(crew, call), Some(Phase::Offered));
}

#[test]
fn a_restart_in_the_middle_of_a_call_takes_nothing_from_it() {
    let mut region = Region::new();
    let (crew, desk, call) = in_a_call(&mut region);
    let before = region.fact(crew, call).unwrap().clone();
    region.restart();
    region.effects.clear();
    region.join(desk);
    assert_eq!(region.opened(desk), (1, 0), "the grant is made sure of");
    region.join(crew);
    let after = region.fact(crew, call).unwrap();
    assert_eq!((after.phase, after.physician), (Phase::Active, Some(1)));
    assert_eq!((after.times, after.category), (before.times, before.category));
    assert!(after.seq > before.seq);
}

#[test]
fn a_call_that_the_gateway_does_not_know_has_ended() {
    let mut region = Region::new();
    let (crew, _, call) = in_a_call(&mut region);
    region.board = Switchboard::new(plan());
    let book = &mut region.devices.get_mut(&crew).unwrap().1;
    let news = book.take(Told::Joined(Joined::default()), 0);
    assert!(
        matches!(&news[..], [News::Gone(gone, fact), ..] if *gone == call && fact.end == Some(End::Unknown)),
        "{news:?}"
    );
}

#[test]
fn an_earlier_session_is_superseded() {
    let mut region = Region::new();
    let (crew, _, call) = in_a_call(&mut region);
    let before = region.devices[&crew].0;
    region.join(crew);
    let intent = Intent { key: IntentKey(region.number()), call, act: Act::HangUp };
    region.effects.clear();
    region.input(Input::Intent { session: before, intent, log: "dortmund".parse().unwrap(), may_write: true });
    let superseded = Outcome::Refused(Refusal::Superseded);
    let is_it = |effect: &Effect| matches!(effect, Effect::Tell { told: Told::Reply(reply), .. } if reply.outcome == superseded);
    assert!(region.effects.iter().any(is_it));
    region.input(Input::Left { session: before });
    assert_eq!(region.phase(crew, call), Some(Phase::Active), "its end means nothing");
}

#[test]
fn silence_is_told_and_forgotten() {
    let mut region = Region::new();
    let (crew, desk, call) = in_a_call(&mut region);
    let session = region.devices[&crew].0;
    region.input(Input::Silent { session });
    assert_eq!(region.phase(desk, call), Some(Phase::Reconnecting));
    assert_eq!(region.board.ways(call).legs.len(), 2, "what is said to it meanwhile is on its way");
    region.input(Input::Heard { session });
    let fact = region.fact(desk, call).unwrap();
    assert_eq!((fact.phase, fact.legs[0].epoch), (Phase::Active, 1));
}

#[test]
fn a_call_that_was_hung_up_before_anybody_heard_of_it_rings_nowhere() {
    let mut region = Region::new();
    let (crew, desk) = (region.crew(), region.desk("dortmund", 1));
    region.leave(crew);
    let call = region.call(crew);
    region.want(crew, call, Act::HangUp);
    region.join(crew);
    assert_eq!((region.fact(desk, call), region.board.live()), (None, 0));
    // What the gateway may have heard, it has to be told.
    let call = region.call(crew);
    let book = &mut region.devices.get_mut(&crew).unwrap().1;
    let key = IntentKey(Uuid::from_u128(77));
    assert!(book.want(Intent { key, call, act: Act::HangUp }, 0).is_some());
}

#[test]
fn a_gateway_that_cannot_store_calls_sends_to_the_telephone() {
    let mut region = Region::new();
    let crew = region.crew();
    let book = &mut region.devices.get_mut(&crew).unwrap().1;
    let (call, key) = (CallId(Uuid::from_u128(70)), IntentKey(Uuid::from_u128(71)));
    let act = Act::Call { case: CaseId(Uuid::from_u128(72)), category: Category::Urgent, phone: None };
    book.want(Intent { key, call, act }, 0);
    book.take(Told::Reply(Reply { key, outcome: Outcome::Refused(Refusal::Unavailable) }), 10);
    let advice = book.call(call).unwrap().use_phone.clone();
    assert_eq!((advice, book.is_at_hand()), (Some(Advice { phone: Some(phone("112")) }), false));
    book.put_away(call);
    assert_eq!(book.call(call), None);
}

#[test]
fn credentials_for_the_relay_are_given_again_when_they_are_asked_for_again() {
    let mut region = Region::new();
    let (crew, _, call) = in_a_call(&mut region);
    let (session, key) = (region.devices[&crew].0, IntentKey(region.number()));
    for _ in 0..2 {
        region.effects.clear();
        let intent = Intent { key, call, act: Act::Relay };
        region.input(Input::Intent { session, intent, log: "dortmund".parse().unwrap(), may_write: false });
        assert!(region.effects.iter().any(|effect| matches!(effect, Effect::Relay { leg: 0, .. })));
    }
}
