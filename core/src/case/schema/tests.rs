//! The catalogue keeps its own rules: names, parts, sentences.

use std::collections::BTreeSet;

use super::*;
use crate::ids::Part::{Clinical, Identity, Operations};

/// What DOMAIN names in the steps of a mission, the list of a visit and the glossary.
const DEMANDED_FACTS: [(CaseKind, Part, &[&str]); 5] = [
    (
        CaseKind::Mission,
        Operations,
        &[
            "kind",
            "shared_incident_id",
            "mission_number",
            "dispatch_centre",
            "keyword",
            "address",
            "resource",
            "call_sign",
            "sponsor_group",
            "tele_centre",
            "mass_casualty",
            "transfer",
            "dispatched_at",
            "decision",
            "destination",
            "destination_eta_at",
            "prenotification",
            "billing_started_at",
            "billing_ended_at",
            "status",
            "finalisation",
        ],
    ),
    (
        CaseKind::Mission,
        Identity,
        &["family_name", "given_name", "date_of_birth", "sex", "insurance_number", "patient_unknown"],
    ),
    (CaseKind::Mission, Clinical, &["naca", "outcome", "diagnosis", "orders", "finalisation", "narrative"]),
    (
        CaseKind::Visit,
        Operations,
        &[
            "kind",
            "health_office",
            "service",
            "file_reference",
            "purpose",
            "legal_basis",
            "specialist_system",
            "professional_secrecy",
            "retention_class",
            "visit_type",
            "deadline",
            "status",
        ],
    ),
    (CaseKind::Visit, Clinical, &["examined_at", "valid_until", "court_deadline", "checklists", "narrative"]),
];

const DEMANDED_ENTRIES: [(CaseKind, Part, &[&str]); 6] = [
    (
        CaseKind::Mission,
        Operations,
        &["unit_status", "handover", "readiness", "link_quality", "backup_request", "crew_member"],
    ),
    (CaseKind::Mission, Identity, &["caller", "signature"]),
    (
        CaseKind::Mission,
        Clinical,
        &[
            "history",
            "abcde",
            "gcs",
            "pain",
            "skin",
            "pupils",
            "vitals",
            "vitals_block",
            "medication",
            "measure",
            "ecg",
            "photo",
            "consultation",
            "monitor_binding",
            "triage",
            "note",
            "quality_questionnaire",
        ],
    ),
    (CaseKind::Visit, Operations, &["task", "reminder"]),
    (CaseKind::Visit, Identity, &["person", "participant", "signature"]),
    (
        CaseKind::Visit,
        Clinical,
        &["checklist", "finding", "sample", "notification", "progress_entry", "follow_up", "photo", "note"],
    ),
];

/// Names that say who a person is. `name` stands for everything a contact or a signer is called.
const PERSON_DATA: [&str; 13] = [
    "family_name",
    "given_name",
    "name",
    "date_of_birth",
    "sex",
    "estimated_age",
    "home_address",
    "phone",
    "email",
    "insurance_number",
    "insurer",
    "patient_unknown",
    "general_practitioner",
];

/// What DOMAIN, rule 6, keeps out of the product.
const JUDGEMENT: [&str; 5] = ["alarm", "score", "trend", "advice", "risk"];

/// Names that entries use for themselves where they are stored.
const RESERVED: [&str; 3] = ["id", "kind", "replaces"];

/// Every name, with the part it stands in.
fn names(kind: CaseKind) -> Vec<(Part, &'static str)> {
    let facts = fields(kind).iter().flat_map(|field| names_with_members(field.part, field.name, &field.value));
    let entries = entry_kinds(kind).iter().flat_map(|entry| {
        let own = entry.fields.iter().flat_map(|field| names_with_members(entry.part, field.name, &field.value));
        own.chain([(entry.part, entry.kind)])
    });
    facts.chain(entries).collect()
}

fn names_with_members(part: Part, name: &'static str, value: &ValueKind) -> Vec<(Part, &'static str)> {
    let members: &[RecordField] = if let ValueKind::Record(members) = value { members } else { &[] };
    members.iter().map(|member| member.name).chain([name]).map(|name| (part, name)).collect()
}

fn values(kind: CaseKind) -> impl Iterator<Item = ValueKind> {
    let entries = entry_kinds(kind).iter().flat_map(|entry| entry.fields);
    fields(kind).iter().map(|field| field.value).chain(entries.map(|field| field.value))
}

fn all_unique<T: Ord>(items: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}

#[test]
fn what_the_domain_names_is_there() {
    for (kind, part, demanded) in DEMANDED_FACTS {
        let missing: Vec<_> = demanded.iter().filter(|name| field(kind, part, name).is_none()).collect();
        assert!(missing.is_empty(), "{kind} {part:?} lacks {missing:?}");
    }
    for (kind, part, demanded) in DEMANDED_ENTRIES {
        let missing: Vec<_> = demanded.iter().filter(|name| entry_kind(kind, part, name).is_none()).collect();
        assert!(missing.is_empty(), "{kind} {part:?} lacks {missing:?}");
    }
}

