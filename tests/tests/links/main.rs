//! What works on a good network works on a bad one: devices and gateways in namespaces of their own, over emulated links.
//!
//! `suite!` runs each behaviour under a profile and over transports; a fair sample by default, everything with
//! `--include-ignored`. Real time and real sockets; nothing waits for a span of time where it can wait for an event.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails, in its helpers too")]

mod bars;
mod behaviours;
mod emulator;
mod month;
mod world;

use feldakte_client_sdk::Transports;
use feldakte_tests::netns::profile::Profile;

/// Tests of these behaviours under that profile, over these transports: those of the sample, and the rest.
macro_rules! suite {
    ($name:ident: $profile:expr, $transports:expr; sample: $($sample:ident),*; rest: $($rest:ident),*;) => {
        mod $name {
            use super::{Profile, Transports, behaviours, world::World};

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $sample() {
                if let Some(world) = World::under($profile, $transports).await {
                    behaviours::$sample(&world).await;
                }
            })*

            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "not in the sample: all behaviours under all profiles take minutes"]
            async fn $rest() {
                if let Some(world) = World::under($profile, $transports).await {
                    behaviours::$rest(&world).await;
                }
            })*
        }
    };
}

suite! { urban: Profile::URBAN, Transports::Both;
    sample: an_edit_arrives_at_the_other_device, an_order_is_given;
    rest: work_without_a_link_is_delivered_when_it_is_back, a_session_that_was_cut_resumes_from_its_cursor,
        hundreds_of_documents_are_caught_up, a_denied_device_loses_its_session, what_a_user_with_a_pin_writes_is_his,
        a_lost_acknowledgement_loses_and_repeats_nothing, another_address_amid_edits_loses_nothing,
        edits_outlive_the_weather;
}

suite! { moving: Profile::MOVING, Transports::Both;
    sample: a_lost_acknowledgement_loses_and_repeats_nothing, what_a_user_with_a_pin_writes_is_his,
        an_edit_and_an_order_pass_a_backlog;
    rest: an_edit_arrives_at_the_other_device, an_order_is_given, work_without_a_link_is_delivered_when_it_is_back,
        a_session_that_was_cut_resumes_from_its_cursor, hundreds_of_documents_are_caught_up,
        a_denied_device_loses_its_session, another_address_amid_edits_loses_nothing, edits_outlive_the_weather;
}

suite! { rural: Profile::RURAL, Transports::Both;
    sample: a_session_that_was_cut_resumes_from_its_cursor, a_denied_device_loses_its_session;
    rest: an_edit_arrives_at_the_other_device, an_order_is_given, work_without_a_link_is_delivered_when_it_is_back,
        hundreds_of_documents_are_caught_up, what_a_user_with_a_pin_writes_is_his,
        a_lost_acknowledgement_loses_and_repeats_nothing, another_address_amid_edits_loses_nothing,
        edits_outlive_the_weather;
}

// For small messages only.
suite! { edge: Profile::EDGE, Transports::Both;
    sample: an_edit_arrives_at_the_other_device;
    rest: an_order_is_given, work_without_a_link_is_delivered_when_it_is_back,
        a_session_that_was_cut_resumes_from_its_cursor, a_denied_device_loses_its_session,
        what_a_user_with_a_pin_writes_is_his, a_lost_acknowledgement_loses_and_repeats_nothing,
        another_address_amid_edits_loses_nothing, edits_outlive_the_weather;
}

suite! { basement: Profile::BASEMENT, Transports::Both;
    sample: work_without_a_link_is_delivered_when_it_is_back;
    rest: an_edit_arrives_at_the_other_device, an_order_is_given, a_session_that_was_cut_resumes_from_its_cursor,
        hundreds_of_documents_are_caught_up, a_denied_device_loses_its_session, what_a_user_with_a_pin_writes_is_his,
        a_lost_acknowledgement_loses_and_repeats_nothing, another_address_amid_edits_loses_nothing,
        edits_outlive_the_weather;
}

suite! { hostile: Profile::HOSTILE, Transports::Both;
    sample: another_address_amid_edits_loses_nothing, hundreds_of_documents_are_caught_up;
    rest: an_edit_and_an_order_pass_a_backlog, an_edit_arrives_at_the_other_device, an_order_is_given, work_without_a_link_is_delivered_when_it_is_back,
        a_session_that_was_cut_resumes_from_its_cursor, a_denied_device_loses_its_session,
        what_a_user_with_a_pin_writes_is_his, a_lost_acknowledgement_loses_and_repeats_nothing,
        edits_outlive_the_weather;
}

suite! { dual: Profile::DUAL, Transports::Both;
    sample: an_edit_arrives_at_the_other_device;
    rest: an_order_is_given, work_without_a_link_is_delivered_when_it_is_back,
        a_session_that_was_cut_resumes_from_its_cursor, hundreds_of_documents_are_caught_up,
        a_denied_device_loses_its_session, what_a_user_with_a_pin_writes_is_his,
        a_lost_acknowledgement_loses_and_repeats_nothing, another_address_amid_edits_loses_nothing,
        edits_outlive_the_weather;
}

// Each transport alone, where the other one cannot come to its help.
suite! { moving_over_grpc: Profile::MOVING, Transports::Grpc;
    sample: an_order_is_given, an_edit_and_an_order_pass_a_backlog;
    rest: an_edit_arrives_at_the_other_device, a_session_that_was_cut_resumes_from_its_cursor,
        work_without_a_link_is_delivered_when_it_is_back,
        hundreds_of_documents_are_caught_up, a_denied_device_loses_its_session, what_a_user_with_a_pin_writes_is_his,
        a_lost_acknowledgement_loses_and_repeats_nothing, another_address_amid_edits_loses_nothing,
        edits_outlive_the_weather;
}

suite! { hostile_over_quic: Profile::HOSTILE, Transports::Quic;
    sample: another_address_amid_edits_loses_nothing;
    rest: an_edit_arrives_at_the_other_device, an_order_is_given, work_without_a_link_is_delivered_when_it_is_back,
        a_session_that_was_cut_resumes_from_its_cursor, hundreds_of_documents_are_caught_up,
        a_denied_device_loses_its_session, what_a_user_with_a_pin_writes_is_his,
        a_lost_acknowledgement_loses_and_repeats_nothing, edits_outlive_the_weather;
}
