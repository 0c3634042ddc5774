//! Two hours with a monitor at 1 Hz: a block of vitals each minute, and beside it what a crew and a physician write.

use feldakte_core::{
    case::{
        Edit, Event,
        vitals::{Block, Reading, Recorder, encode},
    },
    crdt::Value,
};

use crate::mission::{self, CREW, Mission, PART, PHYSICIAN, START_MS, entry, fact, narrate, text, vitals};

const SECONDS: i64 = 2 * 60 * 60;

/// The mission's clinical document.
pub fn mission() -> Mission {
    let mut mission = Mission::new();
    let mut recorder = Recorder::new(1_000, 60).expect("a minute");
    let form: Vec<Edit> = (0..50).map(|field| fact(field, "unauffällig")).collect();
    mission.save(CREW, START_MS, &form);
    for second in 0..SECONDS {
        let time_ms = START_MS + second * 1_000;
        if let Some(block) = recorder.push(time_ms, &readings(second)).expect("within the limits") {
            mission.save(CREW, time_ms, &[block_entry(&block)]);
        }
        let Some((who, edit)) = saved_at(second) else { continue };
        mission.catch_up(who);
        mission.save(who, time_ms, &[edit]);
    }
    let last = recorder.finish().expect("the last minute");
    mission.save(CREW, START_MS + SECONDS * 1_000, &[block_entry(&last)]);
    mission
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

/// Something every ten seconds: vitals by hand, facts, notes, orders, a status, the narrative.
fn saved_at(second: i64) -> Option<(usize, Edit)> {
    if second % 10 != 5 {
        return None;
    }
    let number = usize::try_from(second / 10).expect("not negative");
    Some(match number % 12 {
        0 | 6 => (CREW, vitals(number, second)),
        3 => (CREW, entry(number, "note", vec![("text", text("Schmerz nach Lagerung deutlich rückläufig."))])),
        9 => (PHYSICIAN, narrate(&format!("Minute {}: Patient stabil, Transport läuft. ", second / 60))),
        7 => {
            let (of, status) = ("RTW 1-83-1".to_owned(), (number % 9).to_string());
            (CREW, Edit::Record { part: PART, event: Event::Status { of, status, at_ms: None } })
        }
        4 | 10 if number / 6 < 80 => {
            let (who, edits) = mission::order_step(number / 6);
            (who, edits.into_iter().next().expect("one"))
        }
        _ => (CREW, fact(number % 50, &format!("Befund {number}"))),
    })
}

fn block_entry(block: &Block) -> Edit {
    let samples = encode(block).expect("within the limits");
    let id = usize::try_from(block.start_ms - START_MS).expect("not negative") + 500_000;
    let fields = vec![
        ("format", text("feldakte vitals 1")),
        ("from", Value::Timestamp(block.start_ms)),
        ("interval_ms", Value::Integer(i64::from(block.period_ms))),
        ("samples", Value::Bytes(samples)),
        ("source", text("C3-004711")),
    ];
    entry(id, "vitals_block", fields)
}
