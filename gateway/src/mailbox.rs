//! What waits to be sent to one session: answers to its pushes and live entries, in log order.
//!
//! Bounded by dropping, never by waiting: a session that lags behind [`limits::READER_OUTBOX`] loses its live
//! entries, reads them from the store instead, and nobody else notices. Answers are never dropped; their number is
//! bounded by [`limits::PUSHES_IN_FLIGHT`].

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use feldakte_core::{
    access::PartSet,
    ids::{DocumentId, Position, SessionId},
    limits,
};
use feldakte_proto::Refused;
use tokio::sync::Notify;

/// The mailbox of one session.
#[derive(Debug)]
pub struct Mailbox {
    session: SessionId,
    parts: PartSet,
    /// The session's own, in which the log is told in its order; `None` when this is it.
    own: Option<Arc<Mailbox>>,
    state: Mutex<State>,
    filled: Notify,
    revoked: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Mail>,
    entries: usize,
    entry_bytes: usize,
    lagged: bool,
    revoked: Position,
    /// Of the urgent lane: is told of urgent entries at once, however much waits here.
    urgent: Weak<Mailbox>,
}

/// Something to be sent.
#[derive(Debug, Clone)]
pub enum Mail {
    /// The push is durable.
    Answer(Answer),
    /// An entry of the log.
    Entry(Arc<LiveEntry>),
    /// An entry that the device has pushed on another lane, and is answered there.
    Own(Position),
}

/// A push and what became of it, after its commit.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The push as the device numbered it.
    pub push: u64,
    /// Where it stands; the log's head when nothing of it was new.
    pub position: Position,
    /// What was not taken.
    pub refused: Vec<Refused>,
}

/// An entry that has just become durable; shared by all its readers.
#[cfg_attr(test, derive(Debug))]
pub struct LiveEntry {
    /// What it is about.
    pub document: DocumentId,
    /// Its place.
    pub position: Position,
    /// Whether it holds changes, so that whoever gets it reads something of the case.
    pub has_content: bool,
    /// Whether it goes ahead of what waits: it came on the urgent lane, and holds changes and nothing of authority.
    pub is_urgent: bool,
    /// The entry as stored.
    pub encoded: Bytes,
}

feldakte_core::hide_content! { LiveEntry }

/// What a session takes out of its mailbox at once.
#[derive(Debug, Default)]
pub struct Post {
    /// In log order.
    pub mail: Vec<Mail>,
    /// Live entries have been dropped: the session must read the store from where it is.
    pub lagged: bool,
}

/// How much waits in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailboxLoad {
    /// Live entries, at most [`limits::READER_OUTBOX`].
    pub entries: usize,
    /// Their bytes, at most [`limits::READER_OUTBOX_BYTES`].
    pub entry_bytes: usize,
    /// Answers, at most [`limits::PUSHES_IN_FLIGHT`].
    pub answers: usize,
}

impl Mailbox {
    /// An empty mailbox of a session whose role may have documents of these parts.
    pub fn new(session: SessionId, parts: PartSet) -> Arc<Self> {
        Self::with(session, parts, None)
    }

    /// One of another lane of the session whose own this is.
    pub fn beside(self: &Arc<Self>) -> Arc<Self> {
        Self::with(self.session, self.parts, Some(self.clone()))
    }

    fn with(session: SessionId, parts: PartSet, own: Option<Arc<Mailbox>>) -> Arc<Self> {
        let (filled, revoked) = (Notify::new(), Notify::new());
        Arc::new(Self { session, parts, own, state: Mutex::default(), filled, revoked })
    }

    /// Has that one told of urgent entries as well, as long as there is one. What waits in the one before is taken back: only of
    /// the last one it is when a grant ends.
    pub fn tell_urgent(&self, urgent: &Arc<Mailbox>) {
        let before = std::mem::replace(&mut self.lock().urgent, Arc::downgrade(urgent));
        if let Some(before) = before.upgrade() {
            before.restart();
        }
    }

