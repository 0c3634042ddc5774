//! What is said about calls, between protobuf and [`feldakte_core::call`].

use bytes::Bytes;
use feldakte_core::{
    call::{
        Act, Category, Centre, Duty, End, Fact, Intent, Joined, Leg, Media, Out, Outcome, Phase, Phone, Place, Refusal,
        Relay, Reply, Say, Signal, Standing, Target, Times, Told,
    },
    ids::{CallId, CaseId, DeviceId, IntentKey},
    limits,
};

use crate::{convert, error::DecodeError, pb};

impl From<&Say> for pb::Say {
    fn from(say: &Say) -> Self {
        Self {
            body: Some(match say {
                Say::Join => pb::say::Body::Join(pb::JoinCalls {}),
                Say::Duty(Duty { capacity }) => pb::say::Body::Duty(pb::Duty { capacity: u32::from(*capacity) }),
                Say::Intent(intent) => pb::say::Body::Intent(intent.into()),
                Say::Signal(signal) => pb::say::Body::Signal(signal.into()),
                Say::Pulse(number) => pb::say::Body::Pulse(pb::Pulse { number: *number }),
            }),
        }
    }
}

impl TryFrom<pb::Say> for Say {
    type Error = DecodeError;
    fn try_from(pb::Say { body }: pb::Say) -> Result<Self, DecodeError> {
        Ok(match body.ok_or(DecodeError::MissingField("body"))? {
            pb::say::Body::Join(pb::JoinCalls {}) => Say::Join,
            pb::say::Body::Duty(pb::Duty { capacity }) => Say::Duty(Duty { capacity: small("capacity", capacity)? }),
            pb::say::Body::Intent(intent) => Say::Intent(intent.try_into()?),
            pb::say::Body::Signal(signal) => Say::Signal(signal.try_into()?),
            pb::say::Body::Pulse(pb::Pulse { number }) => Say::Pulse(number),
        })
    }
}

impl From<&Told> for pb::Told {
    fn from(told: &Told) -> Self {
        Self {
            body: Some(match told {
                Told::Joined(Joined { calls, dispatch }) => pb::told::Body::Joined(pb::JoinedCalls {
                    calls: calls.iter().map(|call| id(call.as_bytes())).collect(),
                    dispatch: phone_to_pb(dispatch.as_ref()),
                }),
                Told::Fact(fact) => pb::told::Body::Fact((&**fact).into()),
                Told::Reply(reply) => pb::told::Body::Reply(reply.into()),
                Told::Signal(signal) => pb::told::Body::Signal(signal.into()),
                Told::Pulse(number) => pb::told::Body::Pulse(pb::Pulse { number: *number }),
                Told::Relay(relay) => pb::told::Body::Relay(relay.into()),
            }),
        }
    }
}

impl TryFrom<pb::Told> for Told {
    type Error = DecodeError;
    fn try_from(pb::Told { body }: pb::Told) -> Result<Self, DecodeError> {
        Ok(match body.ok_or(DecodeError::MissingField("body"))? {
            pb::told::Body::Joined(pb::JoinedCalls { calls, dispatch }) => {
                convert::at_most("calls", calls.len(), limits::CALLS_MAX)?;
                let calls = calls.iter().map(|call| CallId::from_slice(call)).collect::<Result<_, _>>()?;
                Told::Joined(Joined { calls, dispatch: phone_from_pb(dispatch)? })
            }
            pb::told::Body::Fact(fact) => Told::Fact(Box::new(fact.try_into()?)),
            pb::told::Body::Reply(reply) => Told::Reply(reply.try_into()?),
            pb::told::Body::Signal(signal) => Told::Signal(signal.try_into()?),
            pb::told::Body::Pulse(pb::Pulse { number }) => Told::Pulse(number),
            pb::told::Body::Relay(relay) => Told::Relay(relay.try_into()?),
        })
    }
}

impl From<&Intent> for pb::Intent {
    fn from(Intent { key, call, act }: &Intent) -> Self {
        let mut intent = Self { key: id(key.as_bytes()), call: id(call.as_bytes()), ..Self::default() };
        intent.act = match act {
            Act::Call { case, category, phone } => {
                intent.case = id(case.as_bytes());
                intent.category = *category as u32;
                intent.phone = phone_to_pb(phone.as_ref());
                1
            }
            Act::Accept => 2,
            Act::Decline => 3,
            Act::HangUp => 4,
            Act::Hold => 5,
            Act::Unhold => 6,
            Act::Transfer(Target::Desk(desk)) => {
                intent.desk = id(desk.as_bytes());
                7
            }
            Act::Transfer(Target::Centre(centre)) => {
                intent.centre = Some(centre.into());
                7
            }
            Act::CancelTransfer => 8,
            Act::Media { leg, state } => {
                (intent.leg, intent.media) = (u32::from(*leg), *state as u32);
                9
            }
            Act::Phoned => 10,
            Act::Relay => 11,
            Act::Noted => 12,
        };
        intent
    }
}

