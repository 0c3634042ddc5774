//! Admission against an adversary who holds valid certificates and computes valid checksums.
//!
//! The input is a script of pushes by three devices: two of one crew and a stranger. Invariants:
//! - a change that parses is within its limits and parses to the same again;
//! - what is admitted was written by the device that pushed it, under an actor that is bound to it;
//! - the log replays into a fresh ledger, which then knows every change and takes none of them twice;
//! - an honest device that applies what was admitted can still write, and its change is admitted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use bytes::Bytes;
use feldakte_core::{
    access::{Policy, Principal, Role, Rules},
    admission::{Ledger, Opening},
    case::{self, Authors, DocumentView, Edit},
    change::{
        Change,
        craft::{self, Draft},
    },
    crdt::{CrdtError, Document, Packing, Value},
    ids::{ActorId, CaseId, ChangeHash, DeviceId, DocumentId, EntryId, Part, TenantId},
    limits,
    log::Entry,
};
use feldakte_proto::{Reason, Refused, decode_entry, encode_entry};
use uuid::Uuid;

/// What a script led to: a corpus that reaches little proves little.
#[derive(Debug, Default)]
pub struct Reached {
    /// Why changes were not taken.
    pub refusals: BTreeSet<Reason>,
    /// Changes that were taken.
    pub admitted: usize,
    /// Changes that were known before.
    pub duplicates: usize,
    /// Changes that were taken and cannot be applied.
    pub quarantined: usize,
}

/// Plays the script and checks the invariants after each step and at the end.
pub fn run(data: &[u8]) -> Reached {
    let mut script = Script(data);
    let part = Part::ALL[usize::from(script.byte()) % Part::ALL.len()];
    let mut world = World::new(part);
    for _ in 0..STEPS_MAX {
        if script.0.is_empty() {
            break;
        }
        world.step(&mut script);
    }
    world.check_replay();
    world.check_replica();
    Reached { quarantined: world.quarantined.len(), ..world.reached }
}

/// Steps of one script; more find nothing new and cost time.
const STEPS_MAX: usize = 24;

/// The devices: `a` and `b` are one crew, the last is a stranger of the same tenant.
pub const DEVICES: [u128; 3] = [0xa, 0xb, 0xc];

/// The actor that honest edits are written under: the second of device `b`.
const HONEST: usize = 3;

/// Actors of the devices, two each.
pub fn actor(index: usize) -> ActorId {
    ActorId([0x11 * (index as u8 + 1); 16])
}

/// The document that is written.
pub fn document(part: Part) -> DocumentId {
    DocumentId { case: CaseId(Uuid::from_u128(7)), part }
}

fn principal(device: usize) -> Principal {
    Principal {
        tenant: "dortmund".parse().expect("a slug"),
        unit: if device == 2 { "rtw-2" } else { "rtw-1" }.parse().expect("a slug"),
        device: DeviceId(Uuid::from_u128(DEVICES[device])),
        role: Role::AmbulanceCrew,
        user: None,
    }
}

/// The default policy in everybody's own log.
fn rules() -> Rules<'static> {
    static POLICY: LazyLock<Policy> = LazyLock::new(Policy::default);
    static LOG: LazyLock<TenantId> = LazyLock::new(|| principal(0).tenant);
    Rules { policy: &POLICY, log: &LOG, now_ms: 0 }
}

/// What is left of the input. Its end reads as zeros.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn prefixed(&mut self) -> &'a [u8] {
        let len = self.byte();
        self.take(usize::from(len))
    }

    fn prefixed_long(&mut self) -> &'a [u8] {
        let len = u16::from_be_bytes([self.byte(), self.byte()]);
        self.take(usize::from(len))
    }
}

struct World {
    document: DocumentId,
    ledger: Ledger,
    log: Vec<Entry>,
    opener: Option<Principal>,
    /// Whom the log says each actor belongs to.
    bound: BTreeMap<ActorId, DeviceId>,
    seqs: BTreeMap<ActorId, u64>,
    heads: BTreeMap<ChangeHash, u64>,
    /// An honest device's document; whatever it cannot apply is quarantined, with all that follows.
    replica: Document,
    applied: Vec<Bytes>,
    quarantined: BTreeSet<ChangeHash>,
    reached: Reached,
}

impl World {
    fn new(part: Part) -> Self {
        let (document, genesis) = (document(part), case::genesis(part));
        Self {
            document,
            ledger: Ledger::new(principal(0).tenant, document),
            log: Vec::new(),
            opener: None,
            bound: BTreeMap::new(),
            seqs: BTreeMap::new(),
            heads: BTreeMap::new(),
            replica: Document::load(&genesis.bytes, actor(HONEST)).expect("genesis loads"),
            applied: vec![genesis.bytes.clone()],
            quarantined: BTreeSet::new(),
            reached: Reached::default(),
        }
    }

