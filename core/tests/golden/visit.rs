//! The golden visit: field staff inspect a day nursery, their supervisor writes along.

use feldakte_core::{
    access::Role,
    case::{Edit, schema::CaseKind, sign},
    crdt::Value::{Boolean, Bytes, Decimal, Integer, Null, Timestamp},
    ids::{CaseId, Part},
};

use crate::desk::{Desk, In, Person, case, entry, hash, quantity, record, text};

const CASE: CaseId = case(2);
const STAFF: Person = Person { device: 3, role: Role::FieldStaff, case: CASE };
const SUPERVISOR: Person = Person { device: 4, role: Role::Supervisor, case: CASE };
const OPERATIONS: In = In(Part::Operations);
const IDENTITY: In = In(Part::Identity);
const CLINICAL: In = In(Part::Clinical);
/// 2025-11-03 07:06:40 UTC.
const START_MS: i64 = 1_762_153_600_000;

/// Who writes it.
pub fn people() -> [Person; 2] {
    [STAFF, SUPERVISOR]
}

/// Writes it; gives the staff's replica, which in the end has everything.
pub fn write() -> Desk {
    let mut staff = Desk::new(CaseKind::Visit, STAFF, START_MS);
    let mut supervisor = Desk::new(CaseKind::Visit, SUPERVISOR, START_MS);
    supervisor.clock_offset_ms = Some(0);
    plan(&mut staff, &mut supervisor);
    persons(&mut staff, &mut supervisor);
    checklist(&mut staff, &mut supervisor);
    report(&mut staff, &mut supervisor);
    staff
}

fn plan(staff: &mut Desk, supervisor: &mut Desk) {
    supervisor.save(&[
        OPERATIONS.fact("kind", "visit"),
        OPERATIONS.fact("visit_type", "inspection"),
        OPERATIONS.fact("purpose", "Begehung Kita „Löwenzahn“ 🦁"),
        OPERATIONS.fact("legal_basis", "§ 36 IfSG"),
        OPERATIONS.fact("professional_secrecy", Boolean(true)),
        OPERATIONS.fact("planned_at", Timestamp(START_MS + 3_600_000)),
        OPERATIONS.fact("address", record([("street", text("Grüner Weg")), ("latitude", Decimal(-0.5))])),
        Edit::RaiseSchema { part: Part::Operations, min_schema: 1 },
    ]);
    let task = |done| [("text", text("Schlüssel für den Küchentrakt")), ("done_at", done)];
    supervisor.save_one(OPERATIONS.entry(1, "task", task(Null)));
    staff.sync(supervisor);
    staff.clock_offset_ms = Some(86_400_123);
    staff.save(&[OPERATIONS.status("case", "started", None), OPERATIONS.fact("started_at", Timestamp(START_MS))]);
    staff.save_one(OPERATIONS.correct([2, 1], "task", task(Timestamp(START_MS + 1))));
    supervisor.save_one(OPERATIONS.fact("started_at", Timestamp(START_MS + 60_000)));
    staff.sync(supervisor);
}

fn persons(staff: &mut Desk, supervisor: &mut Desk) {
    let guardian = [("role", text("facility_contact")), ("family_name", text("Öztürk-Weiß")), ("language", text("tr"))];
    staff.save_one(IDENTITY.entry(3, "person", guardian));
    let id = Bytes(bytes::Bytes::copy_from_slice(entry(3).as_bytes()));
    staff.save(&[
        IDENTITY.entry(4, "participant", [("role", text("facility_staff")), ("person", id.clone())]),
        IDENTITY.entry(5, "signature", [("about", text("report")), ("hash", hash(200)), ("participant", id)]),
    ]);
    staff.sync(supervisor);
}

fn checklist(staff: &mut Desk, supervisor: &mut Desk) {
    let used = [("definition", text("hygiene-kita")), ("version", Integer(3))];
    staff.save_one(CLINICAL.entry(6, "checklist", used));
    staff.sync(supervisor);
    let no = || [("answer", text("no")), ("text", text("Küche: Kühlschrank bei 9,5 °C 🌡️")), ("photo", hash(3))];
    staff.save(&[
        CLINICAL.answer("hygiene-kita@3/4.1", no()),
        CLINICAL.answer("hygiene-kita@3/4.2", [("answer", text("yes"))]),
        CLINICAL.answer("hygiene-kita@3/4.3", [("value", Decimal(9.5)), ("unit", text("Cel"))]),
    ]);
    // One answer that contradicts, one that agrees, one to another version.
    supervisor.save(&[
        CLINICAL.answer("hygiene-kita@3/4.1", [("answer", text("na"))]),
        CLINICAL.answer("hygiene-kita@3/4.2", [("answer", text("yes"))]),
        CLINICAL.answer("hygiene-kita@4/4.2", [("answer", text("no"))]),
    ]);
    staff.sync(supervisor);
}

fn report(staff: &mut Desk, supervisor: &mut Desk) {
    let finding = [
        ("text", text("Handwaschbecken ohne Seife")),
        ("severity", text("gering")),
        ("deadline", Timestamp(START_MS + 1_209_600_000)),
        ("element", text("hygiene-kita@3/4.1")),
    ];
    let sample = [
        ("number", text("T-0007")),
        ("place", text("Küche, Spüle")),
        ("taken_at", Timestamp(START_MS + 5_000)),
        ("temperature", Decimal(12.0)),
    ];
    let measured = [("of", text("pH")), ("quantity", quantity(7.35, "[pH]"))];
    staff.save(&[
        CLINICAL.entry(7, "finding", finding),
        CLINICAL.entry(8, "sample", sample),
        CLINICAL.entry(9, "measurement", measured),
        CLINICAL.narrate("Begehung ohne Voranmeldung. "),
    ]);
    staff.sync(supervisor);
    staff.save_one(CLINICAL.narrate("Die Leitung war anwesend. "));
    supervisor.save_one(CLINICAL.narrate("Nachkontrolle in 14 Tagen 🗓️. "));
    supervisor.save_one(CLINICAL.withdraw([10, 9], "Messgerät nicht geeicht"));
    staff.sync(supervisor);
    let signature = sign(staff.document(Part::Clinical), Part::Clinical);
    staff.save_one(CLINICAL.event(signature));
    staff.sync(supervisor);
}
