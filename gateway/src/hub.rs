//! Who is listening, and how far each tenant's log has been published.
//!
//! The sequencer alone publishes, after a commit, in log order. A session that registers learns the position up to
//! which it must read the store itself; everything after it arrives in its mailbox.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use feldakte_core::{
    access::Subject,
    ids::{Position, TenantId},
};

use crate::{
    mailbox::{Answer, LiveEntry, Mailbox, MailboxLoad},
    store::Reader,
};

/// The live side of the log.
#[derive(Debug, Default)]
pub struct Hub {
    state: Mutex<HashMap<TenantId, Listeners>>,
}

#[derive(Debug)]
struct Listeners {
    published: Position,
    by_subject: HashMap<Subject, Vec<Arc<Mailbox>>>,
}

/// An entry that has become durable, and who hears of it.
#[derive(Debug)]
pub struct Publication {
    /// Whose log.
    pub tenant: TenantId,
    /// Where the log ends after it.
    pub position: Position,
    /// The entry; `None` when the push held nothing new.
    pub entry: Option<Arc<LiveEntry>>,
    /// Whose grants let them see it.
    pub readers: Vec<Subject>,
    /// Whose grants end with it.
    pub revoked: Vec<Subject>,
    /// The author, who gets the answer instead of the entry.
    pub author: Option<(Arc<Mailbox>, Answer)>,
}

impl Hub {
    /// Tells the hub where a tenant's log ends, the first time somebody asks for it.
    pub fn open_tenant(&self, tenant: &TenantId, head: Position) {
        self.lock().entry(tenant.clone()).or_insert_with(|| Listeners { published: head, by_subject: HashMap::new() });
    }

    /// How far the tenant's log has been published; `None` when the tenant has not been opened.
    pub fn published(&self, tenant: &TenantId) -> Option<Position> {
        self.lock().get(tenant).map(|listeners| listeners.published)
    }

    /// From here on the mailbox receives what these subjects may see. Everything up to the returned position is
    /// in the store.
    pub fn register(&self, reader: &Reader, mailbox: &Arc<Mailbox>) -> Position {
        let mut state = self.lock();
        let listeners = state
            .entry(reader.tenant.clone())
            .or_insert_with(|| Listeners { published: Position::START, by_subject: HashMap::new() });
        for subject in &reader.subjects {
            listeners.by_subject.entry(subject.clone()).or_default().push(mailbox.clone());
        }
        mailbox.restart();
        listeners.published
    }

    /// The mailbox receives no more.
    pub fn unregister(&self, reader: &Reader, mailbox: &Arc<Mailbox>) {
        let mut state = self.lock();
        let Some(listeners) = state.get_mut(&reader.tenant) else { return };
        for subject in &reader.subjects {
            if let Some(mailboxes) = listeners.by_subject.get_mut(subject) {
                mailboxes.retain(|other| !Arc::ptr_eq(other, mailbox));
                if mailboxes.is_empty() {
                    listeners.by_subject.remove(subject);
                }
            }
        }
    }

    /// Hands out what a commit made durable, in log order. Returns how many readers were dropped from the tail.
    pub fn publish(&self, publications: Vec<Publication>) -> u64 {
        let mut state = self.lock();
        let mut lagged = 0;
        for Publication { tenant, position, entry, readers, revoked, author } in publications {
            let listeners = state
                .entry(tenant)
                .or_insert_with(|| Listeners { published: Position::START, by_subject: HashMap::new() });
            listeners.published = listeners.published.max(position);
            let ending = revoked.iter().filter_map(|subject| listeners.by_subject.get(subject)).flatten();
            ending.for_each(|mailbox| mailbox.revoke(position));
            if let Some(entry) = &entry {
                lagged += listeners.deliver(entry, &readers, author.as_ref().map(|(mailbox, _)| mailbox));
            }
            if let Some((mailbox, answer)) = author {
                mailbox.answer(answer);
            }
        }
        lagged
    }

    /// What waits in each mailbox, in no order.
    pub fn loads(&self) -> Vec<MailboxLoad> {
        let state = self.lock();
        let registered = state.values().flat_map(|listeners| listeners.by_subject.values().flatten());
        // A mailbox stands under each of its subjects.
        let mailboxes: HashMap<*const Mailbox, &Arc<Mailbox>> =
            registered.map(|mailbox| (Arc::as_ptr(mailbox), mailbox)).collect();
        mailboxes.values().map(|mailbox| mailbox.load()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Listeners>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listeners {
    fn deliver(&self, entry: &Arc<LiveEntry>, readers: &[Subject], author: Option<&Arc<Mailbox>>) -> u64 {
        let mut lagged = 0;
        let mut served: Vec<&Arc<Mailbox>> = Vec::new();
        for mailbox in readers.iter().filter_map(|subject| self.by_subject.get(subject)).flatten() {
            let is_author = author.is_some_and(|author| author.session() == mailbox.session());
            // A session may hold the document through its unit and through itself: it hears of it once.
            let again = readers.len() > 1 && served.iter().any(|other| Arc::ptr_eq(other, mailbox));
            if is_author || again {
                continue;
            }
            lagged += u64::from(!mailbox.deliver(entry));
            if readers.len() > 1 {
                served.push(mailbox);
            }
        }
        lagged
    }
}
