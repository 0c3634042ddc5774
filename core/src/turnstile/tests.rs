use super::*;

const MS: Duration = Duration::from_millis(1);
const AT_ONCE: u32 = limits::BEGINNING_AT_ONCE as u32;

fn enter(turnstile: &mut Turnstile<u32>, now: Duration, class: Class, who: u32) -> Ticket {
    match turnstile.arrive(now, class, who) {
        Verdict::Enter(ticket) => ticket,
        other => panic!("{who} does not come in: {other:?}"),
    }
}

fn wait(turnstile: &mut Turnstile<u32>, now: Duration, class: Class, who: u32) -> Ticket {
    match turnstile.arrive(now, class, who) {
        Verdict::Wait(ticket) => ticket,
        other => panic!("{who} does not wait: {other:?}"),
    }
}

fn away(turnstile: &mut Turnstile<u32>, now: Duration, class: Class, who: u32) -> Duration {
    match turnstile.arrive(now, class, who) {
        Verdict::Away(after) => after,
        other => panic!("{who} is not sent away: {other:?}"),
    }
}

/// All places of the others taken.
fn full() -> (Turnstile<u32>, Vec<Ticket>) {
    let mut turnstile = Turnstile::default();
    let inside = (0..AT_ONCE).map(|who| enter(&mut turnstile, Duration::ZERO, Class::Other, who)).collect();
    (turnstile, inside)
}

/// The same, each place for so long that most who come are sent away.
fn slow() -> Turnstile<u32> {
    let (mut turnstile, mut inside) = full();
    for round in 1..200 {
        let now = round * limits::BEGINNING_WITHIN;
        turnstile.depart(now, inside.remove(0));
        inside.push(enter(&mut turnstile, now, Class::Other, AT_ONCE + round));
    }
    let patient = 1_000_000..;
    assert!(
        patient
            .take(limits::BEGINNING_WAITING_MAX)
            .any(|who| { matches!(turnstile.arrive(AFTER_SLOW, Class::Other, who), Verdict::Away(_)) })
    );
    turnstile
}

const AFTER_SLOW: Duration = Duration::from_secs(200);

#[test]
fn first_in_first_out() {
    let (mut turnstile, inside) = full();
    let first = wait(&mut turnstile, MS, Class::Other, 100);
    let second = wait(&mut turnstile, MS, Class::Other, 101);
    assert_eq!((turnstile.poll_turn(), turnstile.waiting(Class::Other)), (None, 2));
    turnstile.depart(2 * MS, inside[7]);
    assert_eq!((turnstile.poll_turn(), turnstile.poll_turn()), (Some(Turn::Entered(first)), None));
    turnstile.depart(3 * MS, first);
    assert_eq!(turnstile.poll_turn(), Some(Turn::Entered(second)));
}

#[test]
fn a_crowd_is_not_before_those_on_a_mission() {
    let (mut turnstile, _inside) = full();
    (100..400).for_each(|who| assert!(matches!(turnstile.arrive(MS, Class::Other, who), Verdict::Wait(_))));
    enter(&mut turnstile, MS, Class::Mission, 500);
}

#[test]
fn missions_without_number_leave_others_their_places() {
    let mut turnstile = Turnstile::default();
    let sent_away = (1_000..).find(|who| matches!(turnstile.arrive(MS, Class::Mission, *who), Verdict::Away(_)));
    assert!(sent_away.is_some(), "they are bounded as well");
    enter(&mut turnstile, MS, Class::Other, 1);
}

#[test]
fn one_device_has_a_few_places_however_often_it_comes() {
    for class in [Class::Mission, Class::Other] {
        let mut turnstile = Turnstile::default();
        let inside = [(); limits::SESSIONS_PER_DEVICE].map(|()| enter(&mut turnstile, MS, class, 7));
        let mut waiting: VecDeque<Ticket> =
            (0..limits::SESSIONS_PER_DEVICE).map(|_| wait(&mut turnstile, MS, class, 7)).collect();
        for _ in 0..10_000 {
            waiting.push_back(wait(&mut turnstile, MS, class, 7));
            assert_eq!(turnstile.poll_turn(), waiting.pop_front().map(Turn::Replaced));
        }
        assert_eq!(turnstile.waiting(class), limits::SESSIONS_PER_DEVICE);
        enter(&mut turnstile, MS, class, 8);
        turnstile.depart(2 * MS, inside[0]);
        assert!(matches!(turnstile.poll_turn(), Some(Turn::Entered(ticket)) if waiting.contains(&ticket)));
        assert_eq!(turnstile.poll_turn(), None);
    }
}