impl TryFrom<pb::Intent> for Intent {
    type Error = DecodeError;
    fn try_from(intent: pb::Intent) -> Result<Self, DecodeError> {
        let pb::Intent { key, call, act, case, category, phone, desk, centre, leg, media } = intent;
        let act = match act {
            1 => Act::Call {
                case: CaseId::from_slice(&case)?,
                category: Category::from_number(category).ok_or(DecodeError::UnknownValue("category"))?,
                phone: phone_from_pb(phone)?,
            },
            2 => Act::Accept,
            3 => Act::Decline,
            4 => Act::HangUp,
            5 => Act::Hold,
            6 => Act::Unhold,
            7 => Act::Transfer(match centre {
                Some(centre) => Target::Centre(centre.try_into()?),
                None => Target::Desk(DeviceId::from_slice(&desk)?),
            }),
            8 => Act::CancelTransfer,
            9 => Act::Media { leg: small("leg", leg)?, state: media_of(media)? },
            10 => Act::Phoned,
            11 => Act::Relay,
            12 => Act::Noted,
            _ => return Err(DecodeError::UnknownValue("act")),
        };
        Ok(Self { key: IntentKey::from_slice(&key)?, call: CallId::from_slice(&call)?, act })
    }
}

impl From<&Reply> for pb::Reply {
    fn from(Reply { key, outcome }: &Reply) -> Self {
        let (refusal, merged) = match outcome {
            Outcome::Done => (0, Bytes::new()),
            Outcome::Merged(into) => (0, id(into.as_bytes())),
            Outcome::Refused(refusal) => (*refusal as u32, Bytes::new()),
        };
        Self { key: id(key.as_bytes()), refusal, merged }
    }
}

impl TryFrom<pb::Reply> for Reply {
    type Error = DecodeError;
    fn try_from(pb::Reply { key, refusal, merged }: pb::Reply) -> Result<Self, DecodeError> {
        let outcome = match (refusal, merged.is_empty()) {
            (0, true) => Outcome::Done,
            (0, false) => Outcome::Merged(CallId::from_slice(&merged)?),
            (number, _) => Outcome::Refused(Refusal::from_number(number).ok_or(DecodeError::UnknownValue("refusal"))?),
        };
        Ok(Self { key: IntentKey::from_slice(&key)?, outcome })
    }
}

impl From<&Signal> for pb::Signal {
    fn from(Signal { call, from, to, epoch, payload }: &Signal) -> Self {
        let (from, to) = (u32::from(*from), u32::from(*to));
        Self { call: id(call.as_bytes()), from, to, epoch: *epoch, payload: payload.clone() }
    }
}

impl TryFrom<pb::Signal> for Signal {
    type Error = DecodeError;
    fn try_from(pb::Signal { call, from, to, epoch, payload }: pb::Signal) -> Result<Self, DecodeError> {
        convert::at_most("payload", payload.len(), limits::SIGNAL_LEN_MAX)?;
        Ok(Self { call: CallId::from_slice(&call)?, from: small("from", from)?, to: small("to", to)?, epoch, payload })
    }
}

impl From<&Relay> for pb::Relay {
    fn from(Relay { call, urls, username, password, until_ms }: &Relay) -> Self {
        let (username, password) = (username.clone(), password.clone());
        Self { call: id(call.as_bytes()), urls: urls.clone(), username, password, until_ms: *until_ms }
    }
}

impl TryFrom<pb::Relay> for Relay {
    type Error = DecodeError;
    fn try_from(pb::Relay { call, urls, username, password, until_ms }: pb::Relay) -> Result<Self, DecodeError> {
        convert::at_most("urls", urls.len(), URLS_MAX)?;
        Ok(Self { call: CallId::from_slice(&call)?, urls, username, password, until_ms })
    }
}

impl From<&Fact> for pb::Fact {
    fn from(fact: &Fact) -> Self {
        let Fact { call, seq, case, log, category, phase, standing, place, legs, .. } = fact;
        let Fact { physician, use_phone, phone, phoned, times, end, .. } = fact;
        let Times { called_ms, rang_ms, rung_for_ms, accepted_ms, connected_ms, ended_ms } = *times;
        let (standing, rung_until_ms, own_leg, out) = match standing {
            Standing::Rung { until_ms } => (1, *until_ms, 0, 0),
            Standing::Leg(leg) => (2, 0, u32::from(*leg), 0),
            Standing::Out(out) => (3, 0, 0, *out as u32),
        };
        Self {
            call: id(call.as_bytes()),
            seq: *seq,
            case: id(case.as_bytes()),
            log: log.to_string(),
            category: *category as u32,
            phase: *phase as u32,
            standing,
            rung_until_ms,
            own_leg,
            out,
            position: place.as_ref().map_or(0, |place| place.position),
            centre: place.as_ref().and_then(|place| place.centre.as_ref()).map(pb::Centre::from),
            legs: legs.iter().map(pb::Leg::from).collect(),
            physician: physician.map_or(0, u32::from),
            use_phone: *use_phone,
            phone: phone_to_pb(phone.as_ref()),
            phoned: phoned.iter().copied().map(u32::from).collect(),
            called_ms,
            rang_ms,
            rung_for_ms,
            accepted_ms,
            connected_ms,
            ended_ms,
            end: end.map_or(0, |end| end as u32),
        }
    }
}

