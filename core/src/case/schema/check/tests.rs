//! Tables of what the checks take and refuse.

use bytes::Bytes;

use super::*;
use crate::{
    case::schema::{ADDRESS, CODED},
    ids::Part::{Clinical, Identity, Operations},
};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn record<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Record(named(members))
}

fn named<const N: usize>(values: [(&str, Value); N]) -> Vec<(String, Value)> {
    values.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

#[test]
fn values_fit_their_kind_and_no_other() {
    let samples = [
        (ValueKind::Text, text("ja")),
        (ValueKind::Integer, Value::Integer(1)),
        (ValueKind::Decimal, Value::Decimal(1.0)),
        (ValueKind::Boolean, Value::Boolean(true)),
        (ValueKind::Timestamp, Value::Timestamp(1)),
        (ValueKind::Bytes, Value::Bytes(Bytes::from_static(b"x"))),
        (ValueKind::Record(ADDRESS), record([])),
    ];
    for (kind, own) in &samples {
        assert_eq!(check_value(kind, &Value::Null), Ok(()));
        assert_eq!(check_value(kind, own), Ok(()));
        for (other, foreign) in samples.iter().filter(|(other, _)| other != kind) {
            let mismatch = Mismatch::Kind { expected: kind.name(), found: other.name() };
            assert_eq!(check_value(kind, foreign), Err(mismatch));
        }
    }
}

#[test]
fn records_need_their_members_and_keep_those_of_newer_apps() {
    let icd = |code: Value| [("code", code), ("system", text("icd-10-gm")), ("version", text("2025"))];
    let newer =
        [("code", text("I21.9")), ("system", text("icd-10-gm")), ("version", text("2025")), ("seite", text("R"))];
    let wrong = Mismatch::Member { member: "code", expected: "text", found: "integer" };
    let nested = Mismatch::Member { member: "code", expected: "text", found: "record" };
    let cases = [
        (record(icd(text("I21.9"))), Ok(())),
        (record(icd(Value::Null)), Ok(())),
        (record(newer), Ok(())),
        (record(icd(Value::Integer(21))), Err(wrong)),
        (record(icd(record([]))), Err(nested)),
        (record([("code", text("I21.9")), ("system", text("icd-10-gm"))]), Err(Mismatch::Missing("version"))),
    ];
    for (value, expected) in cases {
        assert_eq!(check_value(&ValueKind::Record(CODED), &value), expected, "{value:?}");
    }
}

#[test]
fn facts_are_taken_or_refused() {
    let wrong = |name: &str, expected, found| SchemaError::WrongKind { name: name.to_owned(), expected, found };
    let pzc = record([("indication", text("331")), ("age", text("07")), ("priority", text("1"))]);
    let as_number = record([("indication", Value::Integer(331)), ("age", text("07")), ("priority", text("1"))]);
    let lacking = SchemaError::MissingField { entry: "prenotification".to_owned(), field: "indication" };
    let misplaced = SchemaError::WrongPart { name: "family_name", found: Clinical };
    let not_a_fact = |name, class| SchemaError::NotAFact { name, class };
    let (mission, visit) = (CaseKind::Mission, CaseKind::Visit);
    let cases = [
        (mission, Identity, "family_name", text("Keller"), Ok(())),
        (mission, Identity, "family_name", Value::Null, Ok(())),
        (mission, Identity, "family_name", Value::Integer(7), Err(wrong("family_name", "text", "integer"))),
        (mission, Clinical, "family_name", text("Keller"), Err(misplaced)),
        (mission, Clinical, "from_a_newer_app", Value::Integer(7), Ok(())),
        (mission, Operations, "prenotification", pzc, Ok(())),
        (mission, Operations, "prenotification", record([]), Err(lacking)),
        (
            mission,
            Operations,
            "prenotification",
            as_number,
            Err(wrong("prenotification.indication", "text", "integer")),
        ),
        (mission, Clinical, "naca", text("IV"), Err(wrong("naca", "integer", "text"))),
        (mission, Clinical, "orders", text("Heparin"), Err(not_a_fact("orders", Class::Event))),
        (mission, Clinical, "narrative", text("x"), Err(not_a_fact("narrative", Class::Narrative))),
        (visit, Clinical, "naca", text("IV"), Ok(())),
        (visit, Clinical, "valid_until", Value::Timestamp(1), Ok(())),
        (visit, Clinical, "valid_until", text("morgen"), Err(wrong("valid_until", "timestamp", "text"))),
        (visit, Clinical, "checklists", Value::Null, Err(not_a_fact("checklists", Class::Checklist))),
    ];
    for (kind, part, name, value, expected) in cases {
        assert_eq!(check_fact(kind, part, name, &value), expected, "{kind} {name}");
    }
}

#[test]
fn entries_are_taken_or_refused() {
    let wrong = |name: &str, expected, found| SchemaError::WrongKind { name: name.to_owned(), expected, found };
    let missing = |entry: &str, field| SchemaError::MissingField { entry: entry.to_owned(), field };
    let gcs = || named([("eye", Value::Integer(4)), ("verbal", Value::Integer(5)), ("motor", Value::Integer(6))]);
    let also = |name: &str, value| gcs().into_iter().chain(named([(name, value)])).collect::<Vec<_>>();
    let dose = |drug| {
        let given = [("dose", Value::Decimal(5.0)), ("unit", text("mg")), ("route", text("iv"))];
        named([("drug_text", text("Heparin")), ("drug", drug)]).into_iter().chain(named(given)).collect::<Vec<_>>()
    };
    let uncoded = record([("code", text("B01AB01")), ("system", text("atc"))]);
    let misplaced = SchemaError::WrongPart { name: "person", found: Operations };
    let (mission, visit) = (CaseKind::Mission, CaseKind::Visit);
    let cases = [
        (mission, Clinical, "gcs", gcs(), Ok(())),
        (mission, Clinical, "gcs", also("at", Value::Timestamp(1)), Ok(())),
        (mission, Clinical, "gcs", also("at", text("now")), Err(wrong("gcs.at", "timestamp", "text"))),
        (mission, Clinical, "gcs", also("from_a_newer_app", text("x")), Ok(())),
        (mission, Clinical, "gcs", also("total", text("15")), Err(wrong("gcs.total", "integer", "text"))),
        (mission, Clinical, "gcs", gcs()[..2].to_vec(), Err(missing("gcs", "motor"))),
        (mission, Clinical, "vitals", named([("spo2", Value::Null)]), Ok(())),
        (mission, Clinical, "medication", dose(Value::Null), Ok(())),
        (mission, Clinical, "medication", dose(uncoded), Err(missing("medication.drug", "version"))),
        (mission, Clinical, "from_a_newer_app", gcs(), Ok(())),
        (visit, Identity, "person", named([("role", text("guardian"))]), Ok(())),
        (visit, Operations, "person", named([("role", text("guardian"))]), Err(misplaced)),
        (visit, Clinical, "sample", named([("number", text("1"))]), Err(missing("sample", "place"))),
    ];
    for (kind, part, name, fields, expected) in cases {
        assert_eq!(check_entry(kind, part, name, &fields), expected, "{kind} {name} {fields:?}");
    }
}

#[test]
fn errors_never_carry_what_was_typed() {
    let typed = "Keller, Felix";
    let fields = named([("text", text(typed)), ("severity", text(typed)), ("deadline", text(typed))]);
    let of_entry = check_entry(CaseKind::Visit, Clinical, "finding", &fields).expect_err("a text is no time");
    let of_fact = check_fact(CaseKind::Mission, Clinical, "naca", &text(typed)).expect_err("a text is no number");
    for error in [of_entry, of_fact] {
        assert!(!format!("{error} {error:?}").contains("Keller"));
    }
}
