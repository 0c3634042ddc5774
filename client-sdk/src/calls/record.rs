//! What a call leaves in its case: written by the device that took part, saved like any other edit.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use feldakte_core::{
    call::{Act, Fact, Standing},
    case::Edit,
    crdt::Value,
    ids::{CallId, CaseId, EntryId, Part},
};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::{Asked, CallInput};
use crate::{engine::Command, error::SdkError, link::LinkControl, view::LinkFacts};

/// Writes in the background.
pub(super) struct Recorder {
    commands: mpsc::Sender<Command>,
    inputs: mpsc::WeakSender<CallInput>,
    control: Arc<LinkControl>,
    /// Facts that are being written, or are. A later one of the same call is told by a gateway that has not heard of it.
    ended: BTreeMap<CallId, u64>,
}

impl Recorder {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        inputs: mpsc::WeakSender<CallInput>,
        control: Arc<LinkControl>,
    ) -> Self {
        Self { commands, inputs, control, ended: BTreeMap::new() }
    }

    /// Somebody else has the call from here on.
    pub(super) fn left(&mut self, leg: u8, fact: Fact) {
        let (commands, control) = (self.commands.clone(), self.control.clone());
        tokio::spawn(async move {
            let link = control.facts.ask().await;
            if let Err(error) = write_soon(&commands, &entry_of(leg, &fact, link.as_ref()), fact.case).await {
                warn!(%error, "a call that somebody else has taken over could not be written down");
            }
        });
    }

    /// A call has ended.
    pub(super) fn end(&mut self, fact: Fact) {
        if self.ended.insert(fact.call, fact.seq).is_some_and(|before| before >= fact.seq) {
            return;
        }
        let (commands, inputs, control) = (self.commands.clone(), self.inputs.clone(), self.control.clone());
        tokio::spawn(async move {
            let call = fact.call;
            let leg = if let Standing::Leg(leg) = fact.standing { leg } else { 0 };
            let link = control.facts.ask().await;
            if let Err(error) = write_soon(&commands, &entry_of(leg, &fact, link.as_ref()), fact.case).await {
                return warn!(%error, "the end of a call could not be written down");
            }
            let Some(inputs) = inputs.upgrade() else { return };
            let (reply, _answer) = oneshot::channel();
            // Gone with the client.
            let _ = inputs.send(CallInput::Asked(Asked::Want { call, act: Act::Noted, reply })).await;
        });
    }
}

/// Of a short call the case may still be on its way to the desk. Of a case that is not here (of another tenant's log, or whose
/// access has ended) the other side writes.
async fn write_soon(commands: &mpsc::Sender<Command>, entry: &Edit, case: CaseId) -> Result<(), SdkError> {
    for _ in 0..LOOKS_MAX {
        match write(commands, entry.clone(), case).await {
            Err(SdkError::UnknownCase) => tokio::time::sleep(LOOK_EVERY).await,
            Err(SdkError::AccessEnded) => return Ok(()),
            written => return written,
        }
    }
    Ok(())
}

/// How often a case is looked for that is not there yet, and how long in between.
const LOOKS_MAX: u32 = 30;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Unless it is there: an app that ended between writing and saying so is told of the call again.
async fn write(commands: &mpsc::Sender<Command>, entry: Edit, case: CaseId) -> Result<(), SdkError> {
    let (reply, answer) = oneshot::channel();
    commands.send(Command::Note { case, entry, reply }).await.map_err(|_| SdkError::ShutDown)?;
    answer.await.map_err(|_| SdkError::ShutDown)?
}

/// One per leg and call, under an id that is made of both.
fn entry_of(leg: u8, fact: &Fact, link: Option<&LinkFacts>) -> Edit {
    let text = |text: &str| Value::Text(text.to_owned());
    let whole = |number: i64| Value::Integer(number);
    let at = |ms: Option<i64>| ms.map(Value::Timestamp);
    let times = fact.times;
    let spoke_ms = times.connected_ms.zip(times.ended_ms).map(|(from, to)| (to - from).max(0));
    let is_desk = |known: &&feldakte_core::call::Leg| match fact.standing {
        Standing::Out(_) => known.leg == leg,
        _ => Some(known.leg) == fact.physician,
    };
    let desk = fact.legs.iter().rev().find(is_desk);
    let own = fact.legs.iter().find(|known| known.leg == leg);
    let reason = match (fact.end, fact.standing) {
        (Some(end), _) => Some(end.name()),
        (None, Standing::Out(out)) => Some(out.name()),
        (None, _) => None,
    };
    let may = [
        ("requested_at", Some(Value::Timestamp(times.called_ms))),
        ("accepted_at", at(times.accepted_ms)),
        ("connected_at", at(times.connected_ms)),
        ("ended_at", at(times.ended_ms)),
        ("rang_for_ms", Some(whole(times.rung_for_ms))),
        ("spoke_for_ms", spoke_ms.map(whole)),
        ("end_reason", reason.map(text)),
        ("category", Some(text(fact.category.name()))),
        ("tele_centre", desk.map(|desk| text(&desk.unit.to_string()))),
        ("tele_physician", desk.and_then(|desk| desk.user).map(|user| text(&user.to_string()))),
        ("by_telephone", (!fact.phoned.is_empty()).then_some(Value::Boolean(true))),
        ("media", own.map(|own| text(own.media.name()))),
        ("round_trip_ms", link.map(|link| whole(i64::try_from(link.rtt.as_millis()).unwrap_or(i64::MAX)))),
        ("loss", link.and_then(|link| link.loss).map(Value::Decimal)),
    ];
    let call = Value::Bytes(bytes::Bytes::copy_from_slice(fact.call.as_bytes()));
    let fields = may.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let fields = std::iter::once(("call".to_owned(), call)).chain(fields).collect();
    let mut id = fact.call.0.into_bytes();
    // Each side writes its own.
    id[15] ^= leg;
    Edit::AddEntry {
        part: Part::Clinical,
        id: EntryId(uuid::Uuid::from_bytes(id)),
        kind: "consultation".to_owned(),
        fields,
    }
}
