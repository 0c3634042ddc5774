//! What devices and the gateway say to each other about calls. Browsers get the same as JSON.
//!
//! A device says what it wants ([`Say`]); the gateway alone decides, and tells each party the whole state of the call as that
//! party may see it ([`Fact`]). The newest fact is all there is to know: whoever was away needs no other.

use serde::{Deserialize, Serialize};

use super::{Category, Centre, End, Media, Phase};
use crate::{
    ids::{CallId, CaseId, DeviceId, IntentKey, TenantId, UserId},
    limits,
};

/// From a device to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Say {
    /// This session is the one in which the device has its calls from here on. Earlier ones are superseded.
    Join,
    /// The desk takes calls, or takes no more.
    Duty(Duty),
    /// Something is wanted.
    Intent(Intent),
    /// For the other side of a call; the gateway looks at its length alone.
    Signal(Signal),
    /// The path lives. While a call is at hand it is said every [`super::PULSE_EVERY_MS`], and answered at once.
    Pulse(u32),
}

/// From the gateway to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The device has its calls in this session from here on.
    Joined(Joined),
    /// How a call stands.
    Fact(Box<Fact>),
    /// What became of an intent.
    Reply(Reply),
    /// From another side of a call.
    Signal(Signal),
    /// The answer to a pulse, with its number; [`super::ASKED`] asks for one.
    Pulse(u32),
    /// Where media may be relayed.
    Relay(Relay),
}

/// The answer to [`Say::Join`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Joined {
    /// The calls that the device has a part in, and no others; the facts of each follow.
    pub calls: Vec<CallId>,
    /// The telephone of dispatch, for when nothing else is known.
    pub dispatch: Option<Phone>,
}

/// Whether a desk takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// How many missions at once its physician takes on; 0 takes none.
    pub capacity: u8,
}

/// Something that a device wants of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Made by the device: the same intent said again has the same key, and is done once.
    pub key: IntentKey,
    /// Which call.
    pub call: CallId,
    /// What is wanted.
    pub act: Act,
}

/// What may be wanted of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// A physician for this case; said by a desk, its crew once more. The call's id is the caller's to choose. Where a call
    /// about the case is under way, this becomes part of it.
    Call {
        /// Of which case.
        case: CaseId,
        /// How soon.
        category: Category,
        /// Where the caller can be reached by telephone.
        phone: Option<Phone>,
    },
    /// The one who is rung takes the call. The first one has it.
    Accept,
    /// The one who is rung does not.
    Decline,
    /// It is over.
    HangUp,
    /// The physician is with somebody else for a moment.
    Hold,
    /// And is back.
    Unhold,
    /// Somebody else is to take over; the present physician stays until he has.
    Transfer(Target),
    /// Nobody is to take over after all.
    CancelTransfer,
    /// How the media between the device and that leg is.
    Media {
        /// The other leg.
        leg: u8,
        /// How it is.
        state: Media,
    },
    /// The parties speak by telephone.
    Phoned,
    /// Fresh credentials for the relay are needed.
    Relay,
    /// The device has written down how the call ended, and need not be told any more.
    Noted,
}

/// To whom a call is transferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One desk.
    Desk(DeviceId),
    /// Whoever of a tele-centre takes it first.
    Centre(Centre),
}

/// What became of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Which one.
    pub key: IntentKey,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, and durable.
    Done,
    /// A call about the case was under way: this is it.
    Merged(CallId),
    /// Not done.
    Refused(Refusal),
}

/// Why an intent was not done. Numbers are wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No such call, or the device has no part in it.
    Unknown = 1,
    /// The device may not.
    NotPermitted = 2,
    /// Somebody else was first.
    Taken = 3,
    /// The call is not in a state in which that can be done.
    NotNow = 4,
    /// The device has joined in a later session.
    Superseded = 5,
    /// Nobody there can take it.
    NobodyThere = 6,
    /// Too many calls, or too many intents.
    TooMany = 7,
    /// It cannot be made durable at the moment.
    Unavailable = 8,
}

/// A message from one leg to another: session descriptions and candidates, which the gateway does not look at.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Of which call.
    pub call: CallId,
    /// From which leg; the gateway sees to it that this is true.
    pub from: u8,
    /// To which leg.
    pub to: u8,
    /// The sender's epoch; the gateway sees to it that this is true. Of an older one than the newest fact names, it is late.
    pub epoch: u32,
    /// At most [`limits::SIGNAL_LEN_MAX`] bytes.
    pub payload: String,
}