    /// One byte says what: bits 0–1 the kind of step, 2–3 the device, 4–5 the actor, 6–7 flags.
    fn step(&mut self, script: &mut Script<'_>) {
        let byte = script.byte();
        let device = usize::from(byte >> 2 & 3) % DEVICES.len();
        // Two of its own, two of the others.
        let whose = [0, 1, 2, 4][usize::from(byte >> 4 & 3)];
        let twisted = byte & 0x40 != 0;
        let chunks = match byte & 3 {
            0 => vec![case::genesis(self.document.part).bytes.clone()],
            1 if twisted => vec![Bytes::copy_from_slice(script.prefixed_long())],
            1 => vec![craft::reseal(script.prefixed_long())],
            2 => {
                let draft = self.draft(actor((device * 2 + whose) % 6), twisted, script);
                vec![self.fill(draft, byte & 0x80 != 0, script).chunk()]
            }
            _ => return self.edit_honestly(script),
        };
        // The honest device's actor is a hash over a random number of its store: nobody can guess it.
        let honest = |chunk: &Bytes| Change::parse(chunk.clone()).is_ok_and(|change| change.actor == actor(HONEST));
        if !chunks.iter().any(honest) {
            self.push(device, chunks);
        }
    }

    /// A change that is linked as an honest one would be, unless it is `twisted`.
    fn draft(&self, actor: ActorId, twisted: bool, script: &mut Script<'_>) -> Draft {
        let mut deps: Vec<ChangeHash> = self.heads.keys().copied().collect();
        let mut seq = self.seqs.get(&actor).copied().unwrap_or_default() + 1;
        let mut start_op = self.heads.values().copied().max().unwrap_or_default() + 1;
        if twisted {
            let keep = script.byte();
            let mut index = 0;
            deps.retain(|_| {
                index += 1;
                keep >> (index % 8) & 1 == 0
            });
            seq = seq.saturating_add_signed(i64::from(script.byte() as i8));
            start_op = start_op.saturating_add_signed(i64::from(script.byte() as i8));
        }
        Draft::new(actor).at(deps, seq, start_op)
    }

    /// Operations for a draft: sets of a key, nested maps, columns as they come, or one column replaced. Honest
    /// columns refer to containers, which are the genesis actor's; `everybody` lists all actors, used or not.
    fn fill(&self, mut draft: Draft, everybody: bool, script: &mut Script<'_>) -> Draft {
        let kind = script.byte() % 4;
        let others = self.seqs.keys().filter(|other| other.0[..] != draft.actor[..]);
        let listed = others.filter(|other| everybody || (kind >= 2 && **other == case::GENESIS_ACTOR));
        draft.others = listed.map(|other| other.0.to_vec()).collect();
        match kind {
            0 => draft.with_puts("facts", u64::from(script.byte())),
            1 => draft.with_nested_maps("facts", 2 + 4 * u64::from(script.byte())),
            2 => {
                let count = script.byte() % 16;
                (0..count).fold(draft, |draft, _| draft.with_column(column(script.byte()), script.prefixed().to_vec()))
            }
            _ => {
                let draft = draft.with_puts("allergy", u64::from(script.byte()));
                draft.with_column(column(script.byte()), script.prefixed().to_vec())
            }
        }
    }

    fn edit_honestly(&mut self, script: &mut Script<'_>) {
        let edit = honest_edit(self.document.part, script.byte(), script.prefixed());
        if self.applied.len() == 1 {
            self.push(1, vec![case::genesis(self.document.part).bytes.clone()]);
        }
        match self.replica.edit(feldakte_core::crdt::Stamp::default(), |edits| edit.apply(edits)) {
            Ok(Some(change)) => {
                let admitted = self.push(1, vec![change.bytes.clone()]);
                // Where the stranger came first, the crew may not write.
                let may = self.ledger.permit(rules(), &principal(1)).is_some_and(|permit| permit.may_write());
                assert_eq!(admitted, usize::from(may), "an honest change was refused");
                if !may {
                    self.rebuild();
                }
            }
            // Somebody overwrote the container; that is his right and harms nothing else.
            Ok(None) | Err(CrdtError::NoContainer) => {}
            Err(error) => panic!("an honest edit failed: {error}"),
        }
    }

    /// Pushes as a session would; returns how many changes were new.
    fn push(&mut self, device: usize, chunks: Vec<Bytes>) -> usize {
        let principal = principal(device);
        let parsed: Vec<_> = chunks.into_iter().map(Change::parse).collect();
        parsed.iter().flatten().for_each(check_bounds);
        let admission = self.ledger.admit(rules(), &principal, Opening::Free, parsed.iter().cloned());
        let refused = admission.refused.iter().map(|(index, refusal)| Refused::new(*index, *refusal).reason);
        self.reached.refusals.extend(refused);
        self.reached.duplicates += admission.duplicates;
        let Some(entry) = admission.entry else { return 0 };
        self.reached.admitted += entry.changes.len();
        assert_eq!(decode_entry(encode_entry(&entry)).as_ref(), Ok(&entry));
        self.opener.get_or_insert(principal.clone());
        self.bound.extend(entry.bindings.iter().map(|binding| (binding.actor, binding.device)));
        let new: Vec<Change> =
            parsed.into_iter().flatten().filter(|change| entry.changes.contains(&change.bytes)).collect();
        for change in &new {
            self.record(&principal, change);
            self.apply(change);
        }
        self.log.push(entry);
        new.len()
    }

