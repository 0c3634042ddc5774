//! The body of a call whose first message is refused by what it announces, before any of it has come: until `Hello` nobody
//! has said who he is, and nothing of his is collected.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use feldakte_core::limits;
use hyper::body::{Body, Frame, SizeHint};
use tonic::{Status, codegen::StdError};

/// A body with a modest beginning.
pub struct Modest<B> {
    body: B,
    prefix: [u8; PREFIX_LEN],
    known: usize,
}

impl<B> Modest<B> {
    /// Of a call.
    pub fn new(body: B) -> Self {
        Self { body, prefix: [0; PREFIX_LEN], known: 0 }
    }

    fn look(&mut self, content: &[u8]) -> Result<(), Status> {
        if self.known == PREFIX_LEN {
            return Ok(());
        }
        let len = content.len().min(PREFIX_LEN - self.known);
        self.prefix[self.known..self.known + len].copy_from_slice(&content[..len]);
        self.known += len;
        let [_, a, b, c, d] = self.prefix;
        let announced = if self.known == PREFIX_LEN { u32::from_be_bytes([a, b, c, d]) as usize } else { 0 };
        if announced > limits::HELLO_LEN_MAX {
            Err(Status::out_of_range("the first message is too long"))
        } else {
            Ok(())
        }
    }
}

impl<B> Body for Modest<B>
where
    B: Body<Data = Bytes, Error: Into<StdError>> + Unpin,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = frame.map_err(Into::into).and_then(|frame| {
            let looked = frame.data_ref().map_or(Ok(()), |content| self.look(content));
            looked.map(|()| frame).map_err(Into::into)
        });
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Before each message: whether it is compressed, and its length.
const PREFIX_LEN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(len: usize) -> Vec<u8> {
        [&[0][..], &u32::try_from(len).expect("a length").to_be_bytes()].concat()
    }

    #[test]
    fn a_first_message_is_refused_by_its_announcement_however_it_is_cut() {
        for cut in 1..=PREFIX_LEN {
            let tried = |len| {
                let mut body = Modest::new(());
                announced(len).chunks(cut).try_for_each(|part| body.look(part))
            };
            assert!(tried(limits::HELLO_LEN_MAX).is_ok());
            assert!(tried(limits::HELLO_LEN_MAX + 1).is_err());
        }
    }

    #[test]
    fn later_messages_are_no_matter_of_it() {
        let mut body = Modest::new(());
        body.look(&announced(3)).expect("short enough");
        body.look(&[1, 2, 3]).expect("content");
        body.look(&announced(limits::FRAME_LEN_MAX)).expect("after the first");
    }
}
