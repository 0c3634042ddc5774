//! Orders between a crew and a tele-physician: what they come to is the same on every tablet, whoever was offline.

use std::time::Duration;

use feldakte_client_sdk::view::{CaseEvent, Edit, Flag, Order, OrderId, OrderState, OrderStep, Value};
use feldakte_core::{
    access::Role,
    ids::{CaseId, Part},
};
use feldakte_tests::harness::{address::Transport, local::Site, tablet::Tablet};

use super::{Team, fields, outcome, text};

fn morphine() -> Vec<(String, Value)> {
    fields(&[("dose", Value::Decimal(5.0)), ("drug", text("Morphin")), ("route", text("i.v.")), ("unit", text("mg"))])
}

fn given() -> OrderStep {
    let dose = fields(&[("dose", Value::Decimal(5.0)), ("unit", text("mg"))]);
    OrderStep::Given { at_ms: 1_760_000_000_000, dose }
}

impl Team {
    async fn take_step(&self, tablet: &Tablet, order: OrderId, step: OrderStep) {
        let event = CaseEvent::Order { order, step };
        tablet.client.edit(self.case, vec![Edit::Record { part: Part::Clinical, event }]).await.expect("saved");
    }

    /// The same, and both see it.
    async fn take_visible_step(&self, tablet: &Tablet, order: OrderId, step: OrderStep) -> OrderState {
        self.take_step(tablet, order, step).await;
        tablet.wait_all_safe().await;
        self.crew.wait_equal(&self.physician, self.case).await;
        the_order(&self.crew, self.case).await.state
    }

    /// The one order, as the crew, the physician and a tablet that comes later see it: alike.
    async fn agreed(&self, site: &Site) -> Order {
        let seen = the_order(&self.crew, self.case).await;
        for tablet in [&self.physician, &self.late(site).await] {
            assert_eq!(the_order(tablet, self.case).await, seen);
        }
        seen
    }
}

async fn the_order(tablet: &Tablet, case: CaseId) -> Order {
    let orders = outcome(tablet, case).await.orders;
    let [order] = &orders[..] else { panic!("one order: {orders:?}") };
    order.clone()
}

async fn an_order_goes_its_way_without_flags(over: Transport) {
    let site = Site::over(over);
    let team = Team::on(&site, Duration::ZERO).await;
    let (crew, physician, order) = (&team.crew, &team.physician, team.crew.client.new_order_id());
    let way = [
        (crew, OrderStep::Proposed { content: morphine() }, OrderState::Proposed),
        (physician, OrderStep::Ordered { content: morphine() }, OrderState::Ordered),
        (crew, OrderStep::ReadBack, OrderState::ReadBack),
        (crew, given(), OrderState::Given),
    ];
    for (tablet, step, state) in way {
        assert_eq!(team.take_visible_step(tablet, order, step).await, state);
    }
    let seen = team.agreed(&site).await;
    assert_eq!((seen.id, seen.state, seen.flags), (order, OrderState::Given, Vec::new()));
    let steps = seen.steps.iter().map(|step| {
        let author = step.provenance.author.as_ref().expect("certified");
        (step.step.name(), author.role, step.has_effect)
    });
    let (crew, physician) = (Role::AmbulanceCrew, Role::TelePhysician);
    let expected =
        [("proposed", crew, true), ("ordered", physician, true), ("read_back", crew, true), ("given", crew, true)];
    assert_eq!(steps.collect::<Vec<_>>(), expected);
}

async fn a_crew_that_orders_for_itself_has_ordered_nothing(over: Transport) {
    let site = Site::over(over);
    let team = Team::on(&site, Duration::ZERO).await;
    let order = team.crew.client.new_order_id();
    team.take_step(&team.crew, order, OrderStep::Proposed { content: morphine() }).await;
    let state = team.take_visible_step(&team.crew, order, OrderStep::Ordered { content: morphine() }).await;
    assert_eq!(state, OrderState::Proposed);
    let seen = team.agreed(&site).await;
    assert_eq!((seen.state, &seen.flags[..]), (OrderState::Proposed, &[Flag::OrderedWithoutAuthority][..]));
    assert_eq!(seen.steps.iter().map(|step| step.has_effect).collect::<Vec<_>>(), [true, false]);

    // Done on the strength of it: kept, and flagged for people.
    assert_eq!(team.take_visible_step(&team.crew, order, given()).await, OrderState::Given);
    let seen = team.agreed(&site).await;
    assert_eq!(seen.flags, [Flag::OrderedWithoutAuthority, Flag::GivenWithoutVisibleOrder]);
}

async fn given_against_cancelled_without_a_network_is_flagged_alike_everywhere(over: Transport) {
    let site = Site::over(over);
    let team = Team::on(&site, Duration::ZERO).await;
    let order = team.physician.client.new_order_id();
    team.take_visible_step(&team.physician, order, OrderStep::Ordered { content: morphine() }).await;
    team.take_visible_step(&team.crew, order, OrderStep::ReadBack).await;
    team.both_offline().await;
    team.take_step(&team.crew, order, given()).await;
    let cancelled = OrderStep::Cancelled { reason: "Allergie bekannt geworden".into() };
    team.take_step(&team.physician, order, cancelled).await;
    assert_eq!(the_order(&team.crew, team.case).await.state, OrderState::Given);
    assert_eq!(the_order(&team.physician, team.case).await.state, OrderState::Cancelled);
    team.reunited().await;

    let seen = team.agreed(&site).await;
    assert_eq!((seen.state, &seen.flags[..]), (OrderState::Given, &[Flag::GivenAgainstCancel][..]));
    assert_eq!(seen.steps.len(), 4, "both are kept");
}

feldakte_tests::over_both!(
    an_order_goes_its_way_without_flags,
    a_crew_that_orders_for_itself_has_ordered_nothing,
    given_against_cancelled_without_a_network_is_flagged_alike_everywhere,
);
