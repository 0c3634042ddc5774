//! What is said about calls.

use feldakte_core::{
    call::{
        Act, Category, Centre, Duty, End, Fact, Intent, Joined, Leg, Media, Out, Outcome, Phase, Phone, Place, Refusal,
        Relay, Reply, Say, Signal, Standing, Target, Times, Told,
    },
    ids::{CallId, CaseId, IntentKey},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{device, document, tenant, text, unit, user};

pub(super) fn say() -> impl Strategy<Value = Say> {
    prop_oneof![
        Just(Say::Join),
        any::<u8>().prop_map(|capacity| Say::Duty(Duty { capacity })),
        (key(), call(), act()).prop_map(|(key, call, act)| Say::Intent(Intent { key, call, act })),
        signal().prop_map(Say::Signal),
        any::<u32>().prop_map(Say::Pulse),
    ]
}

pub(super) fn told() -> impl Strategy<Value = Told> {
    let outcome = prop_oneof![
        Just(Outcome::Done),
        call().prop_map(Outcome::Merged),
        select(Refusal::ALL).prop_map(Outcome::Refused),
    ];
    prop_oneof![
        (vec(call(), 0..4), option::of(phone())).prop_map(|(calls, dispatch)| Told::Joined(Joined { calls, dispatch })),
        fact().prop_map(|fact| Told::Fact(Box::new(fact))),
        (key(), outcome).prop_map(|(key, outcome)| Told::Reply(Reply { key, outcome })),
        signal().prop_map(Told::Signal),
        any::<u32>().prop_map(Told::Pulse),
        (call(), vec(text(), 0..4), text(), text(), any::<i64>()).prop_map(
            |(call, urls, username, password, until_ms)| Told::Relay(Relay {
                call,
                urls,
                username,
                password,
                until_ms
            })
        ),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let wanted = (case(), select(Category::ALL), option::of(phone()));
    prop_oneof![
        wanted.prop_map(|(case, category, phone)| Act::Call { case, category, phone }),
        select(vec![Act::Accept, Act::Decline, Act::HangUp, Act::Hold, Act::Unhold, Act::CancelTransfer]),
        device().prop_map(|desk| Act::Transfer(Target::Desk(desk))),
        centre().prop_map(|centre| Act::Transfer(Target::Centre(centre))),
        (any::<u8>(), select(Media::ALL)).prop_map(|(leg, state)| Act::Media { leg, state }),
        select(vec![Act::Phoned, Act::Relay, Act::Noted]),
    ]
}

fn fact() -> impl Strategy<Value = Fact> {
    let standing = prop_oneof![
        any::<i64>().prop_map(|until_ms| Standing::Rung { until_ms }),
        any::<u8>().prop_map(Standing::Leg),
        select(Out::ALL).prop_map(Standing::Out),
    ];
    let ids = (call(), any::<u64>(), case(), tenant(), select(Category::ALL), select(Phase::ALL));
    let place = (1..100u32, option::of(centre())).prop_map(|(position, centre)| Place { position, centre });
    let leg = (any::<u8>(), centre(), device(), option::of(user()), any::<u32>(), any::<bool>(), select(Media::ALL));
    let leg = leg.prop_map(|(leg, unit, device, user, epoch, is_present, media)| Leg {
        leg,
        unit,
        device,
        user,
        epoch,
        is_present,
        media,
    });
    let moment = || option::of(any::<i64>());
    let times = (any::<i64>(), moment(), any::<i64>(), moment(), moment(), moment()).prop_map(
        |(called_ms, rang_ms, rung_for_ms, accepted_ms, connected_ms, ended_ms)| Times {
            called_ms,
            rang_ms,
            rung_for_ms,
            accepted_ms,
            connected_ms,
            ended_ms,
        },
    );
    let parties = (standing, option::of(place), vec(leg, 0..4), option::of(1..=u8::MAX));
    let phones = (any::<bool>(), option::of(phone()), vec(any::<u8>(), 0..4));
    (ids, parties, phones, times, option::of(select(End::ALL))).prop_map(
        |(
            (call, seq, case, log, category, phase),
            (standing, place, legs, physician),
            (use_phone, phone, phoned),
            times,
            end,
        )| Fact {
            call,
            seq,
            case,
            log,
            category,
            phase,
            standing,
            place,
            legs,
            physician,
            use_phone,
            phone,
            phoned,
            times,
            end,
        },
    )
}

fn signal() -> impl Strategy<Value = Signal> {
    (call(), any::<u8>(), any::<u8>(), any::<u32>(), text()).prop_map(|(call, from, to, epoch, payload)| Signal {
        call,
        from,
        to,
        epoch,
        payload,
    })
}

fn call() -> impl Strategy<Value = CallId> {
    any::<[u8; 16]>().prop_map(|bytes| CallId::from_slice(&bytes).expect("16 bytes"))
}

fn key() -> impl Strategy<Value = IntentKey> {
    any::<[u8; 16]>().prop_map(|bytes| IntentKey::from_slice(&bytes).expect("16 bytes"))
}

fn case() -> impl Strategy<Value = CaseId> {
    document().prop_map(|document| document.case)
}

fn centre() -> impl Strategy<Value = Centre> {
    (tenant(), unit()).prop_map(|(tenant, unit)| Centre { tenant, unit })
}

fn phone() -> impl Strategy<Value = Phone> {
    "[0-9][0-9 /+-]{0,20}".prop_map(|text| Phone::try_from(text).expect("a number"))
}
