//! Owned, flat types: what crosses the language border. No name is a keyword in C, Swift, Kotlin or Python.

/// The path to the gateway as it is at the moment.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct LinkFacts {
    /// `quic` or `grpc`.
    pub transport: String,
    /// Time there and back, smoothed, milliseconds.
    pub rtt_millis: u64,
    /// Share of the packets to the gateway that were lost in the last second, 0 to 1; none when it is not known.
    pub loss: Option<f64>,
    /// Bytes per second that were sent in the last second; none at the first question.
    pub up: Option<u64>,
    /// Bytes per second that came in the last second; none at the first question.
    pub down: Option<u64>,
    /// Bytes per second that would be sent at the moment; an idle path has not been tried. None when it is not known.
    pub up_capacity: Option<u64>,
    /// How long ago something was last seen to come from the gateway, milliseconds.
    pub age_millis: u64,
}

/// Which of a case's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Part {
    /// Location, times, status.
    Operations,
    /// Person data.
    Identity,
    /// Findings, vitals, medication, narrative.
    Clinical,
}

/// A value of a field. Times are milliseconds since 1970-01-01 UTC.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Enum)]
pub enum Value {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A whole number.
    Integer {
        /// The number.
        number: i64,
    },
    /// A measured number.
    Decimal {
        /// The number.
        number: f64,
    },
    /// Yes or no.
    Boolean {
        /// The answer.
        flag: bool,
    },
    /// A point in time.
    Timestamp {
        /// Milliseconds since 1970-01-01 UTC.
        millis: i64,
    },
    /// Packed content, such as a block of vitals.
    Packed {
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Named plain values that belong together, such as a coded diagnosis.
    Record {
        /// Its members; none of them is a record.
        members: Vec<FieldValue>,
    },
    /// Asked and known to be absent.
    Absent,
}

/// A named value.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Record)]
pub struct FieldValue {
    /// The field.
    pub name: String,
    /// What stands there.
    pub value: Value,
}

/// One thing a user does to a case.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Enum)]
pub enum Edit {
    /// Sets a single fact; concurrent values of others are kept beside it.
    SetFact {
        /// The document.
        part: Part,
        /// The fact.
        name: String,
        /// Its value.
        value: Value,
    },
    /// Appends an entry, such as a set of vitals.
    AddEntry {
        /// The document.
        part: Part,
        /// Its id, from `new_id`; absent: the SDK draws one.
        entry_id: Option<String>,
        /// What kind of entry.
        kind: String,
        /// Its fields.
        fields: Vec<FieldValue>,
    },
    /// Corrects an entry by a new one; the old one stays, marked as replaced.
    CorrectEntry {
        /// The document.
        part: Part,
        /// The entry that is replaced.
        replaces: String,
        /// What kind of entry.
        kind: String,
        /// All fields of the new entry.
        fields: Vec<FieldValue>,
    },
    /// Withdraws an entry; it stays, marked as withdrawn.
    WithdrawEntry {
        /// The document.
        part: Part,
        /// The entry.
        replaces: String,
        /// Why.
        reason: String,
    },
    /// Appends to the narrative.
    Note {
        /// The document.
        part: Part,
        /// What is appended.
        text: String,
    },
    /// Changes the narrative. Places are UTF-16 units, as Kotlin, Java, JavaScript and C# count; Swift has
    /// `utf16.count`, Python `len(text.encode("utf-16-le")) // 2`.
    Narrate {
        /// The document.
        part: Part,
        /// Where, in UTF-16 units of the narrative as the app showed it.
        at: u64,
        /// How many UTF-16 units are removed there.
        remove: u64,
        /// What stands there instead.
        text: String,
    },
    /// Answers an element of a checklist.
    AnswerElement {
        /// The document.
        part: Part,
        /// The checklist's definition.
        definition: String,
        /// Its version.
        version: u32,
        /// The element.
        element: String,
        /// The answer.
        value: Value,
    },
    /// Decides between values of a fact that contradict each other.
    ResolveFact {
        /// The document.
        part: Part,
        /// The fact.
        name: String,
        /// What stands there from now on.
        value: Value,
    },
    /// Records a step of an order.
    Order {
        /// The document.
        part: Part,
        /// The order, from `new_id`: the same on all its steps.
        order_id: String,
        /// What happened to it.
        step: OrderStep,
    },
    /// Records a status.
    Status {
        /// The document.
        part: Part,
        /// Whose: a call sign, or `case`.
        owner: String,
        /// The status.
        status: String,
    },
    /// Something that this version of the SDK's surface cannot name; comes only from the SDK.
    Unnamed {
        /// What it does, in English.
        text: String,
    },
}

/// What happened to an order.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Enum)]
pub enum OrderStep {
    /// Somebody asks for it.
    Proposed {
        /// Drug, dose, unit, route; or the measure.
        content: Vec<FieldValue>,
    },
    /// A physician orders it.
    Ordered {
        /// As above.
        content: Vec<FieldValue>,
    },
    /// Whoever is to do it has repeated it.
    ReadBack,
    /// It was done.
    Given {
        /// When, milliseconds since 1970-01-01 UTC.
        at_millis: i64,
        /// Dose and unit.
        dose: Vec<FieldValue>,
    },
    /// It was not done.
    Declined {
        /// Why.
        reason: String,
    },
    /// Its time has passed.
    Expired,
    /// It is taken back.
    Cancelled {
        /// Why.
        reason: String,
    },
}

/// An order as its events make it.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Record)]
pub struct OrderView {
    /// Its id.
    pub id: String,
    /// `proposed`, `ordered`, `read_back`, `given`, `refused`, `expired` or `cancelled`.
    pub state: String,
    /// What people should look at, as stable English words such as `GivenWithoutVisibleOrder`.
    pub flags: Vec<String>,
    /// Names of its steps, in an order that agrees with what their writers had seen.
    pub steps: Vec<String>,
}

/// A fact with every value that stands in it concurrently.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Record)]
pub struct Fact {
    /// The fact.
    pub name: String,
    /// One; several when devices disagree.
    pub values: Vec<FactValue>,
}

/// A value and who wrote it.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Record)]
pub struct FactValue {
    /// What stands there.
    pub value: Value,
    /// When it was written, by the writer's clock: milliseconds since 1970-01-01 UTC.
    pub written_at_millis: i64,
    /// Gateway clock minus that clock, milliseconds, if it had been measured.
    pub clock_offset_millis: Option<i64>,
    /// The certified device, as a UUID; absent until the gateway has certified it.
    pub device: Option<String>,
}

/// An appended entry.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Record)]
pub struct Entry {
    /// Its id; absent for entries of apps that give none.
    pub id: Option<String>,
    /// What kind of entry.
    pub kind: String,
    /// Its fields, by name.
    pub fields: Vec<FieldValue>,
    /// Whether it stands: neither corrected nor withdrawn.
    pub is_current: bool,
    /// The entry it corrects or withdraws.
    pub replaces: Option<String>,
    /// When it was written, by the writer's clock: milliseconds since 1970-01-01 UTC.
    pub written_at_millis: i64,
    /// Gateway clock minus that clock, milliseconds, if it had been measured.
    pub clock_offset_millis: Option<i64>,
    /// The certified device, as a UUID; absent until the gateway has certified it.
    pub device: Option<String>,
}

/// One of the case's documents.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Record)]
pub struct CaseDocument {
    /// Which.
    pub part: Part,
    /// Facts, by name.
    pub facts: Vec<Fact>,
    /// Answers to checklists, by `definition@version/element`.
    pub checklists: Vec<Fact>,
    /// Entries in document order.
    pub entries: Vec<Entry>,
    /// The narrative.
    pub narrative: String,
}

/// A case as it is on this device.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Record)]
pub struct WholeCase {
    /// Its id, a UUID.
    pub id: String,
    /// Its documents, as far as this device holds them.
    pub documents: Vec<CaseDocument>,
    /// How safe it is.
    pub safety: CaseSafety,
}

/// How safe the changes of this device to a case are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct CaseSafety {
    /// In one word: the least safe that applies.
    pub state: Safety,
    /// Changes saved on this device only.
    pub local: u64,
    /// Changes on their way.
    pub sent: u64,
    /// Changes durable at the gateway.
    pub durable: u64,
    /// Changes the gateway refused; parked with reason and content.
    pub refused: u64,
    /// Changes made after access had ended, kept at the gateway for a supervisor.
    pub kept: u64,
    /// Parts of the case have not arrived yet.
    pub incomplete: bool,
    /// This device's access has ended.
    pub access_ended: bool,
}

