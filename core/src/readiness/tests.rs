use proptest::prelude::*;

use super::*;
use crate::{
    case::schema::{CaseKind, check_entry},
    ids::Part,
};

/// Profile U of DOMAIN.
const URBAN: Facts = Facts {
    rtt_ms: 40,
    jitter_ms: Some(10),
    loss_permille: Some(2),
    up_kbit_s: Some(10_000),
    down_kbit_s: Some(40_000),
    age_ms: 100,
};
/// Profile R.
const RURAL: Facts =
    Facts { rtt_ms: 180, loss_permille: Some(30), up_kbit_s: Some(300), down_kbit_s: Some(1_000), ..URBAN };
/// Profile G.
const EDGE: Facts =
    Facts { rtt_ms: 700, loss_permille: Some(20), up_kbit_s: Some(40), down_kbit_s: Some(100), ..URBAN };

fn verdicts(facts: Facts) -> [Verdict; 5] {
    let readiness = Readiness::of(Some(facts));
    [Channel::Voice, Channel::Vitals, Channel::Ecg, Channel::Photo, Channel::Video]
        .map(|channel| readiness.verdict(channel))
}

#[test]
fn the_profiles_of_the_field_are_judged_as_the_field_knows_them() {
    use Verdict::{Green, Red, Yellow};
    assert_eq!(verdicts(URBAN), [Green; 5]);
    assert_eq!(verdicts(RURAL), [Green, Green, Green, Green, Yellow]);
    assert_eq!(verdicts(EDGE), [Yellow, Green, Yellow, Yellow, Red]);
}

#[test]
fn the_reasons_are_the_facts_and_what_they_were_held_against() {
    let readiness = Readiness::of(Some(EDGE));
    let voice = &readiness.channels[0];
    let reason = |fact| voice.reasons.iter().find(|reason| reason.fact == fact).copied().unwrap();
    let rtt = Reason { fact: Fact::Rtt, measured: Some(700), limit: Limit::AtMost(300, 800), verdict: Verdict::Yellow };
    assert_eq!(reason(Fact::Rtt), rtt);
    assert_eq!(reason(Fact::Up).verdict, Verdict::Green);
}

#[test]
fn stale_facts_are_never_green() {
    for age_ms in [FRESH_FOR_MS + 1, 60_000] {
        assert!(verdicts(Facts { age_ms, ..URBAN }).iter().all(|verdict| *verdict < Verdict::Green));
    }
    assert_eq!(verdicts(Facts { age_ms: FRESH_FOR_MS, ..URBAN }), [Verdict::Green; 5]);
}

#[test]
fn what_is_not_known_makes_nothing_green_and_nothing_red() {
    for unknown in [
        Facts { up_kbit_s: None, ..URBAN },
        Facts { down_kbit_s: None, ..URBAN },
        Facts { loss_permille: None, ..URBAN },
    ] {
        assert_eq!(verdicts(unknown), [Verdict::Yellow; 5]);
    }
}

#[test]
fn without_a_session_everything_is_red_and_nothing_is_on() {
    let readiness = Readiness::of(None);
    assert!(readiness.channels.iter().all(|judged| judged.verdict == Verdict::Red));
    assert_eq!(readiness.carried(&Channel::ALL), []);
}

#[test]
fn video_gives_way_to_voice_and_photos_to_both() {
    use Channel::{Ecg, Photo, Video, Vitals, Voice};
    let carried = |up_kbit_s| Readiness::of(Some(Facts { up_kbit_s: Some(up_kbit_s), ..URBAN })).carried(&Channel::ALL);
    assert_eq!(carried(10_000), [Voice, Vitals, Ecg, Video, Photo]);
    assert_eq!(carried(340), [Voice, Vitals, Ecg, Video]);
    assert_eq!(carried(300), [Voice, Vitals, Ecg, Photo], "a photo where there is no room for a video");
    assert_eq!(carried(72), [Voice, Vitals, Ecg]);
    assert_eq!(carried(40), [Voice, Vitals]);
    assert_eq!(carried(1), [Voice], "voice is tried whatever is said of it");
    let readiness = Readiness::of(Some(URBAN));
    assert_eq!(readiness.carried(&[Photo, Voice]), [Voice, Photo], "nothing is on that is not wanted");
}

#[test]
fn it_is_an_entry_of_a_mission() {
    for facts in [None, Some(URBAN), Some(Facts { up_kbit_s: None, jitter_ms: None, loss_permille: None, ..EDGE })] {
        let fields = Readiness::of(facts).fields();
        assert_eq!(check_entry(CaseKind::Mission, Part::Operations, "readiness", &fields), Ok(()));
        assert_eq!(fields.len(), 6);
    }
}

proptest! {
    #[test]
    fn a_better_link_is_never_judged_worse(
        rtt in 0_u32..5_000, loss in 0_u32..1_000, up in 0_u32..2_000, down in 0_u32..2_000, more in 0_u32..500,
    ) {
        let facts = Facts { rtt_ms: rtt, loss_permille: Some(loss), up_kbit_s: Some(up), down_kbit_s: Some(down), ..URBAN };
        let better = Facts {
            rtt_ms: rtt.saturating_sub(more), loss_permille: Some(loss.saturating_sub(more)),
            up_kbit_s: Some(up + more), down_kbit_s: Some(down + more), ..facts
        };
        for (worse, better) in verdicts(facts).into_iter().zip(verdicts(better)) {
            prop_assert!(worse <= better);
        }
        let (few, many) = (Readiness::of(Some(facts)), Readiness::of(Some(better)));
        prop_assert!(few.carried(&Channel::ALL).contains(&Channel::Voice));
        let least = |channels: &[Channel]| channels.iter().map(|channel| Need::of(*channel).up_least()).sum::<u32>();
        let rest: Vec<Channel> = few.carried(&Channel::ALL).into_iter().filter(|channel| *channel != Channel::Voice).collect();
        prop_assert!(rest.is_empty() || least(&rest) <= up);
        prop_assert!(many.facts.is_some());
    }
}
