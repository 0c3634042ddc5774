//! Live vitals on their way between the app and the session at hand, whatever session that is: what is new takes the place of
//! what is old, and nobody waits.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use feldakte_core::{
    ids::CallId,
    limits,
    live::{Receiver, call_of, probe::Probe},
    readiness::Facts,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tracing::debug;

use super::{Link, LinkControl};
use crate::transport::{Connection, LinkError, LiveReceiver, LiveSender};

/// What is to be sent, and who is told of what comes.
#[derive(Default)]
pub(crate) struct LiveHub {
    outbox: Mutex<Outbox>,
    filled: Notify,
    watches: Mutex<Vec<Weak<Watched>>>,
    probe: Mutex<Option<(u32, mpsc::Sender<Answer>)>>,
    /// Half of the time there and back, in microseconds.
    path_us: AtomicU64,
    users: watch::Sender<usize>,
    is_open: watch::Sender<bool>,
    /// What [`crate::Client::readiness`] has measured last, of the way to which gateway and when.
    pub(crate) measured: tokio::sync::Mutex<Option<(SocketAddr, Instant, Facts)>>,
}

#[derive(Default)]
struct Outbox {
    numerics: VecDeque<Bytes>,
    waves: VecDeque<Bytes>,
    probes: VecDeque<Bytes>,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Numerics,
    Waves,
    Probe,
}

/// The vitals of one call as they come.
pub(crate) struct Watched {
    call: CallId,
    pub(crate) receiver: Mutex<Receiver>,
    pub(crate) changed: Notify,
}

/// An answer to a probe, and when it came.
pub(crate) type Answer = (Probe, Instant);

/// Somebody sends or watches: the way is held open for as long as this is kept.
pub(crate) struct Wanted(Arc<LinkControl>);

impl LinkControl {
    /// Holds the way for live vitals open.
    pub(crate) fn want_live(self: &Arc<Self>) -> Wanted {
        self.live.users.send_modify(|users| *users += 1);
        Wanted(self.clone())
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.live.users.send_modify(|users| *users -= 1);
    }
}

impl LiveHub {
    /// Sends it as soon as there is room, unless something newer takes its place.
    pub(crate) fn send(&self, kind: Kind, datagram: Bytes) {
        let mut outbox = self.outbox();
        let (queue, max) = match kind {
            Kind::Numerics => (&mut outbox.numerics, NUMERICS_MAX),
            Kind::Waves => (&mut outbox.waves, limits::LIVE_WAITING_PER_CALL),
            Kind::Probe => (&mut outbox.probes, PROBES_MAX),
        };
        if queue.len() >= max {
            queue.pop_front();
        }
        queue.push_back(datagram);
        drop(outbox);
        self.filled.notify_one();
    }

