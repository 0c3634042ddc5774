//! A mission without photos as a busy crew and a tele-physician write it: 45 minutes, a monitor with four channels at 1 Hz,
//! something typed every ten seconds, twenty orders.

use feldakte_core::{
    case::{
        Edit, Event, OrderStep,
        vitals::{Block, Reading, Recorder, encode},
    },
    crdt::Value,
    ids::{EntryId, OrderId, Part},
};

use super::random_uuid;

/// How long it lasts.
pub const SECONDS: i64 = 45 * 60;

/// What is saved in it, second by second.
pub struct Mission {
    start_ms: i64,
    recorder: Recorder,
    orders: Vec<OrderId>,
}

/// What is saved as one change.
pub struct Saved {
    /// By the physician; by the crew otherwise.
    pub by_physician: bool,
    /// What it does.
    pub edits: Vec<Edit>,
}

impl Mission {
    /// Begins at that time.
    pub fn new(start_ms: i64) -> Self {
        let orders = (0..ORDERS).map(|_| OrderId(random_uuid())).collect();
        Self { start_ms, recorder: Recorder::new(1_000, BLOCK).expect("a minute"), orders }
    }

    /// With what the case is opened: what dispatch has told, who the patient is, and a form of fifty findings.
    pub fn opening(&self) -> Vec<Edit> {
        let told = [
            (Part::Operations, "keyword", "RD2 Brustschmerz"),
            (Part::Operations, "mission_number", "2026-0114233"),
            (Part::Operations, "call_sign", "Florian Dortmund 1-RTW-1"),
            (Part::Identity, "family_name", "Mustermann"),
            (Part::Identity, "given_name", "Erika"),
        ];
        let told = told.into_iter().map(|(part, name, value)| fact(part, name, value));
        told.chain((0..FINDINGS).map(|number| finding(number, "unauffällig"))).collect()
    }

    /// What is saved in that second.
    pub fn second(&mut self, second: i64) -> Vec<Saved> {
        let readings = readings(second);
        let block = self.recorder.push(self.start_ms + second * 1_000, &readings).expect("within the limits");
        let block = block.map(|block| Saved { by_physician: false, edits: vec![block_entry(&block)] });
        block.into_iter().chain(self.typed(second)).collect()
    }

    fn typed(&self, second: i64) -> Option<Saved> {
        if second % 10 != 5 {
            return None;
        }
        let number = usize::try_from(second / 10).expect("not negative");
        let crew = |edit| Saved { by_physician: false, edits: vec![edit] };
        Some(match number % 6 {
            0 => crew(entry("vitals", by_hand(number))),
            1 | 4 => self.order_step(number / 3),
            2 => Saved {
                by_physician: true,
                edits: vec![narrate(&format!("Minute {}: Patientin stabil, Transport läuft. ", second / 60))],
            },
            3 => crew(entry("note", vec![("text", text("Schmerz nach Lagerung deutlich rückläufig."))])),
            _ => crew(finding(number % FINDINGS, &format!("Befund {number}"))),
        })
    }

    /// Proposed by the crew, ordered by the physician, read back, given.
    fn order_step(&self, number: usize) -> Saved {
        let order = self.orders[number / 4 % ORDERS];
        let content =
            [("dose", Value::Decimal(0.1)), ("drug", text("Fentanyl")), ("route", text("iv")), ("unit", text("mg"))];
        let content: Vec<_> = content.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let step = match number % 4 {
            0 => OrderStep::Proposed { content },
            1 => OrderStep::Ordered { content },
            2 => OrderStep::ReadBack,
            _ => OrderStep::Given { at_ms: self.start_ms + number as i64, dose: content[..1].to_vec() },
        };
        let edit = Edit::Record { part: Part::Clinical, event: Event::Order { order, step } };
        Saved { by_physician: number % 4 == 1, edits: vec![edit] }
    }
}

/// Four channels each second, and blood pressure every five minutes.
fn readings(second: i64) -> Vec<Reading<'static>> {
    let reading = |code, unit, scale, value: i64| {
        let value = i32::try_from(value).expect("a vital sign");
        Reading { code, unit, scale, value }
    };
    let mut readings = vec![
        reading("8867-4", "/min", 0, 84 + swing(second, 2, 15)),
        reading("59408-5", "%", 0, 95 + swing(second, 20, 3)),
        reading("9279-1", "/min", 0, 16 + swing(second, 8, 4)),
        reading("8310-5", "Cel", 1, 368 + swing(second, 120, 6)),
    ];
    if second % 300 == 30 {
        readings.push(reading("8480-6", "mm[Hg]", 0, 125 + swing(second, 30, 20)));
        readings.push(reading("8462-4", "mm[Hg]", 0, 75 + swing(second, 30, 10)));
    }
    readings
}

/// A value that moves once in so many seconds, as noise does.
fn swing(second: i64, seconds: i64, range: i64) -> i64 {
    let noise = ((second / seconds) as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((noise ^ (noise >> 29)) >> 40) as i64 % (2 * range + 1) - range
}

fn block_entry(block: &Block) -> Edit {
    let fields = vec![
        ("format", text("feldakte vitals 1")),
        ("from", Value::Timestamp(block.start_ms)),
        ("interval_ms", Value::Integer(i64::from(block.period_ms))),
        ("samples", Value::Bytes(encode(block).expect("within the limits"))),
        ("source", text("C3-004711")),
    ];
    entry("vitals_block", fields)
}

fn by_hand(number: usize) -> Vec<(&'static str, Value)> {
    let integer = |from, range| Value::Integer(from + number as i64 * 7 % range);
    vec![
        ("blood_pressure_diastolic", integer(70, 20)),
        ("blood_pressure_systolic", integer(110, 40)),
        ("heart_rate", integer(70, 50)),
        ("respiratory_rate", integer(12, 8)),
        ("spo2", integer(92, 8)),
    ]
}

fn finding(number: usize, value: &str) -> Edit {
    fact(Part::Clinical, &format!("befund_{number:02}"), value)
}

fn fact(part: Part, name: &str, value: &str) -> Edit {
    Edit::SetFact { part, name: name.to_owned(), value: text(value) }
}

fn entry(kind: &str, fields: Vec<(&str, Value)>) -> Edit {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Edit::AddEntry { part: Part::Clinical, id: EntryId(random_uuid()), kind: kind.to_owned(), fields }
}

fn narrate(insert: &str) -> Edit {
    Edit::Narrate { part: Part::Clinical, at: None, delete: 0, insert: insert.to_owned() }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Samples of the monitor in one entry.
const BLOCK: usize = 60;
const FINDINGS: usize = 50;
const ORDERS: usize = 20;
