use super::*;

#[test]
fn four_million_operations() {
    let attack = draft().with_puts("x", 4_000_000).chunk();
    assert!(attack.len() < 120, "{} bytes claim them all", attack.len());
    assert_eq!(refusal(attack), ChangeError::TooManyOperations);
}

#[test]
fn the_limit_of_operations_is_exact() {
    let with = |ops: u32| draft().with_puts("x", ops.into()).chunk();
    assert_eq!(Change::parse(with(limits::CHANGE_OPS_MAX)).map(|change| change.ops), Ok(limits::CHANGE_OPS_MAX));
    assert_eq!(refusal(with(limits::CHANGE_OPS_MAX + 1)), ChangeError::TooManyOperations);
}

/// Each column alone can claim rows without end, whatever the action column says.
#[test]
fn runs_without_end_in_each_column() {
    let huge = [30_000, 4_000_000, 1 << 40, i64::MAX as u64];
    for count in huge {
        let runs = [
            (craft::OBJECT_ACTOR, craft::run(count, craft::unsigned(0))),
            (craft::OBJECT_COUNTER, craft::run(count, craft::unsigned(1))),
            (craft::KEY_ACTOR, craft::run(count, craft::unsigned(0))),
            (craft::KEY_COUNTER, craft::run(count, craft::signed(0))),
            (craft::KEY_STRING, craft::run(count, craft::string("x"))),
            (craft::KEY_STRING, craft::nulls(count)),
            (craft::MARK_NAME, craft::nulls(count)),
            (craft::INSERT, craft::unsigned(count)),
            (craft::INSERT, [craft::unsigned(0), craft::unsigned(count)].concat()),
            (craft::EXPAND, craft::unsigned(count)),
            (craft::ACTION, craft::run(count, craft::unsigned(1))),
            (craft::VALUE_META, craft::run(count, craft::unsigned(0))),
            (craft::PREDECESSOR_GROUP, craft::run(count, craft::unsigned(0))),
            (craft::PREDECESSOR_ACTOR, craft::run(count, craft::unsigned(0))),
            (craft::PREDECESSOR_COUNTER, craft::run(count, craft::signed(0))),
        ];
        for (column, data) in runs {
            let attack = draft().with_column(column, data).chunk();
            assert!(attack.len() < 160);
            assert_eq!(refusal(attack), ChangeError::TooManyOperations, "column {column:#x}, {count} rows");
        }
    }
}

#[test]
fn many_runs_that_add_up() {
    let many = |one: Vec<u8>| one.repeat(3);
    let attack = draft().with_column(craft::ACTION, many(craft::run(19_000, craft::unsigned(1))));
    assert_eq!(refusal(attack.chunk()), ChangeError::TooManyOperations);
    let attack = draft().with_column(craft::ACTION, many(craft::run(i64::MAX as u64, craft::unsigned(1))));
    assert_eq!(refusal(attack.chunk()), ChangeError::TooManyOperations);
    let attack = draft().with_column(craft::EXPAND, many(craft::unsigned(u64::MAX)));
    assert_eq!(refusal(attack.chunk()), ChangeError::TooManyOperations);
}

#[test]
fn literal_runs_longer_than_the_column() {
    for count in [-4, -30_000, i64::MIN] {
        let data = [craft::signed(count), craft::unsigned(1)].concat();
        assert!(Change::parse(draft().with_column(craft::ACTION, data).chunk()).is_err(), "{count}");
    }
}

#[test]
fn an_operation_with_millions_of_predecessors() {
    let group = [craft::run(2, craft::unsigned(0)), craft::literals([craft::unsigned(4_000_000)])].concat();
    assert_eq!(refusal(draft().with_column(craft::PREDECESSOR_GROUP, group).chunk()), ChangeError::TooManyOperations);
    let overflow = craft::run(3, craft::unsigned(u64::MAX));
    let attack = draft().with_column(craft::PREDECESSOR_GROUP, overflow);
    assert_eq!(refusal(attack.chunk()), ChangeError::TooManyOperations);
}

#[test]
fn predecessors_without_their_columns() {
    let claims = draft().with_column(craft::PREDECESSOR_GROUP, craft::run(3, craft::unsigned(1)));
    assert_eq!(malformed(&claims), "predecessors lack a column");
    let actors = craft::run(3, craft::unsigned(0));
    let one = claims.clone().with_column(craft::PREDECESSOR_ACTOR, actors.clone());
    assert_eq!(malformed(&one), "predecessors lack a column");
    let counters = craft::literals([2, 1, 1].map(craft::signed));
    let both = one.clone().with_column(craft::PREDECESSOR_COUNTER, counters);
    assert!(Change::parse(both.chunk()).is_ok());
    let short = one.with_column(craft::PREDECESSOR_COUNTER, craft::literals([craft::signed(2)]));
    assert_eq!(malformed(&short), "predecessors differ in length");
    let unclaimed = draft().with_column(craft::PREDECESSOR_ACTOR, actors);
    assert_eq!(malformed(&unclaimed), "predecessors differ in length");
}

#[test]
fn a_key_run_that_unrolls_to_gigabytes() {
    let rows = u64::from(limits::CHANGE_OPS_MAX);
    let fits = limits::CHANGE_UNROLLED_MAX / rows;
    let with = |len: u64| draft().with_puts(&"k".repeat(len as usize), rows).chunk();
    assert!(Change::parse(with(fits)).is_ok());
    assert_eq!(refusal(with(fits + 1)), ChangeError::TooManyOperations);
    assert_eq!(refusal(with(100_000)), ChangeError::TooManyOperations, "2 GB in 100 KB");
}