impl TryFrom<pb::Fact> for Fact {
    type Error = DecodeError;
    fn try_from(fact: pb::Fact) -> Result<Self, DecodeError> {
        let pb::Fact { call, seq, case, log, category, phase, standing, rung_until_ms, own_leg, out, .. } = fact;
        let pb::Fact { position, centre, legs, physician, use_phone, phone, phoned, end, .. } = fact;
        let pb::Fact { called_ms, rang_ms, rung_for_ms, accepted_ms, connected_ms, ended_ms, .. } = fact;
        convert::at_most("legs", legs.len(), limits::CALL_LEGS_MAX)?;
        convert::at_most("phoned", phoned.len(), limits::CALL_LEGS_MAX)?;
        let standing = match standing {
            1 => Standing::Rung { until_ms: rung_until_ms },
            2 => Standing::Leg(small("own_leg", own_leg)?),
            3 => Standing::Out(Out::from_number(out).ok_or(DecodeError::UnknownValue("out"))?),
            _ => return Err(DecodeError::UnknownValue("standing")),
        };
        let centre = centre.map(Centre::try_from).transpose()?;
        let physician = small("physician", physician)?;
        let end = match end {
            0 => None,
            number => Some(End::from_number(number).ok_or(DecodeError::UnknownValue("end"))?),
        };
        Ok(Self {
            call: CallId::from_slice(&call)?,
            seq,
            case: CaseId::from_slice(&case)?,
            log: log.parse()?,
            category: Category::from_number(category).ok_or(DecodeError::UnknownValue("category"))?,
            phase: Phase::from_number(phase).ok_or(DecodeError::UnknownValue("phase"))?,
            standing,
            place: (position > 0).then_some(Place { position, centre }),
            legs: legs.into_iter().map(Leg::try_from).collect::<Result<_, _>>()?,
            physician: (physician > 0).then_some(physician),
            use_phone,
            phone: phone_from_pb(phone)?,
            phoned: phoned.into_iter().map(|leg| small("phoned", leg)).collect::<Result<_, _>>()?,
            times: Times { called_ms, rang_ms, rung_for_ms, accepted_ms, connected_ms, ended_ms },
            end,
        })
    }
}

impl From<&Leg> for pb::Leg {
    fn from(Leg { leg, unit, device, user, epoch, is_present, media }: &Leg) -> Self {
        Self {
            leg: u32::from(*leg),
            unit: Some(unit.into()),
            device: id(device.as_bytes()),
            user: convert::user_to_pb(*user),
            epoch: *epoch,
            is_present: *is_present,
            media: *media as u32,
        }
    }
}

impl TryFrom<pb::Leg> for Leg {
    type Error = DecodeError;
    fn try_from(pb::Leg { leg, unit, device, user, epoch, is_present, media }: pb::Leg) -> Result<Self, DecodeError> {
        Ok(Self {
            leg: small("leg", leg)?,
            unit: unit.ok_or(DecodeError::MissingField("unit"))?.try_into()?,
            device: DeviceId::from_slice(&device)?,
            user: convert::user_from_pb(&user)?,
            epoch,
            is_present,
            media: media_of(media)?,
        })
    }
}

impl From<&Centre> for pb::Centre {
    fn from(Centre { tenant, unit }: &Centre) -> Self {
        Self { tenant: tenant.to_string(), unit: unit.to_string() }
    }
}

impl TryFrom<pb::Centre> for Centre {
    type Error = DecodeError;
    fn try_from(pb::Centre { tenant, unit }: pb::Centre) -> Result<Self, DecodeError> {
        Ok(Self { tenant: tenant.parse()?, unit: unit.parse()? })
    }
}

fn id(bytes: &[u8; 16]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn small(field: &'static str, number: u32) -> Result<u8, DecodeError> {
    u8::try_from(number).map_err(|_| DecodeError::UnknownValue(field))
}

fn media_of(number: u32) -> Result<Media, DecodeError> {
    Media::from_number(number).ok_or(DecodeError::UnknownValue("media"))
}

fn phone_to_pb(phone: Option<&Phone>) -> String {
    phone.map(|phone| phone.as_str().to_owned()).unwrap_or_default()
}

fn phone_from_pb(text: String) -> Result<Option<Phone>, DecodeError> {
    let phone = (!text.is_empty()).then(|| Phone::try_from(text));
    phone.transpose().map_err(|_| DecodeError::UnknownValue("phone"))
}

/// More than an operator configures.
const URLS_MAX: usize = 16;
