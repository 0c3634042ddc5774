//! The attacks, each refused for its own reason. All chunks carry valid checksums unless the checksum is the point.

use bytes::Bytes;

use super::team::{Act, Team};
use crate::{
    change::{
        Change, ChangeError,
        craft::{self, Draft},
    },
    crdt::Value,
    ids::{ActorId, ChangeHash},
    limits,
};

mod chunk;
mod columns;
mod damaged;
mod header;

const MALLORY: ActorId = ActorId([0xee; 16]);

fn draft() -> Draft {
    Draft::new(MALLORY).at([ChangeHash([1; 32])], 1, 10).with_puts("x", 3)
}

fn refusal(bytes: impl Into<Bytes>) -> ChangeError {
    Change::parse(bytes.into()).expect_err("the attack is refused")
}

fn malformed(draft: &Draft) -> &'static str {
    match refusal(draft.chunk()) {
        ChangeError::Malformed(why) => why,
        other => panic!("refused for another reason: {other:?}"),
    }
}

fn honest_reading() -> Bytes {
    let mut team = Team::new(1);
    let pressure = Act::Put { name: 0, value: Value::Text("120/80".into()) };
    team.save(0, 1_700_000_000, &[pressure]).expect("a change").bytes
}
