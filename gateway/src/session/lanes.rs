//! The lanes beside the session's. What is pushed on one waits for nothing that goes on another, and is admitted, answered
//! and recorded like everything.
//!
//! The log is told on the session's stream alone, in its order. The urgent lane brings copies of urgent entries, which move
//! no cursor: a device that is still being caught up hears of an order at once, and again in its place.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use feldakte_core::{
    call::{Say, Told},
    ids::Position,
    lane::{Lane, TAIL_AFTER},
    limits,
};
use feldakte_proto::{ChangesFrame, ClientMessage, Durable, Push, RawEntry, ServerMessage};
use tokio::{sync::oneshot, task::JoinSet, time::Instant};

use super::{
    Device, SessionError,
    calls::Line,
    intake::{Intake, Room},
    live,
};
use crate::{
    mailbox::{Answer, Mail, Mailbox, Post},
    outlet::Outlet,
    transport::{ReceiveError, Receiver, Sender},
};

/// Serves those that the device opens once it is welcome; ends when the session has to.
pub(super) async fn serve(device: Arc<Device>, outlet: Arc<Outlet>, welcome: oneshot::Receiver<()>) -> SessionError {
    if welcome.await.is_err() {
        // Whoever says no says why.
        std::future::pending::<()>().await;
    }
    // On the heap: most of its time it waits.
    let live = Box::pin(live::serve(&device, &outlet));
    tokio::select! {
        error = lanes(&device, &outlet) => error,
        error = live => error,
    }
}

async fn lanes(device: &Arc<Device>, outlet: &Arc<Outlet>) -> SessionError {
    let mut lanes = JoinSet::new();
    loop {
        tokio::select! {
            accepted = outlet.connection().accept_lane(), if lanes.len() < limits::LANES_MAX => match accepted {
                Ok(stream) => drop(lanes.spawn(open(device.clone(), outlet.clone(), stream))),
                Err(error) => return error.into(),
            },
            Some(ended) = lanes.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                // It has panicked; nothing of it is left.
                Err(_) => return SessionError::Gone,
            },
        }
    }
}

async fn open(
    device: Arc<Device>,
    outlet: Arc<Outlet>,
    (out, mut messages): (Sender, Receiver),
) -> Result<(), SessionError> {
    let first = tokio::time::timeout(limits::HELLO_WITHIN, messages.next_message()).await;
    let lane = match first.map_err(|_| SessionError::HelloTimeout)?? {
        Some(ClientMessage::Enter(lane @ (Lane::Urgent | Lane::Background))) => lane,
        _ => return Err(SessionError::Unexpected("a stream that does not say which lane it is")),
    };
    out.set_lane(lane);
    let mailbox = device.mailbox.beside();
    let (len_max, room) = match lane {
        Lane::Urgent => {
            device.mailbox.tell_urgent(&mailbox);
            (limits::URGENT_FRAME_LEN_MAX, URGENT_ROOM)
        }
        _ => (limits::FRAME_LEN_MAX, BACKGROUND_ROOM),
    };
    messages.set_len_max(len_max);
    let intake = Intake::new(device.clone(), mailbox.clone(), lane, room);
    let line = (lane == Lane::Urgent).then(|| Box::new(Line::new(&device.shared, device.mailbox.session())));
    let (parked, parked_bytes, tail) = (VecDeque::new(), 0, None);
    let push_len_max = len_max;
    Open { device, outlet, out, messages, mailbox, intake, push_len_max, tail, lane, parked, parked_bytes, line }
        .run()
        .await
}

/// One of them.
struct Open {
    device: Arc<Device>,
    outlet: Arc<Outlet>,
    out: Sender,
    messages: Receiver,
    mailbox: Arc<Mailbox>,
    intake: Intake,
    /// Of what is packed as well.
    push_len_max: usize,
    /// Of the urgent lane: when the tail of the last message is due.
    tail: Option<Instant>,
    lane: Lane,
    /// Pushes that wait for room, and their bytes.
    parked: VecDeque<Push>,
    parked_bytes: usize,
    /// Of the urgent lane: calls are made on it.
    line: Option<Box<Line>>,
}

enum Step {
    Tail,
    Told(Told),
    Post(Post),
    Message(Result<Option<ClientMessage>, ReceiveError>),
    Rested,
}

