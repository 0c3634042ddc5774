//! How long the link rests after an end: full jitter, and longer each time.

use std::time::Duration;

use feldakte_core::backoff::Backoff;

use crate::transport::LinkError;

/// What the ends since the last session have taught.
pub(super) struct Rests {
    lost: Backoff,
    busy: Backoff,
}

impl Rests {
    pub(super) fn new() -> Self {
        Self { lost: Backoff::new(LOST_BASE, LOST_CAP), busy: Backoff::new(BUSY_BASE, BUSY_CAP) }
    }

    /// After an end that dialling again can help with; `draw` is uniform in `[0, 1)`.
    pub(super) fn after(&mut self, error: &LinkError, is_on_mission: bool, draw: f64) -> Duration {
        match error {
            LinkError::SentAway { retry_after } => *retry_after + self.busy.next_delay(draw),
            // There is a gateway, and room as soon as some handshakes have ended: those who can wait leave it to the others.
            LinkError::Busy if is_on_mission => self.busy.next_delay(draw) / MISSIONS_SOONER,
            LinkError::Busy => self.busy.next_delay(draw),
            _ => self.lost.next_delay(draw),
        }
    }

    /// A session has begun.
    pub(super) fn reset(&mut self) {
        self.lost.reset();
        self.busy.reset();
    }
}

/// First ceiling of the back-off: a gateway that restarts is back within a second.
const LOST_BASE: Duration = Duration::from_millis(250);
/// Last ceiling: bounds how long a device sleeps through a gateway that is back.
const LOST_CAP: Duration = Duration::from_secs(20);
/// The same for a gateway that answers and has no room: a handshake ends within some round trips.
const BUSY_BASE: Duration = Duration::from_millis(500);
/// A storm is over within a minute; each attempt costs the gateway a packet.
const BUSY_CAP: Duration = Duration::from_secs(4);
/// How many times sooner a device on a mission tries again.
const MISSIONS_SOONER: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(7);

    #[test]
    fn nobody_comes_back_sooner_than_the_gateway_said() {
        let mut rests = Rests::new();
        let sent_away = LinkError::SentAway { retry_after: AFTER };
        assert_eq!(rests.after(&sent_away, true, 0.0), AFTER);
        let latest: Vec<_> = (0..5).map(|_| rests.after(&sent_away, false, 1.0) - AFTER).collect();
        assert_eq!(latest.last(), Some(&BUSY_CAP), "the jitter above it grows, and is bounded");
        assert!(latest.is_sorted());
    }

    #[test]
    fn a_gateway_without_room_is_tried_again_soon_and_on_a_mission_sooner() {
        let [mut mission, mut other, mut lost] = [(); 3].map(|()| Rests::new());
        for _ in 0..20 {
            let [mission, other] =
                [mission.after(&LinkError::Busy, true, 1.0), other.after(&LinkError::Busy, false, 1.0)];
            assert!(mission * MISSIONS_SOONER == other && other <= BUSY_CAP);
            lost.after(&LinkError::Unreachable, false, 1.0);
        }
        assert_eq!(lost.after(&LinkError::Unreachable, true, 1.0), LOST_CAP);
        lost.reset();
        assert_eq!(lost.after(&LinkError::Unreachable, true, 1.0), LOST_BASE);
    }
}