    /// From here on what comes of that call is kept for whoever holds this.
    pub(crate) fn watch(&self, call: CallId) -> Arc<Watched> {
        let watched = Watched { call, receiver: Mutex::new(Receiver::new(call)), changed: Notify::new() };
        let watched = Arc::new(watched);
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(&watched));
        watched
    }

    /// Answers to that train come to whoever asked last.
    pub(crate) fn answers(&self, train: u32) -> mpsc::Receiver<Answer> {
        let (sender, answers) = mpsc::channel(PROBES_MAX);
        *self.probe.lock().unwrap_or_else(PoisonError::into_inner) = Some((train, sender));
        answers
    }

    /// Half of the time there and back to the gateway.
    pub(crate) fn path_ms(&self) -> u16 {
        u16::try_from(self.path_us.load(Ordering::Relaxed).div_ceil(1_000)).unwrap_or(u16::MAX)
    }

    /// Waits until there is a way.
    pub(crate) async fn open(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await;
    }

    fn take(&self, now: Duration, datagram: &Bytes) {
        match Probe::decode(datagram) {
            Ok(Some(probe)) => return self.take_answer(probe),
            Ok(None) => {}
            Err(_) => return,
        }
        let Ok(call) = call_of(datagram) else { return };
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for watched in watches.iter().filter_map(Weak::upgrade).filter(|watched| watched.call == call) {
            let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            // What cannot be read is counted there.
            let _ = watched.receiver().take(now_ms, self.path_ms(), datagram);
            watched.changed.notify_one();
        }
    }

    fn take_answer(&self, probe: Probe) {
        let asked = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((train, answers)) = &*asked
            && *train == probe.train
        {
            // Whoever asked may have heard enough.
            let _ = answers.try_send((probe, Instant::now()));
        }
    }

    async fn write(&self, mut sender: LiveSender) {
        loop {
            while self.outbox().is_empty() {
                self.filled.notified().await;
            }
            while let Some(probe) = self.next_probe() {
                // Not paced: how far the path pulls them apart is what is asked.
                if sender.push(probe).await.is_err() {
                    return;
                }
            }
            if self.outbox().is_empty() {
                continue;
            }
            // First the room, then the choice: what is newest is known at the last moment.
            if sender.ready().await.is_err() {
                return;
            }
            let next = self.outbox().next();
            next.into_iter().for_each(|datagram| sender.send(datagram));
        }
    }

    fn next_probe(&self) -> Option<Bytes> {
        self.outbox().probes.pop_front()
    }

    async fn unwanted(&self) {
        let mut users = self.users.subscribe();
        loop {
            // The sender lives in `self`, so waiting cannot fail.
            let _ = users.wait_for(|users| *users == 0).await;
            let wanted = tokio::time::timeout(LINGER, users.wait_for(|users| *users > 0)).await;
            if wanted.is_err() {
                return;
            }
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that there is a way, for as long as there is.
struct Opened<'a>(&'a watch::Sender<bool>);

impl<'a> Opened<'a> {
    fn new(is_open: &'a watch::Sender<bool>) -> Self {
        is_open.send_replace(true);
        Self(is_open)
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.numerics.is_empty() && self.waves.is_empty() && self.probes.is_empty()
    }

    /// Numbers first: they are small, and every one of them is a second's.
    fn next(&mut self) -> Option<Bytes> {
        self.numerics.pop_front().or_else(|| self.waves.pop_front())
    }
}

impl Watched {
    pub(crate) fn receiver(&self) -> MutexGuard<'_, Receiver> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Carries live vitals for as long as somebody sends or watches.
    pub(super) async fn carry_live(&self, connection: &Connection) -> LinkError {
        let live = &self.control.live;
        let mut users = live.users.subscribe();
        loop {
            // The sender lives in `self.control`, so waiting cannot fail.
            let _ = users.wait_for(|users| *users > 0).await;
            if let Ok((sender, receiver)) = connection.open_live().await {
                // What waited for another session is old.
                *live.outbox() = Outbox::default();
                let _open = Opened::new(&live.is_open);
                tokio::select! {
                    () = self.read_live(connection, receiver) => {}
                    () = live.write(sender) => {}
                    () = live.unwanted() => continue,
                }
            }
            debug!("live vitals have no way");
            tokio::time::sleep(AGAIN_AFTER.mul_f64(0.5 + self.environment.draw())).await;
        }
    }

    async fn read_live(&self, connection: &Connection, mut receiver: LiveReceiver) {
        let live = &self.control.live;
        loop {
            let path = connection.rtt() / 2;
            live.path_us.store(u64::try_from(path.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            let next = tokio::time::timeout(LOOK_EVERY, receiver.next()).await;
            match next {
                Ok(Ok(datagram)) => live.take(self.environment.uptime(), &datagram),
                Ok(Err(_)) => return,
                Err(_) => {}
            }
        }
    }
}

/// The newest numbers and, of a monitor that reports blood pressure apart, those before.
const NUMERICS_MAX: usize = 2;
/// The longest train.
const PROBES_MAX: usize = 8;
/// How long the way is held open for the next who wants it.
const LINGER: Duration = Duration::from_secs(5);
/// Between two tries for it.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How often a publisher who hears nothing looks how far the gateway is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
