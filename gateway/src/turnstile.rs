//! Sessions that begin: at most so many at once, the others in a queue or away, as `feldakte_core::turnstile` decides.
//!
//! Whoever holds a [`Pass`] is inside or waits; when it is dropped, the next one comes in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use feldakte_core::{
    access::Role,
    ids::DeviceId,
    limits,
    turnstile::{self, Class, Ticket, Turn, Verdict},
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout},
};

use crate::metrics::Metrics;

/// All sessions of a gateway that begin.
pub struct Turnstile {
    since: Instant,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: turnstile::Turnstile<DeviceId>,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
}

/// A place inside or in the queue.
pub struct Pass {
    turnstile: Arc<Turnstile>,
    ticket: Ticket,
    /// Counted no longer than this.
    until: Instant,
}

/// Not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// There is no room for it.
    #[error("no room for {} ms", .retry_after.as_millis())]
    Busy {
        /// When there will be.
        retry_after: Duration,
    },
    /// The same device has come too often since.
    #[error("came again")]
    Replaced,
}

/// Of a device of that role that says so; a claim of any other role changes nothing.
pub fn class_of(role: Role, on_mission: bool) -> Class {
    if on_mission && role.goes_on_missions() { Class::Mission } else { Class::Other }
}

impl Turnstile {
    /// Nobody begins.
    pub fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { since: Instant::now(), metrics, state: Mutex::default() })
    }

    /// Waits for a place. Cancel-safe: whoever goes leaves the queue.
    ///
    /// # Errors
    /// When there is none within [`limits::BEGINNING_WAIT_MAX`].
    pub async fn enter(self: &Arc<Self>, class: Class, device: DeviceId) -> Result<Pass, NotNow> {
        let mut pass = self.wait(class, device).await.inspect_err(|not_now| self.note(class, *not_now))?;
        self.metrics.sessions_admitted.get_or_create(&labels(class)).inc();
        pass.until = Instant::now() + limits::BEGINNING_WITHIN;
        Ok(pass)
    }

    async fn wait(self: &Arc<Self>, class: Class, device: DeviceId) -> Result<Pass, NotNow> {
        let (pass, turn) = self.arrive(class, device)?;
        let Some(turn) = turn else { return Ok(pass) };
        match timeout(limits::BEGINNING_WAIT_MAX, turn).await {
            Ok(Ok(())) => Ok(pass),
            // Its sender is in the table for as long as it waits.
            Ok(Err(_)) => Err(NotNow::Replaced),
            // The turn may have come at the same moment.
            Err(_) => self.give_up(pass.ticket).map_or(Ok(pass), |retry_after| Err(NotNow::Busy { retry_after })),
        }
    }

    fn arrive(
        self: &Arc<Self>,
        class: Class,
        device: DeviceId,
    ) -> Result<(Pass, Option<oneshot::Receiver<()>>), NotNow> {
        let mut state = self.state();
        let (ticket, turn) = match state.rules.arrive(self.now(), class, device) {
            Verdict::Enter(ticket) => (ticket, None),
            Verdict::Wait(ticket) => {
                let (sender, turn) = oneshot::channel();
                state.waiting.insert(ticket, sender);
                (ticket, Some(turn))
            }
            Verdict::Away(retry_after) => return Err(NotNow::Busy { retry_after }),
        };
        state.tell_turns();
        self.count(&state);
        Ok((Pass { turnstile: self.clone(), ticket, until: Instant::now() }, turn))
    }

    /// `None` when the turn has come after all.
    fn give_up(&self, ticket: Ticket) -> Option<Duration> {
        let mut state = self.state();
        let retry_after = state.rules.give_up(self.now(), ticket)?;
        state.waiting.remove(&ticket);
        self.count(&state);
        Some(retry_after)
    }

    fn depart(&self, ticket: Ticket) {
        let mut state = self.state();
        state.waiting.remove(&ticket);
        state.rules.depart(self.now(), ticket);
        state.tell_turns();
        self.count(&state);
    }

    fn note(&self, class: Class, not_now: NotNow) {
        if matches!(not_now, NotNow::Busy { .. }) {
            self.metrics.sessions_sent_away.get_or_create(&labels(class)).inc();
        }
    }

    fn count(&self, state: &State) {
        for class in [Class::Mission, Class::Other] {
            let waiting = i64::try_from(state.rules.waiting(class)).unwrap_or(i64::MAX);
            self.metrics.sessions_waiting.get_or_create(&labels(class)).set(waiting);
        }
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell_turns(&mut self) {
        while let Some(turn) = self.rules.poll_turn() {
            match turn {
                // Whoever waits no more departs by himself.
                Turn::Entered(ticket) => self.waiting.remove(&ticket).into_iter().for_each(|turn| _ = turn.send(())),
                Turn::Replaced(ticket) => drop(self.waiting.remove(&ticket)),
            }
        }
    }
}