/// How safe, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Safety {
    /// Something was refused and wants a person.
    Refused,
    /// Something is on this device only.
    Local,
    /// All of it is on its way.
    Sent,
    /// Everything is durable at the gateway.
    Durable,
}

/// A line in the list of cases.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct CaseOverview {
    /// Its id, a UUID.
    pub id: String,
    /// How safe it is.
    pub safety: CaseSafety,
}

/// A refused change.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, uniffi::Record)]
pub struct ParkedChange {
    /// Why, as a stable English word such as `NotPermitted`.
    pub reason: String,
    /// What the user did.
    pub edits: Vec<Edit>,
}

feldakte_client_sdk::hide_content! {
    Value, FieldValue, Edit, OrderStep, OrderView, Fact, FactValue, Entry, CaseDocument, WholeCase, CaseOverview, ParkedChange,
    ClientStatus { link, cases, safety, all_safe, unsafe_of_others, wipe },
    DeviceUser { is_active, has_pin, unsent },
}

/// The link to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ConnectionState {
    /// The app wants no connection.
    Offline,
    /// Dialling, or waiting to dial again.
    Connecting,
    /// In session.
    Connected,
    /// The gateway refuses this device until somebody acts.
    Refused,
}

/// The whole client in one look.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct ClientStatus {
    /// The link.
    pub link: ConnectionState,
    /// Cases on this device.
    pub cases: u64,
    /// Changes over all cases.
    pub safety: CaseSafety,
    /// Every change ever made on this device is durable at the gateway.
    pub all_safe: bool,
    /// Who uses the device, a pseudonym; `None` when nobody has signed in.
    pub user: Option<String>,
    /// Changes of other users of this device that are not safe yet.
    pub unsafe_of_others: u64,
    /// How far an order to destroy everything has been carried out; `None` without one.
    pub wipe: Option<WipeProgress>,
}

