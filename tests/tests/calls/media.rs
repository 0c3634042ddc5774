//! Media that flows: two headless Chromiums with fake cameras, a desk's page at the browsers' port and an ambulance whose
//! signals a device carries, both in networks of their own, and a gateway between them that is all they know of each other.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use feldakte_tests::{netns, skipped};
use serde_json::{Value, json};

use self::{
    consultation::{Consultation, Desk},
    relay::TurnServer,
};

mod consultation;
mod crew;
mod relay;

/// The bars.
const FRAMES_WITHIN: Duration = Duration::from_secs(3);
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// Why it cannot be tried here.
fn unavailable() -> Option<String> {
    feldakte_tests::browser::tools::Tools::find().err().or_else(netns::unavailable)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("a time of this age")
}

/// How long after a moment a page first noted something; `None` while it has not.
fn noted_after(notes: &Value, since_ms: u64, what: &str) -> Option<Duration> {
    let notes = notes.as_array().expect("a list");
    let after = |note: &&Value| note["what"] == what && note["at"].as_u64().is_some_and(|at| at >= since_ms);
    let at = notes.iter().find(after)?["at"].as_u64()?;
    Some(Duration::from_millis(at - since_ms))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two browsers, a minute"]
async fn a_physician_in_a_browser_and_a_crew_see_and_hear_each_other() {
    if let Some(why) = unavailable() {
        return skipped(&why);
    }
    let call = Consultation::begin("all", None, Desk::Certificate).await;
    let began = call.frames().await;
    call.until_frames("frames on both sides", began, 30).await;
    // Credentials, candidates, everything anew, while frames go on.
    let before = call.frames().await;
    call.desk("() => [...desk.medias.values()][0].media.restart('test')").await;
    call.until_frames("frames after an ICE restart", before, 30).await;
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two browsers, a minute"]
async fn frames_are_back_within_three_seconds_of_a_changed_address() {
    if let Some(why) = unavailable() {
        return skipped(&why);
    }
    let mut call = Consultation::begin("all", None, Desk::Token).await;
    for _ in 0..5 {
        call.change_address_and_judge().await;
    }
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two browsers, a minute"]
async fn a_picture_that_stands_is_noticed_by_its_frames_before_the_browser_says_anything() {
    if let Some(why) = unavailable() {
        return skipped(&why);
    }
    let call = Consultation::begin("all", None, Desk::Token).await;
    let since = now_ms();
    let cut = call.cut();
    call.until_noted("stalled", since).await;
    for (side, notes) in call.notes().await {
        let noticed = noted_after(&notes, since, "stalled").expect("it was waited for");
        eprintln!("{side}: a picture that stands was noticed after {noticed:?}");
        assert!(noticed <= NOTICED_WITHIN, "{side}: {noticed:?}");
        let said = noted_after(&notes, since, "ice_disconnected");
        assert!(said.is_none_or(|said| said > noticed), "{side}: the browser was first: {said:?}");
    }
    drop(cut);
    let raised = now_ms();
    call.until_noted("connected", raised).await;
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two browsers, a minute"]
async fn media_goes_through_the_relay_alone_and_comes_back_over_another_path() {
    if let Some(why) = unavailable() {
        return skipped(&why);
    }
    let mut call = Consultation::begin("relay", Some(TurnServer::plan()), Desk::Token).await;
    for (side, kinds) in call.candidate_kinds().await {
        assert_eq!(kinds, json!(["relay"]), "{side}");
    }
    call.change_address_and_judge().await;
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two browsers, a minute"]
async fn media_goes_on_while_the_desk_has_lost_its_gateway_and_paths_are_found_anew_afterwards() {
    if let Some(why) = unavailable() {
        return skipped(&why);
    }
    let call = Consultation::begin("all", None, Desk::Certificate).await;
    let since = now_ms();
    call.desk("() => desk.socket.close()").await;
    call.until_desk_noted("joined", since).await;
    for (side, notes) in call.notes().await {
        assert_eq!(noted_after(&notes, since, "stalled"), None, "{side}: signalling is not media");
    }
    let before = call.frames().await;
    let restarted = now_ms();
    call.desk("() => [...desk.medias.values()][0].media.restart('test')").await;
    call.until_desk_noted("connected", restarted).await;
    call.until_frames("frames after an ICE restart in another session", before, 30).await;
    call.end().await;
}
