//! The WebSocket of one page: whole messages in both directions, at most so many, as long as it shows that it lives.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use feldakte_core::{limits, rate::Taken};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::session::SessionError;

/// A page.
pub(super) struct Page {
    socket: WebSocket,
    since: Instant,
    messages: Taken,
    bytes: Taken,
    /// When it was last heard.
    heard: Instant,
    /// When it is asked next whether it is there.
    ask_at: Instant,
}

impl Page {
    pub(super) fn new(socket: WebSocket) -> Self {
        let now = Instant::now();
        let (messages, bytes) = (Taken::default(), Taken::default());
        Self { socket, since: now, messages, bytes, heard: now, ask_at: now + limits::WEB_PING_EVERY }
    }

    /// The next message. Whoever says more than he may is read later. Cancel-safe.
    pub(super) async fn next_text(&mut self) -> Result<Utf8Bytes, SessionError> {
        loop {
            let wait = self.wait();
            if !wait.is_zero() {
                sleep(wait).await;
            }
            let message = tokio::select! {
                biased;
                message = self.socket.recv() => message,
                () = sleep_until(self.ask_at) => {
                    self.ask().await?;
                    continue;
                }
            };
            let message = message.and_then(Result::ok).ok_or(SessionError::Gone)?;
            self.heard = Instant::now();
            self.count(message_len(&message));
            match message {
                Message::Text(text) => return Ok(text),
                Message::Binary(_) => return Err(SessionError::Unexpected("a binary message")),
                Message::Close(_) => return Err(SessionError::Gone),
                // tungstenite has answered it.
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }

    /// Tells it something.
    pub(super) async fn tell(&mut self, text: String) -> Result<(), SessionError> {
        self.send(Message::Text(text.into())).await
    }

    /// Shows it a datagram of live vitals, as it is.
    pub(super) async fn show(&mut self, datagram: Bytes) -> Result<(), SessionError> {
        self.send(Message::Binary(datagram)).await
    }

    /// Says why it ends, and waits a moment for the answer, so that the reason is not lost with what is still unread.
    pub(super) async fn close(mut self, code: u16) {
        let close = async {
            let frame = CloseFrame { code, reason: Utf8Bytes::default() };
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        // Whoever does not answer is gone all the same.
        let _ = timeout(LAST_WORD_WITHIN, close).await;
    }

    async fn ask(&mut self) -> Result<(), SessionError> {
        if self.heard.elapsed() > limits::WEB_SILENCE_MAX {
            return Err(SessionError::Gone);
        }
        self.ask_at = Instant::now() + limits::WEB_PING_EVERY;
        self.send(Message::Ping(Default::default())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), SessionError> {
        match timeout(limits::WEB_SILENCE_MAX, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|_| SessionError::Gone),
            Err(_) => Err(SessionError::Stalled),
        }
    }

    fn wait(&self) -> Duration {
        let now = self.since.elapsed();
        self.messages.wait(limits::WEB_MESSAGES, now).max(self.bytes.wait(limits::WEB_BYTES, now))
    }

    fn count(&mut self, len: usize) {
        let now = self.since.elapsed();
        self.messages.take(limits::WEB_MESSAGES, 1, now);
        self.bytes.take(limits::WEB_BYTES, len as u64, now);
    }
}

fn message_len(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}

/// With it, what is denied is gone within a second.
const LAST_WORD_WITHIN: Duration = Duration::from_millis(500);
