//! What works on a good network works on a bad one: devices and gateways in namespaces of their own, over emulated links.
//!
//! `suite!` runs each behaviour under each profile; a fair sample by default, everything with `--include-ignored`. Real
//! time and real sockets; nothing waits for a span of time where it can wait for an event.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

mod behaviours;
mod emulator;
mod world;

use feldakte_tests::netns::profile::Profile;

/// Tests of these behaviours under that profile: those of the sample, and the rest.
macro_rules! suite {
    ($name:ident, $profile:expr, sample: [$($sample:ident),*], rest: [$($rest:ident),*]) => {
        mod $name {
            use super::{Profile, behaviours, world::World};

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $sample() {
                if let Some(world) = World::under($profile).await {
                    behaviours::$sample(&world).await;
                }
            })*

            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "not in the sample: all behaviours under all profiles take minutes"]
            async fn $rest() {
                if let Some(world) = World::under($profile).await {
                    behaviours::$rest(&world).await;
                }
            })*
        }
    };
}

suite!(urban, Profile::URBAN,
    sample: [an_edit_arrives_at_the_other_device, an_order_is_given],
    rest: [work_without_a_link_is_delivered_when_it_is_back, a_session_that_was_cut_resumes_from_its_cursor,
        hundreds_of_documents_are_caught_up, a_denied_device_loses_its_session, what_a_user_with_a_pin_writes_is_his,
        a_lost_acknowledgement_loses_and_repeats_nothing, another_address_amid_edits_loses_nothing,
        edits_outlive_the_weather]);

suite!(moving, Profile::MOVING,
    sample: [a_lost_acknowledgement_loses_and_repeats_nothing, an_order_is_given,
        what_a_user_with_a_pin_writes_is_his],
    rest: [an_edit_arrives_at_the_other_device, work_without_a_link_is_delivered_when_it_is_back,
        a_session_that_was_cut_resumes_from_its_cursor, hundreds_of_documents_are_caught_up,
        a_denied_device_loses_its_session, another_address_amid_edits_loses_nothing, edits_outlive_the_weather]);

suite!(rural, Profile::RURAL,
    sample: [a_session_that_was_cut_resumes_from_its_cursor, a_denied_device_loses_its_session],
    rest: [an_edit_arrives_at_the_other_device, an_order_is_given, work_without_a_link_is_delivered_when_it_is_back,
        hundreds_of_documents_are_caught_up, what_a_user_with_a_pin_writes_is_his,
        a_lost_acknowledgement_loses_and_repeats_nothing, another_address_amid_edits_loses_nothing,
        edits_outlive_the_weather]);

// For small messages only.
suite!(edge, Profile::EDGE,
    sample: [an_edit_arrives_at_the_other_device],
    rest: [an_order_is_given, work_without_a_link_is_delivered_when_it_is_back,
        a_session_that_was_cut_resumes_from_its_cursor, a_denied_device_loses_its_session,
        what_a_user_with_a_pin_writes_is_his, a_lost_acknowledgement_loses_and_repeats_nothing,
        another_address_amid_edits_loses_nothing, edits_outlive_the_weather]);

suite!(basement, Profile::BASEMENT,
    sample: [work_without_a_link_is_delivered_when_it_is_back],
    rest: [an_edit_arrives_at_the_other_device, an_order_is_given, a_session_that_was_cut_resumes_from_its_cursor,
        hundreds_of_documents_are_caught_up, a_denied_device_loses_its_session, what_a_user_with_a_pin_writes_is_his,
        a_lost_acknowledgement_loses_and_repeats_nothing, another_address_amid_edits_loses_nothing,
        edits_outlive_the_weather]);

suite!(hostile, Profile::HOSTILE,
    sample: [another_address_amid_edits_loses_nothing, hundreds_of_documents_are_caught_up],
    rest: [an_edit_arrives_at_the_other_device, an_order_is_given, work_without_a_link_is_delivered_when_it_is_back,
        a_session_that_was_cut_resumes_from_its_cursor, a_denied_device_loses_its_session,
        what_a_user_with_a_pin_writes_is_his, a_lost_acknowledgement_loses_and_repeats_nothing,
        edits_outlive_the_weather]);

suite!(dual, Profile::DUAL,
    sample: [an_edit_arrives_at_the_other_device],
    rest: [an_order_is_given, work_without_a_link_is_delivered_when_it_is_back,
        a_session_that_was_cut_resumes_from_its_cursor, hundreds_of_documents_are_caught_up,
        a_denied_device_loses_its_session, what_a_user_with_a_pin_writes_is_his,
        a_lost_acknowledgement_loses_and_repeats_nothing, another_address_amid_edits_loses_nothing,
        edits_outlive_the_weather]);