impl Open {
    /// Until the device lets go of it.
    async fn run(mut self) -> Result<(), SessionError> {
        let mut is_open = true;
        while is_open || !self.intake.is_idle() || !self.parked.is_empty() {
            if !self.parked.is_empty() && self.intake.has_room() {
                let push = self.parked.pop_front();
                self.parked_bytes -= push.as_ref().map_or(0, bytes_in);
                if let Some(push) = push {
                    self.intake.push(push).await?;
                }
                continue;
            }
            // Beside pushes that wait for the log calls go on.
            let may_park =
                self.line.is_some() && self.parked.len() < PARKED_MAX && self.parked_bytes < PARKED_BYTES_MAX;
            let has_room = is_open && (self.intake.has_room() || may_park);
            let step = tokio::select! {
                biased;
                told = next_of(&self.line) => Step::Told(told),
                post = self.mailbox.take(limits::CATCH_UP_BYTES) => Step::Post(post),
                message = self.messages.next_message(), if has_room => Step::Message(message),
                () = self.intake.rested() => Step::Rested,
                () = due(self.tail) => Step::Tail,
            };
            match step {
                Step::Post(post) => self.handle_post(post).await?,
                Step::Message(Ok(Some(ClientMessage::Push(push)))) => self.take(push).await?,
                Step::Message(Ok(Some(ClientMessage::Say(say)))) => Box::pin(self.hear(say)).await?,
                Step::Told(told) => self.send(ServerMessage::Told(told)).await?,
                Step::Message(Ok(Some(ClientMessage::Tail))) => {}
                Step::Message(Ok(Some(_))) => {
                    return Err(SessionError::Unexpected("only pushes and calls come on that lane"));
                }
                Step::Message(Ok(None)) => is_open = false,
                // Over TCP a lane may be lost and the session go on.
                Step::Message(Err(ReceiveError::Gone)) => return Ok(()),
                Step::Message(Err(error)) => return Err(error.into()),
                Step::Rested => {}
                Step::Tail => {
                    self.send(ServerMessage::Tail).await?;
                    self.tail = None;
                }
            }
        }
        self.out.finish();
        Ok(())
    }

    async fn hear(&mut self, say: Say) -> Result<(), SessionError> {
        let Some(line) = &mut self.line else {
            return Err(SessionError::Unexpected("calls are made on the urgent lane"));
        };
        match line.hear(&self.device.speaker, say).await? {
            Some(told) => self.send(ServerMessage::Told(told)).await,
            None => Ok(()),
        }
    }

    async fn take(&mut self, push: Push) -> Result<(), SessionError> {
        if bytes_in(&push) > self.push_len_max {
            return Err(SessionError::Unexpected("a push that unpacks to more than its lane takes"));
        }
        if self.intake.has_room() && self.parked.is_empty() {
            return self.intake.push(push).await;
        }
        self.parked_bytes += bytes_in(&push);
        self.parked.push_back(push);
        Ok(())
    }

    async fn handle_post(&mut self, Post { mail, lagged }: Post) -> Result<(), SessionError> {
        if lagged {
            // The session's own stream brings them all.
            self.mailbox.restart();
        }
        // Nothing unrecorded is sent ahead either; what is withheld comes in its place.
        let may_tell = self.device.shared.audit.is_available();
        if may_tell {
            self.device.trail.note_live(&mail, Position::START);
        }
        for mail in mail {
            match mail {
                Mail::Answer(answer) => self.send_answer(answer).await?,
                Mail::Entry(entry) if may_tell => {
                    let entry = RawEntry { position: entry.position, entry: entry.encoded.clone() };
                    let ahead = ChangesFrame { entries: vec![entry], ..ChangesFrame::default() };
                    self.send(ServerMessage::Changes(ahead)).await?;
                }
                Mail::Entry(_) | Mail::Own(_) => {}
            }
        }
        Ok(())
    }

    async fn send_answer(&mut self, Answer { push, position, refused }: Answer) -> Result<(), SessionError> {
        self.intake.answered();
        // The cursor moves on the session's stream, behind what comes before.
        self.send(ServerMessage::Durable(Durable { push, position, cursor: None, refused })).await
    }

    async fn send(&mut self, message: ServerMessage) -> Result<(), SessionError> {
        self.outlet.send_frame(&mut self.out, message.encode()).await?;
        self.tail = (self.lane == Lane::Urgent).then(|| Instant::now() + TAIL_AFTER);
        Ok(())
    }
}

fn bytes_in(push: &Push) -> usize {
    push.changes.iter().map(Bytes::len).sum()
}

async fn next_of(line: &Option<Box<Line>>) -> Told {
    match line {
        Some(line) => line.next().await,
        None => std::future::pending().await,
    }
}

async fn due(tail: Option<Instant>) {
    match tail {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Pushes that wait for room beside calls: as many as may be under way once more.
const PARKED_MAX: usize = 16;
/// The same in bytes.
const PARKED_BYTES_MAX: usize = 256 << 10;
/// Orders are small, and each waits for the answer to a few at most.
const URGENT_ROOM: Room = Room { pushes: 16, bytes: 256 << 10 };
/// Half of what the session's own lane may: behind it there is time.
const BACKGROUND_ROOM: Room = Room { pushes: limits::PUSHES_IN_FLIGHT / 2, bytes: limits::PUSH_BYTES_IN_FLIGHT / 2 };
