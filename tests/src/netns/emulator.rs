//! A link between two TUN devices: one thread takes packets in at either end and lets them out at the other when, and
//! if, the conditions say so.

use std::{
    io::{PipeReader, PipeWriter, pipe},
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use super::{
    channel::{Channel, Fate},
    conditions::{Conditions, Direction},
    flight::{Flight, Flights},
    nat::Nat,
    packet::Packet,
    tally::{Counts, Lateness, Tally},
    tun::{PACKET_LEN_MAX, Tun},
    wait,
};

/// A running link. Ends when it is dropped.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    /// Closing it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// Both interfaces of a link.
#[derive(Debug)]
pub struct Ends {
    /// In the device's namespace.
    pub device: Tun,
    /// In the gateway's.
    pub gateway: Tun,
}

/// What its holder changes and sees.
#[derive(Debug)]
struct Shared {
    conditions: Mutex<Conditions>,
    tallies: [Mutex<Tally>; 2],
    nat: Mutex<Nat>,
}

/// The thread's own.
#[derive(Debug)]
struct Engine {
    shared: Arc<Shared>,
    ends: Ends,
    channels: [Channel; 2],
    flights: Flights,
    stop: PipeReader,
}

impl Emulator {
    /// Joins both ends. The seed decides what is lost and how delays vary.
    ///
    /// # Panics
    /// When the system has no thread or pipe left.
    pub fn start(ends: Ends, conditions: Conditions, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            conditions: Mutex::new(conditions),
            tallies: [Mutex::default(), Mutex::default()],
            nat: Mutex::default(),
        });
        let now = Instant::now();
        let channels = [Channel::new(seed, now), Channel::new(seed ^ OTHER_DIRECTION, now)];
        let (stopped, stop) = pipe().expect("a pipe");
        let engine = Engine { shared: shared.clone(), ends, channels, flights: Flights::default(), stop: stopped };
        let thread = thread::Builder::new().name("link".to_owned()).spawn(|| engine.run());
        Self { shared, stop: Some(stop), thread: Some(thread.expect("a thread")) }
    }

    /// What the link is like.
    pub fn conditions(&self) -> Conditions {
        *lock(&self.shared.conditions)
    }

    /// Changes what the link is like from the next packet on.
    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut lock(&self.shared.conditions));
    }

    /// Gives each conversation another port, as radio networks do without asking.
    pub fn rebind_nat(&self) {
        lock(&self.shared.nat).rebind();
    }

    /// What has become of the packets of one direction.
    pub fn counts(&self, direction: Direction) -> Counts {
        lock(&self.shared.tallies[direction.index()]).counts
    }

    /// By how much packets of one direction arrived late: the emulator's own error.
    pub fn lateness(&self, direction: Direction) -> Lateness {
        lock(&self.shared.tallies[direction.index()]).lateness()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has panicked already and said so.
            let _ = thread.join();
        }
    }
}

impl Engine {
    fn run(mut self) {
        wait::wake_exactly();
        let mut buffer = Box::new([0; PACKET_LEN_MAX]);
        loop {
            self.let_out();
            let descriptors = [self.stop.as_fd(), self.ends.device.as_fd(), self.ends.gateway.as_fd()];
            let [is_over, is_up, is_down] = wait::readable(descriptors, self.flights.next_due());
            if is_over {
                return;
            }
            for (direction, _) in Direction::BOTH.into_iter().zip([is_up, is_down]).filter(|(_, has)| *has) {
                self.take_in(direction, &mut buffer);
            }
        }
    }

    /// Takes in what the kernel has sent, but only so much at a time that what is due is not kept waiting.
    fn take_in(&mut self, direction: Direction, buffer: &mut [u8; PACKET_LEN_MAX]) {
        let conditions = *lock(&self.shared.conditions);
        for _ in 0..BATCH {
            let Some(packet) = self.ends.entry(direction).read(buffer) else { return };
            self.take(direction, &conditions, packet);
        }
    }

    fn take(&mut self, direction: Direction, conditions: &Conditions, packet: Packet) {
        let (now, len) = (Instant::now(), packet.len());
        let fate = conditions
            .lets_pass(&packet)
            .then(|| self.channels[direction.index()].take(conditions.path(direction), len, now));
        lock(&self.shared.tallies[direction.index()]).on_fate(fate);
        if let Some(Fate::Arrives(due)) = fate {
            self.flights.take_off(due, direction, packet);
        }
    }

    /// Lets out all that is due.
    fn let_out(&mut self) {
        while let Some(Flight { due, direction, mut packet, .. }) = self.flights.land(Instant::now()) {
            let conditions = *lock(&self.shared.conditions);
            let arrives = conditions.lets_pass(&packet)
                && translate(&mut lock(&self.shared.nat), direction, &mut packet)
                && self.ends.exit(direction).write(&packet).is_ok();
            let mut tally = lock(&self.shared.tallies[direction.index()]);
            if arrives { tally.on_delivered(packet.len(), due.elapsed()) } else { tally.on_cut() }
        }
    }
}

impl Ends {
    /// Where packets of that direction come from.
    fn entry(&self, direction: Direction) -> &Tun {
        match direction {
            Direction::Up => &self.device,
            Direction::Down => &self.gateway,
        }
    }

    /// Where they go.
    fn exit(&self, direction: Direction) -> &Tun {
        match direction {
            Direction::Up => &self.gateway,
            Direction::Down => &self.device,
        }
    }
}

impl Conditions {
    fn lets_pass(&self, packet: &Packet) -> bool {
        self.is_up && (self.passes_udp || !packet.is_udp()) && packet.len() <= usize::from(self.mtu)
    }
}

/// Whether anybody is known for whom the packet is.
fn translate(nat: &mut Nat, direction: Direction, packet: &mut Packet) -> bool {
    match direction {
        Direction::Up => {
            nat.translate_up(packet);
            true
        }
        Direction::Down => nat.translate_down(packet),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both directions of a seed differ.
const OTHER_DIRECTION: u64 = 0x5555_5555_5555_5555;
/// Packets taken in before what is due is looked at again.
const BATCH: usize = 32;