/// Somebody who has signed in on this device before.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct DeviceUser {
    /// A pseudonym.
    pub id: String,
    /// He uses the device at the moment.
    pub is_active: bool,
    /// He signs in with a PIN.
    pub has_pin: bool,
    /// Changes of his that the gateway has not confirmed.
    pub unsent: u64,
}

/// Why somebody opens a case that was not granted to him.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum EmergencyReason {
    /// A life is in danger.
    LifeInDanger,
    /// Taken over from somebody who could not share the case.
    TakenOver,
    /// The case was assigned to somebody else by mistake.
    WronglyAssigned,
    /// The text says why.
    Other,
}

/// How far an order to destroy everything has been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum WipeProgress {
    /// Unsent work is being delivered; nothing can be read or written.
    Ordered,
    /// Everything is destroyed.
    Destroyed,
    /// And the gateway knows.
    Confirmed,
}

/// Something an app may want to show at once.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Happening {
    /// The link has changed.
    Link {
        /// To what.
        state: ConnectionState,
    },
    /// The content of a case has changed.
    CaseChanged {
        /// Its id.
        id: String,
        /// What of it, as `part/path`; empty: read it again.
        paths: Vec<String>,
    },
    /// How safe a case is has changed.
    SafetyChanged {
        /// Its id.
        id: String,
    },
    /// This device's access to the case has ended, its work is delivered, and its content has been destroyed.
    CaseRemoved {
        /// Its id.
        id: String,
    },
    /// The gateway was not heard of for too long: what is safe there was removed, unsent work is still here.
    ContentExpired,
    /// Somebody else uses the device: forget what is on the screen, and read again.
    UserChanged,
    /// The user's token is believed no more: sign in again.
    SignInEnded,
    /// By order of the gateway everything on this device was destroyed.
    Wiped,
}
