//! The golden mission: a crew and a tele-physician write it, at times without having heard from each other.

use feldakte_core::{
    access::Role,
    case::{Edit, Event, OrderStep, Path, schema::CaseKind, sign, vitals},
    crdt::Value::{self, Boolean, Decimal, Integer, Null, Timestamp},
    ids::{CaseId, Part},
};

use crate::desk::{Desk, In, Person, case, entry, hash, named, quantity, record, text};

const CASE: CaseId = case(1);
const CREW: Person = Person { device: 1, role: Role::AmbulanceCrew, case: CASE };
const PHYSICIAN: Person = Person { device: 2, role: Role::TelePhysician, case: CASE };
const OPERATIONS: In = In(Part::Operations);
const IDENTITY: In = In(Part::Identity);
const CLINICAL: In = In(Part::Clinical);
/// 2025-10-09 08:53:20 UTC.
const START_MS: i64 = 1_760_000_000_000;

/// Who writes it.
pub fn people() -> [Person; 2] {
    [CREW, PHYSICIAN]
}

/// Writes it; gives the crew's replica, which in the end has everything.
pub fn write() -> Desk {
    let mut crew = Desk::new(CaseKind::Mission, CREW, START_MS);
    // Two hours slow, and measured only later.
    let mut physician = Desk::new(CaseKind::Mission, PHYSICIAN, START_MS - 7_200_000);
    dispatch(&mut crew, &mut physician);
    patient(&mut crew, &mut physician);
    findings(&mut crew, &mut physician);
    decisions(&mut crew, &mut physician);
    orders(&mut crew, &mut physician);
    narrative(&mut crew, &mut physician);
    links(&mut crew, &mut physician);
    signatures(&mut crew, &mut physician);
    crew
}

fn dispatch(crew: &mut Desk, physician: &mut Desk) {
    crew.save(&[
        OPERATIONS.fact("kind", "mission"),
        OPERATIONS.fact("mission_number", "0012345-ÄÖÜ"),
        OPERATIONS.fact("keyword", "Bewusstlose Person 🚑"),
        OPERATIONS.fact("address", address()),
        OPERATIONS.fact("mass_casualty", Boolean(false)),
        OPERATIONS.fact("sponsor_group", Null),
        OPERATIONS.fact("call_received_at", Timestamp(START_MS - 300_001)),
        OPERATIONS.fact("billing_distance", quantity(12.0, "km")),
    ]);
    crew.clock_offset_ms = Some(-40);
    let channel =
        |rtt_ms| record([("usable", Boolean(true)), ("rtt_ms", Integer(rtt_ms)), ("loss_percent", Decimal(0.1))]);
    let readiness = [("data", channel(48)), ("voice", channel(52)), ("suffices", Boolean(true))];
    crew.save(&[OPERATIONS.status("1-83-1", "3", None), OPERATIONS.entry(1, "readiness", readiness)]);
    crew.sync(physician);
    physician.clock_offset_ms = Some(7_200_000);
    physician.save(&[OPERATIONS.status("case", "consulted", None), OPERATIONS.fact("decision", "transport")]);
    crew.save(&[OPERATIONS.status("1-83-1", "4", Some(START_MS + 240_000)), OPERATIONS.fact("decision", "stay")]);
    crew.sync(physician);
}

fn patient(crew: &mut Desk, physician: &mut Desk) {
    crew.save(&[IDENTITY.fact("patient_unknown", Boolean(true)), IDENTITY.fact("estimated_age", quantity(70.5, "a"))]);
    crew.sync(physician);
    // One name is kept twice, one is agreed upon, and what both replace is gone.
    crew.save(&[
        IDENTITY.fact("family_name", "Müller-Lüdenscheidt"),
        IDENTITY.fact("given_name", "Jürgen"),
        IDENTITY.fact("patient_unknown", Boolean(false)),
    ]);
    physician.save(&[
        // The same letters, the umlauts as two code points each.
        IDENTITY.fact("family_name", "Mu\u{308}ller-Lu\u{308}denscheidt"),
        IDENTITY.fact("given_name", "Jürgen"),
        IDENTITY.fact("home_address", address()),
        IDENTITY.fact("phone", Null),
    ]);
    let contact = [("name", text("Łucja Ørsted 👩‍👧")), ("relation", text("spouse"))];
    crew.save_one(IDENTITY.entry(2, "contact_person", contact));
    crew.save_one(IDENTITY.entry(3, "signature", [("about", text("consent")), ("hash", hash(1))]));
    crew.sync(physician);
}

fn findings(crew: &mut Desk, physician: &mut Desk) {
    let vitals = |heart_rate, temperature| {
        [("heart_rate", Integer(heart_rate)), ("temperature", Decimal(temperature)), ("source", text("manual"))]
    };
    crew.save(&[
        CLINICAL.entry(10, "vitals", vitals(140, 36.6)),
        CLINICAL.entry(11, "note", [("text", text("Sturz aus 3 m Höhe, „Kopf zuerst“"))]),
        CLINICAL.entry(12, "pain", [("nrs", Integer(0)), ("at", Timestamp(-1)), ("site", Null)]),
        CLINICAL.entry(13, "vitals_block", block()),
    ]);
    crew.sync(physician);
    // Two corrections of one entry, each by somebody who has not seen the other.
    crew.save_one(CLINICAL.correct([14, 10], "vitals", vitals(104, 36.6)));
    physician.save_one(CLINICAL.correct([15, 10], "vitals", vitals(104, 36.7)));
    crew.save_one(CLINICAL.withdraw([16, 11], "gehört zu einem anderen Patienten"));
    crew.save_one(CLINICAL.answer("uebergabe@2/4.1/a", [("answer", text("yes")), ("value", Decimal(-0.25))]));
    physician.save_one(CLINICAL.answer("uebergabe@2/4.1/a", [("answer", text("na"))]));
    crew.sync(physician);
}

