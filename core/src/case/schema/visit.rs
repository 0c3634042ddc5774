//! What a visit of the health office consists of (DOMAIN, "A visit").
//!
//! Persons stand in the identity document only; content names them by the id of their entry.

use super::{
    ADDRESS, ANSWER, CODED, Class, EntryKind, FINALISATION, Field, QUANTITY, STATUS,
    ValueKind::{Boolean, Bytes, Decimal, Integer, Record, Text, Timestamp},
    entry, event, fact, may, must, narrative,
};
use crate::ids::Part::{Clinical, Identity, Operations};

pub(super) const FIELDS: &[Field] = &[
    fact(Operations, "kind", Text, "The kind of case: `visit`."),
    fact(Operations, "health_office", Text, "The health office (Gesundheitsamt) that leads the case."),
    fact(Operations, "service", Text, "The office's service, such as social-psychiatric service or infection control."),
    fact(Operations, "file_reference", Text, "The reference (Aktenzeichen) of the case in the specialist system."),
    fact(Operations, "specialist_system", Text, "The specialist system (Fachverfahren) that leads the file."),
    fact(
        Operations,
        "visit_type",
        Text,
        "`home_visit`, `inspection`, `expert_opinion`, `involuntary_placement` or `school_entry_exam`.",
    ),
    fact(Operations, "purpose", Text, "What the visit is for, without person data."),
    fact(Operations, "legal_basis", Text, "The law it is done under, such as PsychKG or § 36 IfSG."),
    fact(Operations, "professional_secrecy", Boolean, "Whether the content is under secrecy after § 203 StGB."),
    fact(Operations, "retention_class", Text, "The class that sets the retention period (Löschfrist) of the case."),
    fact(Operations, "address", Record(ADDRESS), "Where the visit is; coordinates in WGS 84 degrees."),
    fact(Operations, "planned_at", Timestamp, "For when it is planned."),
    fact(Operations, "started_at", Timestamp, "When staff arrived."),
    fact(Operations, "ended_at", Timestamp, "When staff left."),
    fact(Operations, "deadline", Timestamp, "By when the case has to be done (Frist)."),
    event(Operations, "status", Record(STATUS), "Where the case stands, folded from status events."),
    event(Operations, "finalisation", Record(FINALISATION), "The signed states of this document."),
    event(Identity, "finalisation", Record(FINALISATION), "The signed states of this document."),
    fact(Clinical, "examined_at", Timestamp, "When the certificate's physician examined the person."),
    fact(Clinical, "valid_until", Timestamp, "Until when the certificate is valid, such as the end of the next day."),
    fact(Clinical, "court_deadline", Timestamp, "By when the court has to have the certificate."),
    fact(Clinical, "certificate_recipient", Text, "Whom the certificate is for, such as the court that decides."),
    fact(Clinical, "diagnosis", Record(CODED), "The leading diagnosis, ICD-10-GM with its version."),
    fact(Clinical, "outcome", Text, "What came of the visit, from the tenant's list."),
    CHECKLISTS,
    event(Clinical, "finalisation", Record(FINALISATION), "The signed states of this document."),
    narrative(Clinical, "The report in free text that several people write."),
];

const CHECKLISTS: Field = Field {
    name: "checklists",
    part: Clinical,
    class: Class::Checklist,
    value: Record(ANSWER),
    doc: "Answers by element: `yes`, `no` or `na`, a value with its UCUM unit, text, or the SHA-256 of a photo.",
};

