use super::*;

#[test]
fn an_actor_of_wrong_length() {
    for len in [0, 1, 15, 17, 64] {
        assert_eq!(malformed(&Draft { actor: vec![7; len], ..draft() }), "an actor is 16 bytes");
        let others = vec![vec![7; 16], vec![8; len], vec![9; 64]];
        assert_eq!(malformed(&Draft { others, ..draft() }), "an actor is 16 bytes");
    }
}

#[test]
fn seq_and_start_op_of_zero() {
    for (seq, start_op) in [(0, 10), (1, 0)] {
        let attack = Draft { seq, start_op, ..draft() };
        assert_eq!(malformed(&attack), "seq and start_op count from 1");
    }
}

#[test]
fn start_op_near_two_to_the_32() {
    for start_op in [limits::OP_COUNTER_MAX - 3, u64::from(u32::MAX) - 3, u64::from(u32::MAX), 1 << 32, u64::MAX] {
        assert_eq!(refusal(Draft { start_op, ..draft() }.chunk()), ChangeError::CounterRange, "{start_op}");
    }
    let last = Draft { start_op: limits::OP_COUNTER_MAX - 4, ..draft() };
    assert!(Change::parse(last.chunk()).is_ok_and(|change| change.max_op() < limits::OP_COUNTER_MAX));
}

#[test]
fn seq_beyond_every_counter() {
    assert_eq!(refusal(Draft { seq: u64::MAX, ..draft() }.chunk()), ChangeError::CounterRange);
}

/// Differences between such times overflow inside the library, which panics or computes nonsense.
#[test]
fn a_time_at_the_end_of_days() {
    for time in [i64::MIN, i64::MAX, (1 << 48) + 1] {
        assert_eq!(malformed(&Draft { time, ..draft() }), "the time is out of range");
    }
    assert!(Change::parse(Draft { time: -(1 << 48), ..draft() }.chunk()).is_ok());
}

#[test]
fn a_dependency_named_twice() {
    let deps = vec![ChangeHash([1; 32]), ChangeHash([2; 32]), ChangeHash([1; 32])];
    assert_eq!(malformed(&Draft { deps, ..draft() }), "a dependency stands twice");
}

#[test]
fn more_dependencies_than_allowed() {
    let deps = |count: usize| {
        (0..count)
            .map(|n| [(n / 256) as u8, n as u8].repeat(16))
            .map(|bytes| ChangeHash(bytes.try_into().expect("32 bytes")))
    };
    let with = |count| Draft { deps: deps(count).collect(), ..draft() }.chunk();
    assert!(Change::parse(with(limits::CHANGE_DEPS_MAX)).is_ok());
    assert_eq!(refusal(with(limits::CHANGE_DEPS_MAX + 1)), ChangeError::TooMany("dependencies"));
}

#[test]
fn counts_that_the_bytes_cannot_hold() {
    // Claims 2^60 dependencies in nine bytes: nothing may be allocated for them.
    let body = craft::unsigned(1 << 60);
    let error = refusal(craft::chunk(craft::CHUNK_CHANGE, &body));
    assert_eq!(error, ChangeError::Malformed("a length reaches beyond the end"));
}

#[test]
fn a_message_that_is_long_or_not_text() {
    let with = |message| Draft { message, ..draft() };
    assert!(Change::parse(with(vec![b'm'; limits::CHANGE_MESSAGE_MAX]).chunk()).is_ok());
    let long = with(vec![b'm'; limits::CHANGE_MESSAGE_MAX + 1]);
    assert_eq!(refusal(long.chunk()), ChangeError::TooMany("message bytes"));
    assert_eq!(malformed(&with(vec![0xff])), "the message is not UTF-8");
}

#[test]
fn other_actors_that_repeat_descend_or_name_the_writer() {
    for others in [[[2; 16], [2; 16]], [[3; 16], [2; 16]], [[2; 16], MALLORY.0]] {
        let others = others.map(Vec::from).to_vec();
        assert_eq!(malformed(&Draft { others, ..draft() }), "other actors must ascend");
    }
}

#[test]
fn more_other_actors_than_a_document_may_have() {
    let others = (0..=limits::ACTORS_MAX).map(|n| [vec![0; 14], (n as u16).to_be_bytes().to_vec()].concat());
    let attack = Draft { others: others.collect(), ..draft() };
    assert_eq!(refusal(attack.chunk()), ChangeError::TooMany("actors"));
}
