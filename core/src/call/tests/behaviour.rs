//! Ringing, taking, waiting, ending.

use super::*;

#[test]
fn the_first_who_accepts_has_the_call_and_the_others_stop_ringing() {
    let mut region = Region::new();
    let (crew, a, b) = (region.crew(), region.desk("dortmund", 1), region.desk("dortmund", 1));
    let call = region.call(crew);
    assert_eq!(region.phase(crew, call), Some(Phase::Offered));
    assert!(region.is_rung(a, call) && region.is_rung(b, call));
    let offer = region.fact(a, call).unwrap();
    assert_eq!((&offer.phone, offer.legs.len()), (&None, 1), "who is rung knows who calls, and cannot ring");
    assert_eq!(region.want(a, call, Act::Accept), Some(Outcome::Done));
    assert_eq!(region.opened(a), (1, 0), "the one who takes it sees the case");
    assert_eq!(region.fact(b, call), None, "the other one is told that it is gone");
    assert_eq!(region.want(b, call, Act::Accept), Some(Outcome::Refused(Refusal::Taken)));
    assert_eq!(region.phase(crew, call), Some(Phase::Connecting));
    region.speak(crew, call, 1);
    assert_eq!(region.phase(a, call), Some(Phase::Active));
    region.effects.clear();
    assert_eq!(region.want(crew, call, Act::HangUp), Some(Outcome::Done));
    assert_eq!(region.opened(a), (0, 1));
    assert_eq!(region.fact(a, call).and_then(|fact| fact.end), Some(End::CrewHungUp));
}

#[test]
fn an_unanswered_group_passes_the_call_to_the_partner_and_then_to_dispatch() {
    let mut region = Region::new();
    let (crew, own, partner) = (region.crew(), region.desk("dortmund", 1), region.desk("hagen", 1));
    let call = region.call(crew);
    assert!(region.is_rung(own, call) && !region.is_rung(partner, call));
    region.pass(19_999);
    assert!(region.is_rung(own, call));
    region.pass(1);
    assert!(!region.is_rung(own, call) && region.is_rung(partner, call));
    assert_eq!(region.fact(crew, call).unwrap().place.as_ref().unwrap().centre, Some(centre("hagen", "tna")));
    region.pass(20_000);
    let fact = region.fact(crew, call).unwrap();
    assert_eq!((fact.end, fact.use_phone), (Some(End::Unanswered), true));
    assert_eq!(fact.phone, Some(phone("112")));
    assert_eq!(fact.times.rung_for_ms, 40_000);
}

#[test]
fn a_full_centre_overflows_at_once() {
    let mut region = Region::new();
    let (first, second) = (region.crew(), region.crew());
    let (own, partner) = (region.desk("dortmund", 1), region.desk("hagen", 1));
    let call = region.call(first);
    region.want(own, call, Act::Accept);
    let call = region.call(second);
    assert!(region.is_rung(partner, call) && !region.is_rung(own, call));
}

#[test]
fn nobody_on_duty_is_said_at_once() {
    let mut region = Region::new();
    let crew = region.crew();
    let call = region.call(crew);
    let fact = region.fact(crew, call).unwrap();
    assert_eq!((fact.end, fact.use_phone), (Some(End::NobodyOnDuty), true));
}

#[test]
fn two_calls_ring_at_two_desks_both_and_at_one_desk_one_after_the_other() {
    let mut region = Region::new();
    let (first, second, a) = (region.crew(), region.crew(), region.desk("dortmund", 1));
    let one = region.call(first);
    let two = region.call(second);
    assert!(region.is_rung(a, one) && !region.is_rung(a, two));
    assert_eq!(region.fact(second, two).unwrap().place.as_ref().map(|place| place.position), Some(2));
    let b = region.desk("dortmund", 1);
    assert!(region.is_rung(a, two) && region.is_rung(b, two) && region.is_rung(b, one));
    region.want(b, one, Act::Accept);
    assert!(region.is_rung(a, two));
    assert_eq!(region.fact(second, two).unwrap().place.as_ref().map(|place| place.position), Some(1));
}

#[test]
fn emergencies_go_before_and_within_a_category_first_come_first_served() {
    let mut region = Region::new();
    let desk = region.desk("dortmund", 1);
    let crews: Vec<_> = (0..4).map(|_| region.crew()).collect();
    let busy = region.call(crews[0]);
    region.want(desk, busy, Act::Accept);
    let case = |region: &mut Region| CaseId(region.number());
    let (one, two, three) = (case(&mut region), case(&mut region), case(&mut region));
    let routine = region.call_as(crews[1], one, Category::Routine);
    region.pass(1_000);
    let urgent = region.call_as(crews[2], two, Category::Emergency);
    region.pass(1_000);
    let later = region.call_as(crews[3], three, Category::Emergency);
    region.want(desk, busy, Act::HangUp);
    assert!(region.is_rung(desk, urgent) && !region.is_rung(desk, later) && !region.is_rung(desk, routine));
    region.want(desk, urgent, Act::Accept);
    region.want(crews[2], urgent, Act::HangUp);
    assert!(region.is_rung(desk, later));
}