fn decisions(crew: &mut Desk, physician: &mut Desk) {
    let stroke = |version: &str| {
        let (code, system) = (text("I63.9"), text("http://fhir.de/CodeSystem/bfarm/icd-10-gm"));
        record([("code", code), ("system", system), ("version", text(version)), ("display", text("Hirninfarkt"))])
    };
    let here = crew.save(&[
        CLINICAL.fact("naca", Integer(4)),
        CLINICAL.fact("body_weight", quantity(72.0, "kg")),
        CLINICAL.fact("diagnosis", stroke("2025")),
    ]);
    let there = physician.save(&[
        CLINICAL.fact("naca", Integer(5)),
        CLINICAL.fact("body_weight", quantity(75.5, "kg")),
        CLINICAL.fact("diagnosis", stroke("2025")),
    ]);
    crew.sync(physician);
    let (path, among) = (Path::Fact("naca".to_owned()), vec![here.hash, there.hash]);
    physician.save_one(Edit::Resolve { part: Part::Clinical, path, value: Integer(5), among });
    crew.sync(physician);
}

fn orders(crew: &mut Desk, physician: &mut Desk) {
    let drug = |dose| named([("drug_text", text("Urapidil ⅒")), ("dose", Decimal(dose)), ("unit", text("mg"))]);
    let ordered = |order, dose| CLINICAL.step(order, OrderStep::Ordered { content: drug(dose) });
    crew.save_one(CLINICAL.step(1, OrderStep::Proposed { content: drug(12.5) }));
    crew.sync(physician);
    physician.save(&[ordered(1, 12.5), ordered(2, 25.0), ordered(3, 0.1), ordered(4, 5.0)]);
    crew.sync(physician);
    crew.save_one(CLINICAL.step(1, OrderStep::ReadBack));
    let dose = named([("dose", Decimal(12.5)), ("unit", text("mg"))]);
    crew.save_one(CLINICAL.step(1, OrderStep::Given { at_ms: START_MS + 900_500, dose }));
    crew.save_one(CLINICAL.step(2, OrderStep::Refused { reason: "Patient lehnt ab".to_owned() }));
    crew.save_one(CLINICAL.step(4, OrderStep::Expired));
    physician.save_one(CLINICAL.step(3, OrderStep::Cancelled { reason: "RR gefallen ⬇️".to_owned() }));
    crew.sync(physician);
}

fn narrative(crew: &mut Desk, physician: &mut Desk) {
    crew.save_one(CLINICAL.narrate("Patient ansprechbar, örtlich desorientiert 🤕. "));
    crew.sync(physician);
    crew.save_one(CLINICAL.narrate("Übelkeit 🤢, Angehörige 👨‍👩‍👧‍👦 vor Ort. "));
    physician.save_one(Edit::Narrate {
        part: Part::Clinical,
        at: Some(0),
        delete: 7,
        insert: "Der Patient".to_owned(),
    });
    crew.sync(physician);
    let end =
        Edit::NarrateUtf16 { part: Part::Clinical, at: Some(48), delete: 2, insert: "🤒 (e\u{301})".to_owned() };
    physician.save_one(end);
    crew.sync(physician);
}

fn links(crew: &mut Desk, physician: &mut Desk) {
    let (other, twin) = (case(7), case(8));
    let linked = |case| Event::Linked { case, relation: "same_patient".into(), reason: "Ausweis gefunden".into() };
    crew.save(&[CLINICAL.event(linked(other)), CLINICAL.event(linked(twin))]);
    crew.save_one(CLINICAL.event(Event::Unlinked { case: twin, reason: "Zwilling".into() }));
    let split = Event::Split { into: twin, entries: vec![entry(11), entry(12)], reason: "zwei Patienten".into() };
    crew.save_one(CLINICAL.event(split));
    crew.sync(physician);
}

fn signatures(crew: &mut Desk, physician: &mut Desk) {
    let late = crew.clock_offset_ms.take();
    let signature = sign(physician.document(Part::Clinical), Part::Clinical);
    physician.save_one(CLINICAL.event(signature));
    // Neither has seen the signature: a fact beside what was signed, and more narrative.
    crew.save(&[CLINICAL.fact("outcome", "übergeben"), CLINICAL.narrate("Nachtrag der Besatzung ✍️.")]);
    crew.clock_offset_ms = late;
    let signature = sign(crew.document(Part::Operations), Part::Operations);
    crew.save_one(OPERATIONS.event(signature));
    crew.sync(physician);
}

fn address() -> Value {
    record([
        ("street", text("Münsterstraße")),
        ("house_number", text("12 ½")),
        ("city", text("Dortmund")),
        ("latitude", Decimal(51.527_123_456_789)),
        ("longitude", Decimal(7.463_312_345_678_9)),
    ])
}

fn block() -> [(&'static str, Value); 4] {
    let mut recorder = vitals::Recorder::new(1_000, 60).expect("within limits");
    for second in 0..20 {
        let pulse = vitals::Reading { code: "8867-4", unit: "/min", scale: 0, value: 100 + second % 7 };
        let warmth = vitals::Reading { code: "8310-5", unit: "Cel", scale: 1, value: 366 };
        let readings = if second % 5 == 0 { vec![pulse, warmth] } else { vec![pulse] };
        recorder.push(START_MS + i64::from(second) * 1_000, &readings).expect("readings fit");
    }
    let samples = vitals::encode(&recorder.finish().expect("samples")).expect("a block");
    [
        ("from", Timestamp(START_MS)),
        ("interval_ms", Integer(1_000)),
        ("format", text("vitals-1")),
        ("samples", Value::Bytes(samples)),
    ]
}
