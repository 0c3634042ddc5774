//! A session's way out. Knows what was handed to the transport and when, so that it can be told whether what was under way
//! at some moment has left.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use feldakte_core::ids::Position;

use crate::transport::{Connection, Mark, SendError, Sender};

/// The way out of one connection.
#[derive(Debug)]
pub struct Outlet {
    connection: Connection,
    state: Mutex<OutletState>,
}

#[derive(Debug, Default)]
struct OutletState {
    frames_begun: u64,
    /// Frames the transport has not taken whole.
    open: BTreeSet<u64>,
    /// Entries up to here have been handed over.
    sent: Position,
}

/// What was under way when a grant ended at `position`.
#[derive(Debug, Clone, Copy)]
pub struct UnderWay {
    position: Position,
    handed_over: Mark,
    frames_begun: u64,
}

impl Outlet {
    /// Of this connection.
    pub fn new(connection: Connection) -> Arc<Self> {
        Arc::new(Self { connection, state: Mutex::default() })
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends one frame, header included.
    ///
    /// # Errors
    /// When the device takes no bytes, or is gone.
    pub async fn send_frame(&self, sender: &mut Sender, frame: Bytes) -> Result<(), SendError> {
        let number = self.state().begin();
        let sent = sender.send(frame).await;
        self.state().open.remove(&number);
        sent
    }

    /// Every entry up to here that the device may see has been handed over.
    pub fn passed(&self, position: Position) {
        let mut state = self.state();
        state.sent = state.sent.max(position);
    }

    /// What is under way at this moment, at which a grant ended.
    pub fn under_way(&self, position: Position) -> UnderWay {
        let frames_begun = self.state().frames_begun;
        UnderWay { position, handed_over: self.connection.mark(), frames_begun }
    }

    /// Whether all of that has gone out on the network, and what waited before it.
    pub fn has_left(&self, UnderWay { position, handed_over, frames_begun }: UnderWay) -> bool {
        let state = self.state();
        let is_taken = state.open.first().is_none_or(|frame| *frame >= frames_begun) && state.sent >= position;
        is_taken && self.connection.has_left(handed_over)
    }

    fn state(&self) -> MutexGuard<'_, OutletState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutletState {
    fn begin(&mut self) -> u64 {
        let number = self.frames_begun;
        self.frames_begun += 1;
        self.open.insert(number);
        number
    }
}
