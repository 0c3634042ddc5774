//! Teleconsultations: who is rung, who takes the call, and what becomes of it when links, desks and gateways fail.
//!
//! The gateway alone decides ([`Switchboard`]); a device says what it wants and folds what it is told ([`Book`]). Media is beside
//! all that: how it is, is told, and neither its loss nor that of the path to the gateway ends a call.
//!
//! ```text
//!          ┌────────── nobody took it, the physician was lost ───────────┐
//!          ▼                                                             │
//! call ► queued ⇄ offered ── accept ► connecting ► active ⇄ held ────────┤
//!          │         │                    │      ⇄ transferring          │
//!          │         │                    │      ⇄ reconnecting ─────────┘
//!          └─────────┴────────────────────┴──► ended(reason)
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, TenantId, UnitId, UserId};

pub use self::{
    book::{Advice, Book, Known, News},
    message::{
        Act, Duty, Fact, Intent, Joined, Leg, NotAPhone, Out, Outcome, Phone, Place, Refusal, Relay, Reply, Say,
        Signal, Standing, Target, Times, Told,
    },
    plan::{Group, Plan, Route},
    switchboard::{About, Changed, Effect, Input, Kept, Note, Switchboard, Ways},
};

mod book;
mod message;
mod plan;
mod switchboard;

/// How soon a physician is needed, as the crew judges. The sooner, the further ahead; within one category first come, first
/// served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// A life is in danger.
    Emergency = 1,
    /// The patient waits for a decision.
    Urgent = 2,
    /// A question, a signature, an advice.
    Routine = 3,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for somebody who could be rung.
    Queued = 1,
    /// It rings.
    Offered = 2,
    /// Somebody has taken it; the parties cannot speak yet.
    Connecting = 3,
    /// They speak.
    Active = 4,
    /// The physician is with somebody else for a moment.
    Held = 5,
    /// Another physician is asked to take over, or is doing so.
    Transferring = 6,
    /// A party cannot be reached; it may come back.
    Reconnecting = 7,
    /// It is over.
    Ended = 8,
}

/// How the media of a leg is, as its device says. It never decides about the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Media {
    /// Nothing has been tried.
    #[default]
    New = 1,
    /// A path is looked for.
    Checking = 2,
    /// It flows.
    Connected = 3,
    /// Nothing has come for a while.
    Stalled = 4,
    /// Another path is looked for.
    Restarting = 5,
    /// There is none.
    Failed = 6,
}

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The crew hung up.
    CrewHungUp = 1,
    /// The physician hung up.
    PhysicianHungUp = 2,
    /// The crew hung up before anybody had taken it.
    Withdrawn = 3,
    /// Nobody took it in time: dispatch is next.
    Unanswered = 4,
    /// Nobody was on duty: dispatch is next.
    NobodyOnDuty = 5,
    /// The crew could not be reached any more.
    CrewLost = 6,
    /// The physician could not be reached any more, and nobody else has taken over.
    PhysicianLost = 7,
    /// The crew that was rung did not take it.
    CrewDeclined = 8,
    /// It has gone on for longer than calls do.
    TooLong = 9,
    /// The gateway does not know it, or no more.
    Unknown = 10,
}

/// A tele-centre, or any other unit of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Centre {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub unit: UnitId,
}

/// Somebody who takes part in calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Where it belongs.
    pub unit: Centre,
    /// Its device.
    pub device: DeviceId,
    /// Who uses it.
    pub user: Option<UserId>,
}

/// How often a device with a call at hand says that its path lives, in milliseconds.
pub const PULSE_EVERY_MS: i64 = 500;

/// The pulse by which the gateway asks a device whether it lives. It is answered with the same, and that with nothing.
pub const ASKED: u32 = 0;

/// Without a word for so long, in milliseconds, a party is not reached: with what passes until then a dead path is noticed within
/// 2 s (DOMAIN, "Numbers").
pub const SILENT_AFTER_MS: i64 = 1_500;

macro_rules! numbered {
    ($name:ident: $($variant:ident $text:literal),+) => {
        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// Its name in logs, case entries and JSON.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text),+
                }
            }

            /// The one of that number, as the wire has it.
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| *known as u32 == number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

numbered!(Category: Emergency "emergency", Urgent "urgent", Routine "routine");
numbered!(Phase: Queued "queued", Offered "offered", Connecting "connecting", Active "active", Held "held",
    Transferring "transferring", Reconnecting "reconnecting", Ended "ended");
numbered!(Media: New "new", Checking "checking", Connected "connected", Stalled "stalled", Restarting "restarting",
    Failed "failed");
numbered!(End: CrewHungUp "crew_hung_up", PhysicianHungUp "physician_hung_up", Withdrawn "withdrawn",
    Unanswered "unanswered", NobodyOnDuty "nobody_on_duty", CrewLost "crew_lost", PhysicianLost "physician_lost",
    CrewDeclined "crew_declined", TooLong "too_long", Unknown "unknown");

numbered!(Out: Taken "taken", TimedOut "timed_out", Declined "declined", Withdrawn "withdrawn", Transferred "transferred",
    Lost "lost", Ended "ended");
numbered!(Refusal: Unknown "unknown", NotPermitted "not_permitted", Taken "taken", NotNow "not_now",
    Superseded "superseded", NobodyThere "nobody_there", TooMany "too_many", Unavailable "unavailable");

impl fmt::Display for Centre {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.unit)
    }
}

#[cfg(test)]
mod tests;
