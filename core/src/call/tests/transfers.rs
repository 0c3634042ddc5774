//! Make before break.

use super::*;

fn in_a_call(region: &mut Region) -> (DeviceId, DeviceId, DeviceId, CallId) {
    let (crew, from) = (region.crew(), region.desk("dortmund", 1));
    let call = region.call(crew);
    region.want(from, call, Act::Accept);
    region.speak(crew, call, 1);
    let to = region.desk("hagen", 1);
    (crew, from, to, call)
}

#[test]
fn the_first_physician_stays_until_the_second_is_heard() {
    let mut region = Region::new();
    let (crew, from, to, call) = in_a_call(&mut region);
    let target = Target::Centre(centre("hagen", "tna"));
    assert_eq!(region.want(from, call, Act::Transfer(target)), Some(Outcome::Done));
    assert!(region.is_rung(to, call));
    assert_eq!(region.fact(crew, call).unwrap().physician, Some(1));
    region.want(to, call, Act::Accept);
    let fact = region.fact(crew, call).unwrap();
    assert_eq!((fact.phase, fact.physician, fact.legs.len()), (Phase::Transferring, Some(1), 3));
    region.effects.clear();
    region.speak(to, call, 0);
    let fact = region.fact(crew, call).unwrap();
    assert_eq!((fact.phase, fact.physician, fact.legs.len()), (Phase::Active, Some(2), 2));
    assert_eq!(region.fact(from, call), None);
    assert_eq!(region.opened(from), (0, 1));
}

#[test]
fn a_transfer_that_nobody_takes_leaves_the_call_as_it_was() {
    let mut region = Region::new();
    let (crew, from, to, call) = in_a_call(&mut region);
    region.want(from, call, Act::Transfer(Target::Desk(to)));
    region.want(to, call, Act::Decline);
    assert_eq!(region.phase(crew, call), Some(Phase::Active));
    region.want(from, call, Act::Transfer(Target::Desk(to)));
    region.pass(20_000);
    assert_eq!((region.phase(crew, call), region.fact(to, call)), (Some(Phase::Active), None));
    // Accepted, but no media comes about.
    region.want(from, call, Act::Transfer(Target::Desk(to)));
    region.want(to, call, Act::Accept);
    region.effects.clear();
    region.pass(20_000);
    assert_eq!(region.fact(from, call).unwrap().physician, Some(1));
    assert_eq!(region.opened(to), (0, 1));
}

#[test]
fn whoever_takes_over_has_the_call_at_once_when_the_first_is_lost() {
    let mut region = Region::new();
    let (crew, from, to, call) = in_a_call(&mut region);
    region.want(from, call, Act::Transfer(Target::Desk(to)));
    region.want(to, call, Act::Accept);
    region.want(from, call, Act::HangUp);
    let fact = region.fact(crew, call).unwrap();
    assert_eq!((fact.physician, fact.end), (Some(2), None));
}

#[test]
fn a_desk_that_vanishes_while_a_transfer_rings_is_passed_over() {
    let mut region = Region::new();
    let (crew, from, to, call) = in_a_call(&mut region);
    region.want(from, call, Act::Transfer(Target::Desk(to)));
    region.leave(to);
    assert_eq!(region.phase(crew, call), Some(Phase::Active));
    let nobody = Outcome::Refused(Refusal::NobodyThere);
    assert_eq!(region.want(from, call, Act::Transfer(Target::Desk(to))), Some(nobody));
}

#[test]
fn only_the_physician_transfers_and_holds() {
    let mut region = Region::new();
    let (crew, from, to, call) = in_a_call(&mut region);
    let no = Some(Outcome::Refused(Refusal::NotPermitted));
    assert_eq!(region.want(crew, call, Act::Transfer(Target::Desk(to))), no);
    assert_eq!(region.want(to, call, Act::Hold), Some(Outcome::Refused(Refusal::Unknown)));
    assert_eq!(region.want(from, call, Act::Hold), Some(Outcome::Done));
    assert_eq!(region.phase(crew, call), Some(Phase::Held));
    assert_eq!(region.want(from, call, Act::Unhold), Some(Outcome::Done));
    assert_eq!(region.phase(crew, call), Some(Phase::Active));
}
