//! What a session sends of the log: the catch-up from its cursor, then the live tail; and nothing unrecorded.

use feldakte_core::ids::Position;
use feldakte_proto::{ChangesFrame, Durable, RawEntry, ServerMessage};

use super::{Device, Session, SessionError};
use crate::{
    catch_up::CatchUp,
    mailbox::{Answer, Mail, Post},
};

impl Session {
    pub(super) async fn handle_post(&mut self, Post { mail, lagged }: Post) -> Result<(), SessionError> {
        if self.withheld || !self.device.shared.audit.is_available() {
            return self.withhold(mail).await;
        }
        let planned = self.device.mailbox.last_revoked();
        self.device.trail.note_live(&mail, self.sent);
        let mut frame = ChangesFrame::default();
        for mail in mail {
            match mail {
                // What overlaps with a catch-up has been sent already.
                Mail::Entry(entry) if entry.position <= self.sent => {}
                Mail::Entry(entry) => {
                    self.sent = entry.position;
                    frame.to = (!lagged).then_some(entry.position);
                    frame.entries.push(RawEntry { position: entry.position, entry: entry.encoded.clone() });
                }
                Mail::Own(position) => {
                    self.sent = self.sent.max(position);
                    frame.to = (!lagged).then_some(self.sent);
                }
                Mail::Answer(answer) => {
                    self.flush(&mut frame).await?;
                    self.send_answer(answer, lagged).await?;
                }
            }
        }
        self.flush(&mut frame).await?;
        if lagged {
            let (_, catch_up) = self.join_tail().await?;
            self.send_catch_up(catch_up, planned).await?;
        }
        Ok(())
    }

    /// Answers pushes and sends nothing else: what becomes durable meanwhile is read from the store later.
    pub(super) async fn withhold(&mut self, mail: Vec<Mail>) -> Result<(), SessionError> {
        self.withheld = true;
        self.device.mailbox.restart();
        for mail in mail {
            if let Mail::Answer(answer) = mail {
                self.send_answer(answer, true).await?;
            }
        }
        Ok(())
    }

    /// Sends what was withheld.
    pub(super) async fn resume(&mut self) -> Result<(), SessionError> {
        self.withheld = false;
        let planned = self.device.mailbox.last_revoked();
        match self.join_tail().await? {
            (_, Some(catch_up)) => self.send_catch_up(Some(catch_up), planned).await,
            (head, None) => self.send_nothing(head).await,
        }
    }

    /// Tells a device that waits to be caught up that there is nothing for it.
    pub(super) async fn send_nothing(&mut self, head: Position) -> Result<(), SessionError> {
        let nothing = ChangesFrame { to: Some(head), caught_up: true, ..ChangesFrame::default() };
        self.send(ServerMessage::Changes(nothing)).await
    }

    /// Whether the reading of all that the catch-up holds is recorded; if not, nothing of it may be sent.
    pub(super) async fn record_reads(&mut self, catch_up: &CatchUp) -> bool {
        let (documents, span) = catch_up.content();
        // Boxed, as all that waits for the audit log: ten thousand idle sessions need not have room for it.
        self.withheld = Box::pin(self.device.trail.record_reads(documents, Some(span))).await.is_err();
        !self.withheld
    }

    pub(super) async fn send_answer(&mut self, answer: Answer, lagged: bool) -> Result<(), SessionError> {
        let Answer { push, position, refused } = answer;
        self.intake.answered();
        let cursor = if lagged {
            None
        } else {
            self.sent = self.sent.max(position);
            Some(self.sent)
        };
        self.send(ServerMessage::Durable(Durable { push, position, cursor, refused })).await
    }

    pub(super) async fn flush(&mut self, frame: &mut ChangesFrame) -> Result<(), SessionError> {
        if frame.entries.is_empty() && frame.to.is_none() {
            return Ok(());
        }
        self.send(ServerMessage::Changes(std::mem::take(frame))).await
    }

    /// Registers for the live tail and finds out what lies before it.
    pub(super) async fn join_tail(&mut self) -> Result<(Position, Option<CatchUp>), SessionError> {
        let Device { shared, reader, mailbox, in_use, .. } = &*self.device;
        shared.hub.unregister(reader, mailbox);
        let head = shared.hub.register(reader, mailbox);
        let catch_up =
            CatchUp::plan(&shared.store, (reader, in_use), (self.sent, head), shared.environment.latest_ms()).await?;
        if catch_up.is_empty() {
            self.sent = self.sent.max(head);
            self.outlet.passed(self.sent);
            return Ok((head, None));
        }
        Ok((head, Some(catch_up)))
    }

    /// Sends what was found when the last grant had ended at `planned`. One that ends meanwhile makes a new plan
    /// necessary, before anything more of the old one is sent.
    pub(super) async fn send_catch_up(
        &mut self,
        catch_up: Option<CatchUp>,
        mut planned: Position,
    ) -> Result<(), SessionError> {
        let Some(mut catch_up) = catch_up else { return Ok(()) };
        if !self.record_reads(&catch_up).await {
            return Ok(());
        }
        loop {
            let Some(frame) = catch_up.next_frame(&self.device.shared).await? else { return Ok(()) };
            let revoked = self.device.mailbox.last_revoked();
            if revoked != planned || catch_up.is_outdated(self.device.shared.environment.latest_ms()) {
                planned = revoked;
                match self.join_tail().await? {
                    (_, Some(again)) => catch_up = again,
                    (head, None) => return self.send_nothing(head).await,
                }
                if !self.record_reads(&catch_up).await {
                    return Ok(());
                }
                continue;
            }
            self.sent = frame.to.map_or(self.sent, |to| self.sent.max(to));
            self.send(ServerMessage::Changes(frame)).await?;
        }
    }
}
