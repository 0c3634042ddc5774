//! What the gateway holds in memory on behalf of its devices. Every figure has a bound in `feldakte_core::limits`.

use feldakte_core::limits;

use crate::gateway::Shared;

/// One look at everything that could grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// Connections whose device has been identified.
    pub connections: usize,
    /// Sessions on the live tail.
    pub mailboxes: usize,
    /// The most live entries that wait in one mailbox.
    pub mailbox_entries: usize,
    /// The most bytes of live entries that wait in one mailbox.
    pub mailbox_bytes: usize,
    /// The most answers that wait in one mailbox.
    pub mailbox_answers: usize,
    /// Admitted pushes that wait for the sequencer.
    pub submissions: usize,
    /// Bytes of pushes that wait for the sequencer.
    pub submission_bytes: usize,
    /// Bytes of ledgers.
    pub ledger_bytes: usize,
}

impl Census {
    pub(crate) fn of(shared: &Shared) -> Self {
        let loads = shared.hub.loads();
        let most = |figure: fn(&crate::mailbox::MailboxLoad) -> usize| loads.iter().map(figure).max().unwrap_or(0);
        Self {
            connections: shared.registry.len(),
            mailboxes: loads.len(),
            mailbox_entries: most(|load| load.entries),
            mailbox_bytes: most(|load| load.entry_bytes),
            mailbox_answers: most(|load| load.answers),
            submissions: limits::SEQUENCER_QUEUE - shared.submissions.capacity(),
            submission_bytes: limits::SEQUENCER_BYTES - shared.room.available_permits(),
            ledger_bytes: shared.ledgers.weight(),
        }
    }
}