#[test]
fn names_are_unique_per_part() {
    for kind in CaseKind::ALL {
        assert!(all_unique(fields(kind).iter().map(|field| (field.part, field.name))));
        assert!(all_unique(entry_kinds(kind).iter().map(|entry| (entry.part, entry.kind))));
        for entry in entry_kinds(kind) {
            let all = entry.fields.iter().chain(COMMON).map(|field| field.name);
            assert!(all_unique(all.chain(RESERVED)), "{}", entry.kind);
        }
        for value in values(kind) {
            let ValueKind::Record(members) = value else { continue };
            assert!(all_unique(members.iter().map(|member| member.name)));
        }
    }
}

#[test]
fn names_are_lower_snake_case() {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    for (_, name) in CaseKind::ALL.into_iter().flat_map(names) {
        assert!(name.split('_').all(is_word) && name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
    }
}

/// DOMAIN, rule 6: the product transports, stores and presents.
#[test]
fn rule_6_nothing_is_named_like_a_clinical_judgement() {
    for (_, name) in CaseKind::ALL.into_iter().flat_map(names) {
        assert!(!name.split('_').any(|word| JUDGEMENT.contains(&word)), "{name}");
    }
}

#[test]
fn every_doc_is_one_sentence() {
    let of_kind = |kind| {
        let entries = entry_kinds(kind).iter();
        let inner = entries.clone().flat_map(|entry| entry.fields).map(|field| (field.name, field.doc));
        let outer = entries.map(|entry| (entry.kind, entry.doc));
        fields(kind).iter().map(|field| (field.name, field.doc)).chain(inner).chain(outer)
    };
    let common = COMMON.iter().map(|field| (field.name, field.doc));
    for (name, doc) in CaseKind::ALL.into_iter().flat_map(of_kind).chain(common) {
        let ends = doc.ends_with('.') || doc.ends_with('…');
        assert!(doc.contains(' ') && ends && !doc.contains(". ") && !doc.contains('\n'), "{name}: {doc}");
    }
}

#[test]
fn person_data_stand_in_the_identity_document_only() {
    for kind in CaseKind::ALL {
        for (part, name) in names(kind).into_iter().filter(|(_, name)| PERSON_DATA.contains(name)) {
            assert_eq!(part, Identity, "{kind} {name}");
        }
        let is_own = |field: &&Field| field.part == Identity && field.class == Class::Fact;
        for fact in fields(kind).iter().filter(is_own) {
            assert!(PERSON_DATA.contains(&fact.name), "{}: is it person data?", fact.name);
        }
    }
}

/// DOMAIN, rule 7: a code without its system and version says nothing in ten years.
#[test]
fn rule_7_every_code_comes_with_its_system_and_version() {
    let mut coded = 0;
    for value in CaseKind::ALL.into_iter().flat_map(values) {
        let ValueKind::Record(members) = value else { continue };
        let is_required = |name: &str| members.iter().any(|member| member.name == name && member.required);
        if members.iter().any(|member| member.name == "code") {
            assert!(is_required("code") && is_required("system") && is_required("version"), "{members:?}");
            coded += 1;
        }
    }
    assert!(coded > 5, "{coded} coded values");
}

/// DOMAIN, rule 5: deadlines are data, points in time like any other.
#[test]
fn rule_5_deadlines_are_points_in_time() {
    let deadlines = ["valid_until", "court_deadline", "deadline", "due"];
    let facts = CaseKind::ALL.into_iter().flat_map(fields).map(|field| (field.name, field.value));
    let entries = CaseKind::ALL.into_iter().flat_map(entry_kinds).flat_map(|entry| entry.fields);
    let all: Vec<_> = facts.chain(entries.map(|field| (field.name, field.value))).collect();
    let found: Vec<_> = all.iter().filter(|(name, _)| deadlines.contains(name)).collect();
    assert!(found.len() >= 3, "{found:?}");
    assert!(found.iter().all(|(_, value)| *value == ValueKind::Timestamp), "{found:?}");
}

#[test]
fn members_of_records_are_plain() {
    for value in CaseKind::ALL.into_iter().flat_map(values) {
        let ValueKind::Record(members) = value else { continue };
        assert!(!members.is_empty() && members.iter().all(|member| !matches!(member.value, ValueKind::Record(_))));
    }
}

#[test]
fn kinds_round_trip_as_number_and_name() {
    assert_eq!(CaseKind::ALL.map(|kind| (kind as u8, kind.name())), [(1, "mission"), (2, "visit")]);
    for kind in CaseKind::ALL {
        assert_eq!(CaseKind::from_number(kind as u8), Some(kind));
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!("Mission".parse::<CaseKind>().is_err() && CaseKind::from_number(3).is_none());
}
