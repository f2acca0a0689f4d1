//! A connection's bytes: what was read and not yet taken, and what is not yet written.

use super::Stream;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;

/// How much is read at once.
const AT_ONCE: usize = 16 * 1024;
/// How many parts are written at once.
const PARTS: usize = 4;
/// What is not larger is copied behind what is to be written before it, in place of being written as a part of its own.
const SMALL: usize = 8 * 1024;

pub(super) struct Pipe {
    stream: Box<dyn Stream>,
    /// Read and not yet taken.
    pub(super) input: Bytes,
    /// To be written, and then the tail.
    parts: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Written, and perhaps kept by TLS.
    unflushed: bool,
}

impl Pipe {
    pub(super) fn new(stream: impl Stream + 'static) -> Self {
        Pipe {
            stream: Box::new(stream),
            input: Bytes::new(),
            parts: VecDeque::new(),
            tail: Vec::new(),
            unflushed: false,
        }
    }

    /// Where what is to be written next is put.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Puts data behind what is to be written.
    pub(super) fn put(&mut self, data: Bytes) {
        if data.len() <= SMALL {
            self.tail.extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            self.parts.push_back(std::mem::take(&mut self.tail).into());
        }
        self.parts.push_back(data);
    }

    /// How many bytes are still to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum::<usize>() + self.tail.len()
    }

    /// Whether everything was written.
    pub(super) fn is_flushed(&self) -> bool {
        self.parts.is_empty() && self.tail.is_empty() && !self.unflushed
    }

    /// Forgets what is still to be written.
    pub(super) fn forget_output(&mut self) {
        self.parts.clear();
        self.tail = Vec::new();
        self.unflushed = false;
    }

    /// Writes everything.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.parts.is_empty() || !self.tail.is_empty() {
            let stream = Pin::new(&mut *self.stream);
            let written = if self.parts.is_empty() {
                ready!(stream.poll_write(cx, &self.tail))?
            } else {
                let mut parts = [IoSlice::new(&[]); PARTS];
                let queued = self.parts.iter().map(|part| &**part).chain([&*self.tail]);
                parts.iter_mut().zip(queued).for_each(|(part, bytes)| *part = IoSlice::new(bytes));
                ready!(stream.poll_write_vectored(cx, &parts))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.take_written(written);
        }
        if self.unflushed {
            ready!(Pin::new(&mut *self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn take_written(&mut self, mut written: usize) {
        while let Some(first) = self.parts.front_mut() {
            if written < first.len() {
                drop(first.split_to(written));
                return;
            }
            written -= first.len();
            self.parts.pop_front();
        }
        if written < self.tail.len() {
            self.tail.drain(..written);
        } else {
            // An idle connection holds no buffer.
            self.tail = Vec::new();
        }
    }

    /// Reads more, by way of the stack: what is kept is as large as what came. Gives the number of bytes.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; AT_ONCE];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if self.input.is_empty() {
            self.input = Bytes::copy_from_slice(read);
        } else {
            let earlier = std::mem::take(&mut self.input);
            let mut input = earlier.try_into_mut().unwrap_or_else(|earlier| BytesMut::from(&*earlier));
            input.extend_from_slice(read);
            self.input = input.freeze();
        }
        Poll::Ready(Ok(read.len()))
    }

    /// Ends what is written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }

    /// The stream, and what was read of it already.
    pub(super) fn into_parts(self) -> (Box<dyn Stream>, Bytes) {
        (self.stream, self.input)
    }
}