    fn record(&mut self, principal: &Principal, change: &Change) {
        if change.actor != case::GENESIS_ACTOR {
            let bound = self.bound.get(&change.actor);
            assert_eq!(bound, Some(&principal.device), "a change was admitted under a foreign actor");
        }
        let seq = self.seqs.insert(change.actor, change.seq).unwrap_or_default();
        assert_eq!(change.seq, seq + 1, "a sequence number was left out or used twice");
        self.heads.retain(|head, _| !change.deps.contains(head));
        self.heads.insert(change.hash, change.max_op());
    }

    /// As the projector and every device do: what cannot be applied is left out, with all that depends on it.
    fn apply(&mut self, change: &Change) {
        let follows_quarantined = change.deps.iter().any(|dep| self.quarantined.contains(dep));
        if !follows_quarantined && self.takes(change) {
            self.applied.push(change.bytes.clone());
            return;
        }
        self.quarantined.insert(change.hash);
        if !follows_quarantined {
            self.rebuild();
        }
    }

    fn takes(&mut self, change: &Change) -> bool {
        if self.replica.apply([&change.bytes]).is_err() || self.replica.check_depth().is_err() {
            return false;
        }
        let held = self.replica.changes().into_iter().any(|held| held.bytes == change.bytes);
        assert!(held, "a change was applied and cannot be given back");
        true
    }

    fn rebuild(&mut self) {
        let chunks = self.applied.concat();
        self.replica = Document::load(&chunks, actor(HONEST)).expect("it was applied before");
    }

    fn check_replay(&self) {
        let mut fresh = Ledger::new(self.ledger.tenant().clone(), self.document);
        for entry in &self.log {
            fresh.replay(entry).expect("what was admitted replays");
        }
        let Some(opener) = &self.opener else { return };
        let all: Vec<Bytes> = self.log.iter().flat_map(|entry| entry.changes.iter().cloned()).collect();
        let again = fresh.admit(rules(), opener, Opening::Free, all.iter().cloned().map(Change::parse));
        assert_eq!((again.entry, again.refused, again.duplicates), (None, Vec::new(), all.len()));
        assert_eq!(fresh.grants(), self.ledger.grants());
    }

    fn check_replica(&mut self) {
        let view = DocumentView::of(self.document.part, &mut self.replica, &Authors::default());
        for packing in [Packing::Plain, Packing::Deflated] {
            let saved = self.replica.save(packing);
            let mut loaded = Document::load(&saved, actor(0)).expect("a snapshot loads");
            assert_eq!(loaded.heads(), self.replica.heads());
            assert_eq!(
                format!("{:?}", DocumentView::of(self.document.part, &mut loaded, &Authors::default())),
                format!("{view:?}")
            );
        }
    }
}

/// Columns by number; beyond them any other specification.
pub const COLUMNS: [u32; 14] = [
    craft::OBJECT_ACTOR,
    craft::OBJECT_COUNTER,
    craft::KEY_ACTOR,
    craft::KEY_COUNTER,
    craft::KEY_STRING,
    craft::INSERT,
    craft::ACTION,
    craft::VALUE_META,
    craft::VALUE,
    craft::PREDECESSOR_GROUP,
    craft::PREDECESSOR_ACTOR,
    craft::PREDECESSOR_COUNTER,
    craft::EXPAND,
    craft::MARK_NAME,
];

fn column(number: u8) -> u32 {
    COLUMNS.get(usize::from(number)).copied().unwrap_or(u32::from(number))
}

fn honest_edit(part: Part, kind: u8, text: &[u8]) -> Edit {
    let text = String::from_utf8_lossy(text).into_owned();
    match kind % 3 {
        0 => Edit::SetFact { part, name: "allergy".to_owned(), value: Value::Text(text) },
        1 => {
            let fields = vec![("finding".to_owned(), Value::Text(text)), ("spo2".to_owned(), Value::Integer(93))];
            let id = EntryId(Uuid::from_u128(7));
            Edit::AddEntry { part, id, kind: "vitals".to_owned(), fields }
        }
        _ => Edit::Narrate { part, at: Some(usize::from(kind)), delete: usize::from(kind / 32), insert: text },
    }
}

fn check_bounds(change: &Change) {
    assert!(change.bytes.len() <= limits::CHANGE_LEN_MAX);
    assert!(change.ops <= limits::CHANGE_OPS_MAX);
    assert!(change.deps.len() <= limits::CHANGE_DEPS_MAX);
    assert!(change.seq >= 1 && change.start_op >= 1 && change.max_op() < limits::OP_COUNTER_MAX);
    assert_eq!(Change::parse(change.bytes.clone()).as_ref(), Ok(change));
    assert_eq!(craft::reseal(&change.bytes), change.bytes, "a checksum was not checked");
}
