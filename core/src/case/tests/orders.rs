//! Rule 2: orders are a state machine that no order of arrival changes.

use super::*;

fn content(dose: i64) -> Vec<(String, Value)> {
    vec![("dose".into(), Value::Integer(dose)), ("drug".into(), text("Morphin")), ("unit".into(), text("mg"))]
}

fn proposed() -> Edit {
    step(1, OrderStep::Proposed { content: content(5) })
}
fn ordered() -> Edit {
    step(1, OrderStep::Ordered { content: content(5) })
}
fn read_back() -> Edit {
    step(1, OrderStep::ReadBack)
}
fn given() -> Edit {
    let dose = vec![("dose".into(), Value::Integer(5)), ("unit".into(), text("mg"))];
    step(1, OrderStep::Given { at_ms: 1_760_000_000_000, dose })
}
fn cancelled() -> Edit {
    step(1, OrderStep::Cancelled { reason: "RR gefallen".into() })
}
fn refused() -> Edit {
    step(1, OrderStep::Refused { reason: "Patient lehnt ab".into() })
}

/// A crew and a tele-physician; each act is one change, `Sync` brings them together.
#[derive(Clone)]
enum Act {
    Crew(Edit),
    Physician(Edit),
    Sync,
}
use Act::{Crew, Physician, Sync};

fn play(acts: &[Act]) -> Order {
    let mut crew = Desk::new(1, Role::AmbulanceCrew);
    let mut physician = Desk::new(2, Role::TelePhysician);
    for act in acts {
        match act {
            Crew(edit) => drop(crew.save(std::slice::from_ref(edit))),
            Physician(edit) => drop(physician.save(std::slice::from_ref(edit))),
            Sync => sync(&mut crew, &mut physician),
        }
    }
    sync(&mut crew, &mut physician);
    let authors = authors(&[&crew, &physician]);
    let (here, there) = (crew.outcome(&authors), physician.outcome(&authors));
    assert_eq!(here, there, "the same on both replicas");
    let [order] = <[Order; 1]>::try_from(here.orders).expect("one order");
    order
}

#[test]
fn rule_2_orders_follow_their_state_machine() {
    let until_read_back = [Crew(proposed()), Sync, Physician(ordered()), Sync, Crew(read_back()), Sync].to_vec();
    let with = |more: &[Act]| [until_read_back.clone(), more.to_vec()].concat();
    let cases: Vec<(&str, Vec<Act>, OrderState, Vec<Flag>)> = vec![
        ("proposed", vec![Crew(proposed())], OrderState::Proposed, vec![]),
        ("ordered", vec![Crew(proposed()), Sync, Physician(ordered())], OrderState::Ordered, vec![]),
        ("ordered unasked", vec![Physician(ordered())], OrderState::Ordered, vec![]),
        ("read back", with(&[]), OrderState::ReadBack, vec![]),
        ("given", with(&[Crew(given())]), OrderState::Given, vec![]),
        ("refused", with(&[Crew(refused())]), OrderState::Refused, vec![]),
        ("expired", with(&[Crew(step(1, OrderStep::Expired))]), OrderState::Expired, vec![]),
        ("cancelled", with(&[Physician(cancelled())]), OrderState::Cancelled, vec![]),
        ("proposal withdrawn", vec![Crew(proposed()), Crew(cancelled())], OrderState::Cancelled, vec![]),
        (
            "ordered by nobody who may",
            vec![Crew(ordered()), Crew(given())],
            OrderState::Given,
            vec![Flag::OrderedWithoutAuthority, Flag::GivenWithoutVisibleOrder],
        ),
        ("a crew's order alone", vec![Crew(ordered())], OrderState::Proposed, vec![Flag::OrderedWithoutAuthority]),
        (
            "cancelled by nobody who may",
            with(&[Crew(cancelled())]),
            OrderState::ReadBack,
            vec![Flag::CancelledWithoutAuthority],
        ),
        (
            "given without a visible order",
            vec![Crew(proposed()), Sync, Physician(ordered()), Crew(given())],
            OrderState::Given,
            vec![Flag::GivenWithoutVisibleOrder],
        ),
        (
            "read back without a visible order",
            vec![Crew(proposed()), Sync, Physician(ordered()), Crew(read_back())],
            OrderState::Ordered,
            vec![Flag::ReadBackWithoutOrder],
        ),
        (
            "given without reading back",
            vec![Physician(ordered()), Sync, Crew(given())],
            OrderState::Given,
            vec![Flag::GivenWithoutReadBack],
        ),
        (
            "cancel against give",
            with(&[Physician(cancelled()), Crew(given())]),
            OrderState::Given,
            vec![Flag::GivenAgainstCancel],
        ),
        (
            "given after a visible cancel",
            with(&[Physician(cancelled()), Sync, Crew(given())]),
            OrderState::Given,
            vec![Flag::GivenAfterCancel],
        ),
        (
            "cancelled after it was given",
            with(&[Crew(given()), Sync, Physician(cancelled())]),
            OrderState::Given,
            vec![Flag::CancelledAfterGiven],
        ),
        ("given twice", with(&[Crew(given()), Crew(given())]), OrderState::Given, vec![Flag::GivenTwice]),
        (
            "given and refused",
            with(&[Crew(given()), Physician(refused())]),
            OrderState::Given,
            vec![Flag::GivenAndRefused],
        ),
        ("the same order id twice", vec![Physician(ordered()), Physician(ordered())], OrderState::Ordered, vec![]),
        (
            "ordered differently",
            vec![Physician(ordered()), Physician(step(1, OrderStep::Ordered { content: content(10) }))],
            OrderState::Ordered,
            vec![Flag::OrderedDifferently],
        ),
    ];
    for (what, acts, state, flags) in cases {
        let order = play(&acts);
        assert_eq!((order.state, order.flags), (state, flags), "{what}");
        let recorded = acts.iter().filter(|act| !matches!(act, Sync)).count();
        assert_eq!(order.steps.len(), recorded, "{what}: every step is kept");
    }
}

#[test]
fn only_the_certified_principal_counts_not_what_a_change_claims() {
    let mut physician = Desk::new(2, Role::TelePhysician);
    physician.save(&[ordered()]);
    let uncertified = physician.outcome(&Authors::default());
    assert_eq!(uncertified.orders[0].state, OrderState::Proposed);
    assert_eq!(uncertified.orders[0].flags, [Flag::OrderedWithoutAuthority]);
    let certified = authors(&[&physician]);
    assert_eq!(physician.outcome(&certified).orders[0].state, OrderState::Ordered);
}

#[test]
fn steps_of_one_save_count_in_the_order_in_which_they_were_made() {
    let mut physician = Desk::new(2, Role::EmergencyPhysician);
    physician.save(&[ordered(), read_back(), given()]);
    let authors = authors(&[&physician]);
    let order = physician.outcome(&authors).orders.remove(0);
    assert_eq!((order.state, order.flags), (OrderState::Given, vec![]));
}
