//! Calls, with a gateway that says what the test wants.

use feldakte_client_sdk::view::{CaseKind, CaseView, Part};
use feldakte_core::{
    call::{Act, Category, End, Fact, Joined, Phase, Standing, Times, Told},
    ids::{CallId, CaseId},
};
use feldakte_tests::harness::tablet::{fact, memory_store};
use uuid::Uuid;

use super::World;

const CALL: CallId = CallId(Uuid::from_u128(7));

/// A call that has ended, as its crew is told.
fn ended(case: CaseId, seq: u64) -> Told {
    let times = Times { called_ms: 1_000, ended_ms: Some(2_000), ..Times::default() };
    Told::Fact(Box::new(Fact {
        call: CALL,
        seq,
        case,
        log: "dortmund".parse().unwrap(),
        category: Category::Urgent,
        phase: Phase::Ended,
        standing: Standing::Leg(0),
        place: None,
        legs: Vec::new(),
        physician: None,
        use_phone: true,
        phone: None,
        phoned: Vec::new(),
        times,
        end: Some(End::NobodyOnDuty),
    }))
}

fn consultations(view: &CaseView) -> usize {
    let entries = view.documents.iter().flat_map(|document| &document.entries);
    entries.filter(|entry| entry.kind == "consultation").count()
}

/// By hand it was written once more by an app that had ended before its gateway heard of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_leaves_is_written_once_however_often_it_is_told() {
    let world = World::new();
    let tablet = world.tablet(memory_store()).await;
    let mut session = world.session().await;
    let edits = vec![fact(Part::Operations, "keyword", "Sturz")];
    let case = tablet.client.create(CaseKind::Mission, edits).await.unwrap();
    let mut line = session.urgent_lane().await;
    line.tell(Told::Joined(Joined { calls: vec![CALL], dispatch: None })).await;
    for seq in 1..=3 {
        line.tell(ended(case, seq)).await;
        let intent = session.next_intent().await;
        assert_eq!((intent.call, intent.act), (CALL, Act::Noted), "it says so once it is saved");
        assert_eq!(consultations(&tablet.client.read(case).await.unwrap()), 1, "told {seq} times");
    }
}
