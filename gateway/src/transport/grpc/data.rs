//! Counts the content of messages as HTTP/2 gives it to TLS: the payload of its DATA frames (RFC 9113, 4.1 and 6.1).

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::gauge::Gauge;

/// A stream below HTTP/2.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    frames: Frames,
    gauge: Arc<Gauge>,
}

/// Where in the sequence of frames we are.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER_LEN],
    /// How much of the header has passed.
    known: usize,
    /// How much of the frame's content has not.
    rest: usize,
}

impl<S> Counted<S> {
    /// Tells `gauge` what is written.
    pub fn new(stream: S, gauge: Arc<Gauge>) -> Self {
        Self { stream, frames: Frames::default(), gauge }
    }

    /// What it writes to.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl Frames {
    /// Takes what was written; returns how much of it is the content of messages.
    fn take(&mut self, mut written: &[u8]) -> usize {
        let mut content = 0;
        while !written.is_empty() {
            if self.known < HEADER_LEN {
                let len = written.len().min(HEADER_LEN - self.known);
                let (head, rest) = written.split_at(len);
                self.header[self.known..self.known + len].copy_from_slice(head);
                (self.known, written) = (self.known + len, rest);
                let [a, b, c, ..] = self.header;
                self.rest = u32::from_be_bytes([0, a, b, c]) as usize;
            } else {
                let len = written.len().min(self.rest);
                content += if self.header[3] == DATA { len } else { 0 };
                (self.rest, written) = (self.rest - len, &written[len..]);
            }
            if self.known == HEADER_LEN && self.rest == 0 {
                self.known = 0;
            }
        }
        content
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        let content = self.frames.take(&bytes[..written]);
        self.gauge.carry(content as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, parts))?;
        let (mut rest, mut content) = (written, 0);
        for part in parts {
            let len = part.len().min(rest);
            content += self.frames.take(&part[..len]);
            rest -= len;
        }
        self.gauge.carry(content as u64);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const HEADER_LEN: usize = 9;
const DATA: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, len: usize) -> Vec<u8> {
        let [_, a, b, c] = (len as u32).to_be_bytes();
        let mut frame = vec![a, b, c, kind, 0, 0, 0, 0, 1];
        frame.extend(vec![0xaa; len]);
        frame
    }

    #[test]
    fn content_is_counted_however_it_is_cut() {
        let (settings, headers) = (frame(4, 18), frame(1, 40));
        let bytes: Vec<u8> =
            [settings, headers, frame(DATA, 300), frame(6, 8), frame(DATA, 0), frame(DATA, 7)].concat();
        for cut in 1..bytes.len() {
            let mut frames = Frames::default();
            let content: usize = bytes.chunks(cut).map(|chunk| frames.take(chunk)).sum();
            assert_eq!(content, 307, "in pieces of {cut}");
        }
    }
}