#[test]
fn who_comes_once_too_often_keeps_its_turn() {
    let (mut turnstile, inside) = full();
    let oldest = wait(&mut turnstile, MS, Class::Other, 100);
    wait(&mut turnstile, MS, Class::Other, 101);
    let newer = [(); limits::SESSIONS_PER_DEVICE].map(|()| wait(&mut turnstile, MS, Class::Other, 100));
    assert_eq!(turnstile.poll_turn(), Some(Turn::Replaced(oldest)));
    // The connection of the oldest one ends, and ends nothing else.
    turnstile.depart(2 * MS, oldest);
    assert_eq!(turnstile.give_up(2 * MS, oldest), None);
    turnstile.depart(2 * MS, inside[0]);
    assert_eq!(turnstile.poll_turn(), newer.last().copied().map(Turn::Entered));
}

#[test]
fn who_is_sent_away_is_told_when_there_will_be_room() {
    let mut turnstile = slow();
    let first = away(&mut turnstile, AFTER_SLOW, Class::Other, 1);
    let waits: Vec<Duration> = (2..200).map(|who| away(&mut turnstile, AFTER_SLOW, Class::Other, who)).collect();
    assert!(waits.is_sorted() && waits[0] >= first, "later ones come later");
    // A place becomes free about every second / AT_ONCE.
    let spread = waits[197] - waits[0];
    let pace = limits::BEGINNING_WITHIN / AT_ONCE;
    assert!(spread >= 190 * pace && spread <= 200 * pace, "{spread:?}");
}

#[test]
fn a_crowd_that_is_sent_away_does_not_tell_missions_to_wait() {
    let mut turnstile = slow();
    (1..1_000).for_each(|who| assert!(away(&mut turnstile, AFTER_SLOW, Class::Other, who) >= limits::RETRY_AFTER_MIN));
    // Nor one whose crew was sent away and goes on a mission.
    enter(&mut turnstile, AFTER_SLOW + MS, Class::Mission, 1);
}

#[test]
fn who_has_waited_too_long_is_told_when_to_come_back() {
    let (mut turnstile, inside) = full();
    let ticket = wait(&mut turnstile, Duration::ZERO, Class::Other, 100);
    let later = wait(&mut turnstile, MS, Class::Other, 101);
    let after = turnstile.give_up(limits::BEGINNING_WAIT_MAX, ticket).expect("it waits");
    assert!(after >= limits::RETRY_AFTER_MIN);
    turnstile.depart(limits::BEGINNING_WAIT_MAX, inside[0]);
    assert_eq!(turnstile.poll_turn(), Some(Turn::Entered(later)));
    assert_eq!(turnstile.give_up(limits::BEGINNING_WAIT_MAX, later), None, "it is inside");
}

#[test]
fn who_leaves_the_queue_holds_up_nobody() {
    let (mut turnstile, inside) = full();
    let gone = wait(&mut turnstile, MS, Class::Other, 100);
    let next = wait(&mut turnstile, MS, Class::Other, 101);
    turnstile.depart(MS, gone);
    turnstile.depart(MS, inside[0]);
    assert_eq!(turnstile.poll_turn(), Some(Turn::Entered(next)));
    turnstile.depart(2 * MS, inside[1]);
    assert_eq!(turnstile.poll_turn(), None);
}

#[test]
fn what_is_remembered_is_bounded_and_so_is_what_is_said() {
    let (mut turnstile, _inside) = full();
    for who in 100..100_000 {
        if let Verdict::Away(after) = turnstile.arrive(MS, Class::Other, who) {
            assert!(after >= limits::RETRY_AFTER_MIN && after <= limits::RETRY_AFTER_MAX);
        }
    }
    assert!(turnstile.waiting(Class::Other) <= limits::BEGINNING_WAITING_MAX);
    assert!(turnstile.turns.is_empty());
}