#[test]
fn a_desk_that_vanishes_while_it_rings_is_passed_over_at_once() {
    let mut region = Region::new();
    let (crew, own, partner) = (region.crew(), region.desk("dortmund", 1), region.desk("hagen", 1));
    let call = region.call(crew);
    region.leave(own);
    assert!(region.is_rung(partner, call));
    // Alone, it is waited for as long as a gateway may need to restart.
    region.leave(partner);
    assert_eq!(region.phase(crew, call), Some(Phase::Queued));
    region.pass(14_000);
    assert_eq!(region.phase(crew, call), Some(Phase::Queued));
    region.pass(1_000);
    assert_eq!(region.phase(crew, call), Some(Phase::Ended));
}

#[test]
fn an_intent_said_twice_is_done_once() {
    let mut region = Region::new();
    let (crew, desk) = (region.crew(), region.desk("dortmund", 2));
    let call = region.call(crew);
    let key = IntentKey(region.number());
    let session = region.devices[&desk].0;
    for _ in 0..2 {
        let intent = Intent { key, call, act: Act::Accept };
        region.effects.clear();
        region.input(Input::Intent { session, intent, log: "dortmund".parse().unwrap(), may_write: true });
        let is_done = |effect: &Effect| matches!(effect, Effect::Tell { told: Told::Reply(reply), .. } if reply.outcome == Outcome::Done);
        assert!(region.effects.iter().any(is_done));
    }
    assert_eq!(region.fact(crew, call).unwrap().legs.len(), 2);
}

#[test]
fn a_second_device_of_a_mission_becomes_part_of_the_call_only_when_the_first_is_lost() {
    let mut region = Region::new();
    let (tablet, desk) = (region.device("dortmund", "rtw-1", false), region.desk("dortmund", 1));
    let vehicle = region.device("dortmund", "rtw-1", false);
    let case = CaseId(region.number());
    let call = region.call_as(tablet, case, Category::Urgent);
    region.want(desk, call, Act::Accept);
    let act = Act::Call { case, category: Category::Urgent, phone: None };
    let another = CallId(region.number());
    assert_eq!(region.want(vehicle, another, act.clone()), Some(Outcome::Refused(Refusal::Taken)));
    region.leave(tablet);
    assert_eq!(region.want(vehicle, another, act), Some(Outcome::Merged(call)));
    assert_eq!(region.fact(vehicle, call).map(|fact| fact.standing), Some(Standing::Leg(0)));
    region.join(tablet);
    assert_eq!(region.fact(tablet, call), None, "the first device has no part in it any more");
}

#[test]
fn crew_and_physician_who_want_each_other_at_once_have_one_call() {
    let mut region = Region::new();
    let (crew, desk) = (region.crew(), region.desk("dortmund", 2));
    let case = CaseId(region.number());
    let first = region.call_as(crew, case, Category::Urgent);
    region.want(desk, first, Act::Accept);
    region.want(crew, first, Act::HangUp);
    // The physician first.
    let recall = region.call_as(desk, case, Category::Urgent);
    assert!(region.is_rung(crew, recall));
    let merged = region.call_as(crew, case, Category::Urgent);
    assert_eq!(merged, recall);
    assert_eq!(region.phase(desk, recall), Some(Phase::Connecting));
    region.want(desk, recall, Act::HangUp);
    // The crew first.
    let again = region.call_as(crew, case, Category::Urgent);
    assert_eq!(region.call_as(desk, case, Category::Urgent), again);
    assert_eq!(region.phase(crew, again), Some(Phase::Connecting));
}

#[test]
fn a_device_without_leave_to_write_the_case_calls_nobody() {
    let mut region = Region::new();
    let (crew, _) = (region.crew(), region.desk("dortmund", 1));
    let (session, call) = (region.devices[&crew].0, CallId(region.number()));
    let act = Act::Call { case: CaseId(region.number()), category: Category::Urgent, phone: None };
    let intent = Intent { key: IntentKey(region.number()), call, act };
    region.input(Input::Intent { session, intent, log: "dortmund".parse().unwrap(), may_write: false });
    assert_eq!(region.board.live(), 0);
}