impl Pass {
    /// Does what the place is for. It is left early when that takes too long: what waits for a slow device or for
    /// somebody's keys holds up nobody.
    pub async fn during<T>(&mut self, mut work: impl Future<Output = T> + Unpin) -> T {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = sleep_until(self.until) => self.turnstile.depart(self.ticket),
        }
        work.await
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.turnstile.depart(self.ticket);
    }
}

fn labels(class: Class) -> Vec<(&'static str, &'static str)> {
    let name = match class {
        Class::Mission => "mission",
        Class::Other => "other",
    };
    vec![("class", name)]
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn device(number: usize) -> DeviceId {
        DeviceId(Uuid::from_u128(number as u128))
    }

    async fn crowd(turnstile: &Arc<Turnstile>) -> Vec<Pass> {
        let mut inside = Vec::new();
        for number in 0..limits::BEGINNING_AT_ONCE {
            inside.push(turnstile.enter(Class::Other, device(number)).await.unwrap());
        }
        inside
    }

    fn waiting(turnstile: &Turnstile) -> i64 {
        turnstile.metrics.sessions_waiting.get_or_create(&labels(Class::Other)).get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_becomes_free_lets_the_next_one_in() {
        let turnstile = Turnstile::new(Arc::default());
        let mut inside = crowd(&turnstile).await;
        let next = turnstile.enter(Class::Other, device(100));
        tokio::pin!(next);
        assert!(timeout(Duration::from_millis(1), &mut next).await.is_err());
        assert_eq!(waiting(&turnstile), 1);
        inside.pop();
        assert!(next.await.is_ok());
        assert_eq!(waiting(&turnstile), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_too_long_is_sent_away_and_who_goes_leaves_the_queue() {
        let turnstile = Turnstile::new(Arc::default());
        let _inside = crowd(&turnstile).await;
        let began = Instant::now();
        let Err(NotNow::Busy { retry_after }) = turnstile.enter(Class::Other, device(100)).await else {
            panic!("no room")
        };
        assert_eq!(began.elapsed(), limits::BEGINNING_WAIT_MAX);
        assert!(retry_after >= limits::RETRY_AFTER_MIN);
        assert!(timeout(Duration::from_millis(1), turnstile.enter(Class::Other, device(101))).await.is_err());
        assert_eq!(waiting(&turnstile), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_begins_slowly_holds_up_nobody() {
        let turnstile = Turnstile::new(Arc::default());
        let mut inside = crowd(&turnstile).await;
        let mut slow = inside.remove(0);
        let slow = tokio::spawn(async move { slow.during(Box::pin(std::future::pending::<()>())).await });
        let began = Instant::now();
        assert!(turnstile.enter(Class::Other, device(100)).await.is_ok());
        assert_eq!(began.elapsed(), limits::BEGINNING_WITHIN);
        slow.abort();
    }

    #[test]
    fn a_claim_is_believed_of_roles_that_go_on_missions_alone() {
        let believed = Role::ALL.into_iter().filter(|role| class_of(*role, true) == Class::Mission);
        let roles: Vec<Role> = believed.collect();
        assert_eq!(roles, [Role::AmbulanceCrew, Role::TelePhysician, Role::EmergencyPhysician]);
        assert!(Role::ALL.into_iter().all(|role| class_of(role, false) == Class::Other));
    }
}