/// Where media may be relayed, and who the device is there (TURN, RFC 8656; credentials as in draft-uberti-behave-turn-rest).
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// For which call.
    pub call: CallId,
    /// `turn:` and `turns:` URLs, best first.
    pub urls: Vec<String>,
    /// Holds the time at which it ends.
    pub username: String,
    /// Made of the username with a secret that relay and gateway share.
    pub password: String,
    /// Until when a new allocation can be made, by the gateway's clock, milliseconds since 1970-01-01 UTC.
    pub until_ms: i64,
}

/// A telephone number: digits, spaces, `+`, `-`, `/` and brackets.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Phone(String);

/// How a call stands, as one of its parties may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Which call.
    pub call: CallId,
    /// Ascends within the call. Of two facts the later one holds.
    pub seq: u64,
    /// About which case.
    pub case: CaseId,
    /// In whose log the case is.
    pub log: TenantId,
    /// How soon the crew wanted it.
    pub category: Category,
    /// Where it stands.
    pub phase: Phase,
    /// What the receiver is in it.
    pub standing: Standing,
    /// While it waits: where.
    pub place: Option<Place>,
    /// Who is in it, as long as it goes on.
    pub legs: Vec<Leg>,
    /// Which of the legs is the physician who has it. Never two.
    pub physician: Option<u8>,
    /// Whether the receiver should take the telephone now: somebody cannot be reached here.
    pub use_phone: bool,
    /// Whom to ring then: of a crew, the desk that has the call, else the centre that is expected to, else dispatch; of a desk,
    /// the crew.
    pub phone: Option<Phone>,
    /// Which legs have said that they speak by telephone.
    pub phoned: Vec<u8>,
    /// When what happened.
    pub times: Times,
    /// Why it ended.
    pub end: Option<End>,
}

/// What a device is in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is rung, until then by the gateway's clock (milliseconds since 1970-01-01 UTC).
    Rung {
        /// When it stops to ring.
        until_ms: i64,
    },
    /// It has this leg.
    Leg(u8),
    /// It has no part in it any more.
    Out(Out),
}

/// Why a device has no part in a call any more. Numbers are wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Out {
    /// Somebody else has taken it.
    Taken = 1,
    /// It was not taken in time.
    TimedOut = 2,
    /// It was declined.
    Declined = 3,
    /// It is not offered there any more: withdrawn, or the desk takes no more.
    Withdrawn = 4,
    /// Somebody else has taken over.
    Transferred = 5,
    /// The leg could not be reached for too long.
    Lost = 6,
    /// The call has ended.
    Ended = 7,
}

/// Where a call waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// 1 is next.
    pub position: u32,
    /// Where it rings, or is expected to.
    pub centre: Option<Centre>,
}

/// One side of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// 0 is the crew's.
    pub leg: u8,
    /// Whose.
    pub unit: Centre,
    /// Which device.
    pub device: DeviceId,
    /// Who uses it.
    pub user: Option<UserId>,
    /// Grows whenever its device comes back in another session: media has to be agreed on anew then.
    pub epoch: u32,
    /// Whether it can be reached.
    pub is_present: bool,
    /// How its media is, as it says itself.
    pub media: Media,
}

/// When what happened, by the gateway's clock, milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Times {
    /// The button was pressed.
    pub called_ms: i64,
    /// It rang first.
    pub rang_ms: Option<i64>,
    /// How long it rang in all, in milliseconds.
    pub rung_for_ms: i64,
    /// Somebody took it, for the last time.
    pub accepted_ms: Option<i64>,
    /// The parties could speak first.
    pub connected_ms: Option<i64>,
    /// It was over.
    pub ended_ms: Option<i64>,
}

/// Not a telephone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a telephone number has up to {} digits, spaces, + - / ( )", limits::PHONE_LEN_MAX)]
pub struct NotAPhone;

impl Phone {
    /// As it is shown and dialled.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Phone {
    type Error = NotAPhone;
    fn try_from(text: String) -> Result<Self, NotAPhone> {
        let may_stand = |c: char| c.is_ascii_digit() || " +-/()".contains(c);
        let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
        match has_digit && text.len() <= limits::PHONE_LEN_MAX && text.chars().all(may_stand) {
            true => Ok(Self(text)),
            false => Err(NotAPhone),
        }
    }
}

impl From<Phone> for String {
    fn from(Phone(text): Phone) -> Self {
        text
    }
}

crate::hide_content! { Signal { call, from, to, epoch }, Relay { call, until_ms }, Phone }
