//! Flows that share one bottleneck; events in order of time, the same with the same seed.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::{
    flow::{Flow, MTU, Window},
    link::{Link, Spec},
};

/// Connections over one link.
pub struct World {
    pub flows: Vec<Flow>,
    pub up: Link,
    down: Link,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    count: u64,
    /// What each packet of each flow waited in the queue, and when.
    pub waits: Vec<Vec<(Duration, Duration)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival { flow: usize, number: u64 },
    Ack { flow: usize, covers: usize },
    Tick,
}

impl World {
    pub fn new(spec: Spec, seed: u64) -> Self {
        let back = Spec { rate: 10.0 * spec.rate, queue: 1e9, ..spec };
        let mut world = Self {
            flows: Vec::new(),
            up: Link::new(spec, seed),
            down: Link::new(back, seed ^ 0xffff),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            count: 0,
            waits: Vec::new(),
        };
        world.at(Duration::ZERO, Event::Tick);
        world
    }

    pub fn add(&mut self, window: impl Window + 'static) -> usize {
        self.flows.push(Flow::new(Box::new(window)));
        self.waits.push(Vec::new());
        self.flows.len() - 1
    }

    /// Lets so much time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.events.peek().is_some_and(|Reverse((at, ..))| *at <= until) {
            let Some(Reverse((at, _, event))) = self.events.pop() else { return };
            self.now = at;
            self.handle(event);
        }
        self.now = until;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrival { flow, number } => {
                if self.flows[flow].on_arrival(self.now, number) {
                    self.acknowledge(flow);
                }
            }
            Event::Ack { flow, covers } => {
                self.flows[flow].on_ack(self.now, covers);
                self.send(flow);
            }
            Event::Tick => self.tick(),
        }
    }

    fn tick(&mut self) {
        for flow in 0..self.flows.len() {
            if self.flows[flow].ack_due.is_some_and(|due| due <= self.now) {
                self.acknowledge(flow);
            }
            self.flows[flow].find_lost(self.now);
            self.send(flow);
        }
        self.at(self.now + TICK, Event::Tick);
    }

    fn send(&mut self, flow: usize) {
        while let Some(number) = self.flows[flow].poll_send(self.now) {
            let carried = self.up.carry(self.now, MTU + OVERHEAD);
            self.waits[flow].push((self.now, carried.queued));
            if let Some(due) = carried.due {
                self.at(due, Event::Arrival { flow, number });
            }
        }
    }

    fn acknowledge(&mut self, flow: usize) {
        let covers = self.flows[flow].acknowledge();
        if let Some(due) = self.down.carry(self.now, ACK).due {
            self.at(due, Event::Ack { flow, covers });
        }
    }

    fn at(&mut self, due: Duration, event: Event) {
        self.count += 1;
        self.events.push(Reverse((due, self.count, event)));
    }

    /// The wait that `share` of the packets sent since `from` did not exceed.
    pub fn wait(&self, flow: usize, share: f64, from: Duration) -> Duration {
        let mut waits: Vec<_> = self.waits[flow].iter().filter(|(at, _)| *at >= from).map(|(_, wait)| *wait).collect();
        waits.sort_unstable();
        waits
            .get(((waits.len() as f64 * share) as usize).min(waits.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

/// IP and UDP headers.
pub const OVERHEAD: u64 = 28;
const ACK: u64 = 70;
const TICK: Duration = Duration::from_millis(1);