#[test]
fn a_deflated_column() {
    for bit in [craft::ACTION | 8, craft::VALUE | 8] {
        assert_eq!(refusal(draft().with_column(bit, vec![0x01]).chunk()), ChangeError::CompressedColumn);
    }
}

#[test]
fn columns_unknown_unordered_or_too_many() {
    assert_eq!(malformed(&draft().with_column(0xf2, craft::unsigned(1))), "a column is unknown");
    let mut swapped = draft();
    swapped.columns.swap(0, 1);
    assert_eq!(malformed(&swapped), "columns must ascend");
    let mut twice = draft();
    twice.columns.insert(0, twice.columns[0].clone());
    assert_eq!(malformed(&twice), "columns must ascend");
    let columns = (0..33).map(|n| (n << 4, Vec::new())).collect();
    assert_eq!(refusal(Draft { columns, ..draft() }.chunk()), ChangeError::TooMany("columns"));
}

#[test]
fn columns_that_reach_beyond_the_end() {
    let mut body = Draft { columns: Vec::new(), ..draft() }.body();
    assert_eq!(body.pop(), Some(0), "the count of columns comes last");
    for len in [2, u64::from(u32::MAX), u64::MAX] {
        let specs = [craft::unsigned(1), craft::unsigned(craft::ACTION.into()), craft::unsigned(len), vec![1]].concat();
        let attack = craft::chunk(craft::CHUNK_CHANGE, &[body.clone(), specs].concat());
        assert!(matches!(refusal(attack), ChangeError::Malformed(_)), "{len}");
    }
}

#[test]
fn columns_of_different_length() {
    for column in [craft::INSERT, craft::EXPAND] {
        assert_eq!(malformed(&draft().with_column(column, craft::unsigned(2))), "columns differ in length");
    }
    let attack = draft().with_column(craft::KEY_STRING, craft::run(4, craft::string("x")));
    assert_eq!(malformed(&attack), "columns differ in length");
}

#[test]
fn a_column_that_readers_need_left_out() {
    for column in [craft::INSERT, craft::VALUE_META, craft::PREDECESSOR_GROUP] {
        assert_eq!(malformed(&draft().without_column(column)), "a column is missing");
    }
    assert_eq!(malformed(&draft().without_column(craft::ACTION)), "columns differ in length");
}

#[test]
fn rows_without_a_value_where_one_must_be() {
    for column in [craft::ACTION, craft::VALUE_META, craft::PREDECESSOR_GROUP] {
        assert_eq!(malformed(&draft().with_column(column, craft::nulls(3))), "a row has no value");
    }
}

#[test]
fn empty_runs() {
    let empty = [(craft::KEY_STRING, craft::nulls(0)), (craft::EXPAND, vec![1, 0, 2])];
    for (column, data) in empty {
        assert_eq!(malformed(&draft().with_column(column, data)), "an empty run");
    }
}

#[test]
fn actions_and_actors_that_do_not_exist() {
    let attack = draft().with_column(craft::ACTION, craft::run(3, craft::unsigned(8)));
    assert_eq!(malformed(&attack), "an action is unknown");
    let attack = draft().with_column(craft::OBJECT_ACTOR, craft::run(3, craft::unsigned(1)));
    assert_eq!(malformed(&attack), "an actor index is out of range");
}

#[test]
fn counters_inside_operations_out_of_range() {
    let max = limits::OP_COUNTER_MAX;
    let attacks = [
        (craft::OBJECT_COUNTER, craft::run(3, craft::unsigned(max))),
        (craft::KEY_COUNTER, craft::literals([craft::signed(-1)])),
        (craft::KEY_COUNTER, craft::literals([craft::signed(max as i64)])),
        (craft::KEY_COUNTER, craft::run(3, craft::signed(max as i64 / 2))),
        (craft::KEY_COUNTER, craft::literals([max as i64 - 1, 1].map(craft::signed))),
        (craft::KEY_COUNTER, craft::literals([i64::MAX, i64::MAX].map(craft::signed))),
        (craft::PREDECESSOR_COUNTER, craft::run(3, craft::signed(i64::MIN))),
    ];
    for (column, data) in attacks {
        assert_eq!(refusal(draft().with_column(column, data).chunk()), ChangeError::CounterRange, "{column:#x}");
    }
}

#[test]
fn values_that_are_not_where_their_lengths_say() {
    let text = |len: u64| craft::literals([len << 4 | 6, 0, 0].map(craft::unsigned));
    let with = |len| draft().with_column(craft::VALUE_META, text(len)).with_column(craft::VALUE, b"abc".to_vec());
    assert!(Change::parse(with(3).chunk()).is_ok());
    for len in [0, 2, 4, 1 << 50] {
        assert_eq!(malformed(&with(len)), "values differ from their lengths");
    }
    let sum = craft::run(3, craft::unsigned(u64::MAX));
    assert_eq!(malformed(&with(3).with_column(craft::VALUE_META, sum)), "values differ from their lengths");
}

#[test]
fn a_key_that_is_not_text() {
    let attack = draft().with_column(craft::KEY_STRING, craft::run(3, vec![1, 0xff]));
    assert_eq!(malformed(&attack), "a key is not UTF-8");
}