    /// Whose mailbox this is.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Adds an answer.
    pub fn answer(&self, answer: Answer) {
        if let Some(own) = &self.own {
            own.pass(answer.position);
        }
        self.lock().queue.push_back(Mail::Answer(answer));
        self.filled.notify_one();
    }

    /// Adds a live entry that the session's role may have; returns false when the session has lagged behind and lost its
    /// live entries.
    pub fn deliver(&self, entry: &Arc<LiveEntry>) -> bool {
        if !self.parts.contains(entry.document.part) {
            return true;
        }
        let mut state = self.lock();
        if entry.is_urgent
            && let Some(urgent) = state.urgent.upgrade()
        {
            urgent.deliver(entry);
        }
        if state.lagged {
            return false;
        }
        state.entries += 1;
        state.entry_bytes += entry.encoded.len();
        if state.entries > limits::READER_OUTBOX || state.entry_bytes > limits::READER_OUTBOX_BYTES {
            state.drop_entries();
            state.lagged = true;
        } else {
            state.queue.push_back(Mail::Entry(entry.clone()));
        }
        let lagged = state.lagged;
        drop(state);
        self.filled.notify_one();
        !lagged
    }

    /// The device has what stands there. One such mail is enough for several in a row.
    fn pass(&self, position: Position) {
        let mut state = self.lock();
        if state.lagged {
            return;
        }
        match state.queue.back_mut() {
            Some(Mail::Own(last)) => *last = position.max(*last),
            _ => state.queue.push_back(Mail::Own(position)),
        }
        drop(state);
        self.filled.notify_one();
    }

    /// A grant of this reader has ended: what was read for it before may not be sent any more. What waits on the urgent lane
    /// comes in the order of the log, if it still may.
    pub fn revoke(&self, position: Position) {
        let mut state = self.lock();
        state.revoked = position;
        if let Some(urgent) = state.urgent.upgrade() {
            urgent.restart();
        }
        drop(state);
        self.revoked.notify_one();
    }

    /// Where a grant of this reader ended last.
    pub fn last_revoked(&self) -> Position {
        self.lock().revoked
    }

    /// Waits until a grant has ended since it was last asked; says where. Cancel-safe.
    pub async fn revoked(&self) -> Position {
        self.revoked.notified().await;
        self.last_revoked()
    }

    /// Takes up to `bytes_max` of entries (at least one item). Waits until there is something. Cancel-safe.
    pub async fn take(&self, bytes_max: usize) -> Post {
        loop {
            let filled = self.filled.notified();
            let post = self.lock().take(bytes_max);
            if post.lagged || !post.mail.is_empty() {
                return post;
            }
            filled.await;
        }
    }

    /// How much waits.
    pub fn load(&self) -> MailboxLoad {
        let state = self.lock();
        let answers = state.queue.iter().filter(|mail| matches!(mail, Mail::Answer(_))).count();
        MailboxLoad { entries: state.entries, entry_bytes: state.entry_bytes, answers }
    }

    /// Forgets that the session lagged, right before it reads the store again.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.drop_entries();
        state.lagged = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn drop_entries(&mut self) {
        self.queue.retain(|mail| matches!(mail, Mail::Answer(_)));
        self.entries = 0;
        self.entry_bytes = 0;
    }

    fn take(&mut self, bytes_max: usize) -> Post {
        let mut post = Post { mail: Vec::new(), lagged: self.lagged };
        let mut bytes = 0;
        while let Some(mail) = self.queue.pop_front() {
            if let Mail::Entry(entry) = &mail {
                self.entries -= 1;
                self.entry_bytes -= entry.encoded.len();
                bytes += entry.encoded.len();
            }
            post.mail.push(mail);
            if bytes >= bytes_max {
                break;
            }
        }
        if self.queue.is_empty() {
            // Idle sessions are many: keep none of the room a burst needed.
            self.queue = VecDeque::new();
        }
        post
    }
}

#[cfg(test)]
mod tests;