pub(super) const ENTRIES: &[EntryKind] = &[
    entry(
        Operations,
        "task",
        &[
            must("text", Text, "What is to be done, without person data."),
            may("due_at", Timestamp, "By when it is to be done."),
            may("assigned_to", Text, "The account or unit that is to do it."),
            may("done_at", Timestamp, "When it was done."),
            may("done_by", Text, "The account of whoever did it."),
        ],
        "Something to be done; a task that is done is a correction of it.",
    ),
    entry(
        Operations,
        "reminder",
        &[
            must("due_at", Timestamp, "When the case is to come up again."),
            may("text", Text, "Why, without person data."),
        ],
        "When somebody is to look at the case again (Wiedervorlage).",
    ),
    entry(
        Operations,
        "staff_member",
        &[must("user", Text, "The user's account, never the name."), may("role", Text, "What the person does here.")],
        "Somebody of the office who takes part.",
    ),
    entry(
        Identity,
        "person",
        &[
            must("role", Text, "`subject`, `guardian` or `facility_contact`."),
            may("family_name", Text, "The person's family name."),
            may("given_name", Text, "The person's given names."),
            may("date_of_birth", Text, "The person's date of birth, ISO 8601; year or month alone if that is known."),
            may("sex", Text, "The person's administrative sex: `female`, `male`, `other` or `unknown` (FHIR)."),
            may("home_address", Record(ADDRESS), "Where the person lives."),
            may("phone", Text, "The person's telephone number."),
            may("email", Text, "The person's e-mail address."),
            may("facility", Text, "The institution the person stands for."),
            may("relation", Text, "What the person is to the subject, such as `parent` or `legal_guardian`."),
            may("language", Text, "The language the person speaks, BCP 47."),
        ],
        "Somebody the case is about or who speaks for them.",
    ),
    entry(
        Identity,
        "participant",
        &[
            must("role", Text, "What the person does here, such as `police`, `interpreter` or `facility_staff`."),
            may("name", Text, "The person's name."),
            may("person", Bytes, "The id of the entry `person`, for one of those."),
            may("organisation", Text, "Whom the person stands for."),
            may("from", Timestamp, "Since when the person was there."),
            may("until", Timestamp, "Until when the person was there."),
        ],
        "Somebody who was there on site.",
    ),
    entry(
        Identity,
        "signature",
        &[
            must("about", Text, "What is signed: `report`, `consent`, `release_from_secrecy`, `sample` …"),
            must("hash", Bytes, "SHA-256 of the signature's image."),
            may("participant", Bytes, "The id of the entry `participant` or `person` of whoever signs."),
            may("role", Text, "What the signer is."),
        ],
        "A signature given on the device.",
    ),
    entry(
        Clinical,
        "checklist",
        &[
            must("definition", Text, "The id of the definition: lower-case letters, digits and `-`."),
            must("version", Integer, "The version of the definition."),
            may("reason", Text, "Why this checklist is used."),
        ],
        "A checklist is used in this case; answers stand in `checklists`.",
    ),
    entry(
        Clinical,
        "finding",
        &[
            must("text", Text, "What was found."),
            must("severity", Text, "How severe the user rates it, from the service's list."),
            may("deadline", Timestamp, "By when it has to be put right."),
            may("code", Record(CODED), "The same as a code, with system and version."),
            may("place", Text, "Where on the site."),
            may("legal_basis", Text, "The rule it goes against."),
            may("measure", Text, "What was ordered or agreed."),
            may("element", Text, "The checklist's element it came up with, `definition@version/element`."),
            may("photo", Bytes, "SHA-256 of a photo that shows it."),
        ],
        "Something that was found (Vorkommnis).",
    ),
    entry(
        Clinical,
        "measurement",
        &[
            must("of", Text, "What was measured."),
            must("quantity", Record(QUANTITY), "The value with its UCUM unit."),
            may("code", Record(CODED), "What was measured, as a code with system and version."),
            may("place", Text, "Where it was measured."),
            may("instrument", Text, "The instrument and its serial number."),
        ],
        "Something that was measured outside of a checklist.",
    ),
    entry(
        Clinical,
        "sample",
        &[
            must("number", Text, "The sample's number, as it stands on its label."),
            must("place", Text, "Where it was taken."),
            must("taken_at", Timestamp, "When it was taken."),
            may("material", Text, "What it is, such as drinking water or a swab."),
            may("temperature", Decimal, "The temperature at the place, UCUM `Cel`."),
            may("laboratory", Text, "The laboratory it goes to."),
            may("test", Text, "What it is tested for."),
        ],
        "A sample that was taken.",
    ),
    entry(
        Clinical,
        "notification",
        &[
            must("disease", Record(CODED), "What is notified, as a code with system and version."),
            may("notified_at", Timestamp, "When the office was told."),
            may("notified_by", Text, "What kind of place has told it, such as `laboratory` or `physician`."),
            may("legal_basis", Text, "The paragraph of the IfSG."),
        ],
        "A notification (Meldung) after the IfSG that the case follows.",
    ),
    entry(
        Clinical,
        "progress_entry",
        &[
            must("text", Text, "What happened, and what comes next."),
            may("contact", Text, "How: `visit`, `phone`, `letter`, `conference` or `other`."),
            may("duration_min", Integer, "How long it took, in minutes."),
        ],
        "An entry on the course of the case (Verlaufseintrag).",
    ),
    entry(
        Clinical,
        "photo",
        &[
            must("hash", Bytes, "SHA-256 of the attachment, which carries no EXIF and no position."),
            must("media_type", Text, "Its format, such as `image/jpeg`."),
            may("len", Integer, "Its length in bytes."),
            may("caption", Text, "What it shows."),
        ],
        "A photo; the picture is an attachment.",
    ),
    entry(
        Clinical,
        "follow_up",
        &[
            must("text", Text, "What is to happen after the visit."),
            may("due_at", Timestamp, "By when it is to be done."),
            may("responsible", Text, "The service or institution that is to see to it."),
        ],
        "What is to happen after the visit.",
    ),
    entry(Clinical, "note", &[must("text", Text, "What is noted.")], "A note."),
];
