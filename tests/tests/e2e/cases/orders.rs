//! Orders between a crew and a tele-physician: what they come to is the same on every tablet, whoever was offline.

use std::time::Duration;

use feldakte_client_sdk::view::{Flag, OrderState, OrderStep};
use feldakte_core::access::Role;
use feldakte_tests::harness::{
    address::Transport,
    local::Site,
    team::{Team, given, morphine, the_order},
};

async fn an_order_goes_its_way_without_flags(over: Transport) {
    let site = Site::over(over);
    let team = Team::on(&site, Duration::ZERO).await;
    let order = team.order_and_give().await;
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
