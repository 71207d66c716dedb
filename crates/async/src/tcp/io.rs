//! Reading and writing: the operations of a handle, and `futures-io`'s traits made of them.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use freeway::{CloseReason, Conn, SharedPacket};
use futures_io::{AsyncRead, AsyncWrite};

use super::stream::{ReadHalf, TcpStream, WriteHalf};
use crate::handle::Handle;
use crate::streams::{Interest, Place};

impl Handle {
    /// What reading has come to on a connection that is over: its end, if that was in order.
    fn at_end(&self, error: io::Error) -> io::Result<()> {
        if self.ended() == Some(CloseReason::Finished) { Ok(()) } else { Err(error) }
    }

    fn poll_read(&self, cx: &Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let read = self.poll(cx, Interest::Read, |conn| {
            let count = conn.copy_readable(into);
            if count > 0 {
                conn.consume(count);
                return Poll::Ready(count);
            }
            if conn.at_end() { Poll::Ready(0) } else { Poll::Pending }
        });
        read.map(|read| read.or_else(|error| self.at_end(error).map(|()| 0)))
    }

    /// Hands the first piece of what is there to `take`, which says how much of it it took; 0 at the end.
    #[cfg(feature = "hyper")]
    pub(crate) fn poll_peek(
        &self,
        cx: &Context<'_>,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let read = self.poll(cx, Interest::Read, |conn| {
            if !conn.peek().is_empty() {
                let count = take(conn.peek());
                conn.consume(count);
                return Poll::Ready(count);
            }
            if conn.at_end() { Poll::Ready(0) } else { Poll::Pending }
        });
        read.map(|read| read.or_else(|error| self.at_end(error).map(|()| 0)))
    }

    pub(super) fn poll_receive(&self, cx: &Context<'_>) -> Poll<io::Result<Option<SharedPacket>>> {
        let received = self.poll(cx, Interest::Read, |conn| match conn.receive() {
            Some(packet) => Poll::Ready(Some(packet)),
            None if conn.at_end() => Poll::Ready(None),
            None => Poll::Pending,
        });
        received.map(|received| received.or_else(|error| self.at_end(error).map(|()| None)))
    }

    /// Writes with `write`, which says how much was taken; waits where that was nothing.
    fn poll_write_with(
        &self,
        cx: &Context<'_>,
        write: impl FnOnce(&mut Conn<'_, Place>) -> usize,
    ) -> Poll<io::Result<usize>> {
        let written = self.poll(cx, Interest::Write, |conn| {
            if !conn.can_write() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            match write(conn) {
                0 => Poll::Pending,
                count => Poll::Ready(Ok(count)),
            }
        });
        written.map(Result::flatten)
    }

    pub(crate) fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_write_with(cx, |conn| conn.write(bytes))
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if parts.iter().all(|part| part.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.poll_write_with(cx, |conn| {
            let mut written = 0;
            for part in parts {
                let count = conn.write(part);
                written += count;
                if count < part.len() {
                    break;
                }
            }
            written
        })
    }

    pub(super) fn poll_send(
        &self,
        cx: &Context<'_>,
        packet: &mut Option<SharedPacket>,
    ) -> Poll<io::Result<()>> {
        let Some(len) = packet.as_ref().map(|packet| packet.data().len()) else { return Poll::Ready(Ok(())) };
        let sent = self.poll_write_with(cx, |conn| {
            if conn.send_room() < len {
                conn.want_room();
                return 0;
            }
            // An empty frame is sent by nobody; it counts as done.
            packet.take().map_or(1, |packet| usize::from(len == 0 || conn.send(packet)))
        });
        match sent {
            Poll::Ready(sent) => Poll::Ready(sent.map(drop)),
            // The host had no place for one more piece of data, and the frame is gone.
            Poll::Pending if packet.is_none() => Poll::Ready(Err(io::ErrorKind::OutOfMemory.into())),
            Poll::Pending if self.is_too_small(len) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the send buffer is smaller than the frame: raise send_buffer or not_sent_low_water",
            ))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether `len` bytes will never find room in this connection's queue.
    fn is_too_small(&self, len: usize) -> bool {
        let small = |limit: u32| (limit as usize) < len;
        self.with(|conn| {
            conn.config().is_some_and(|config| {
                small(config.send_buffer.unwrap_or(u32::MAX)) || small(config.not_sent_low_water)
            })
        })
        .unwrap_or(false)
    }

    /// Finishes sending.
    pub(crate) fn poll_close(&self) -> Poll<io::Result<()>> {
        match self.with(|conn| {
            conn.shutdown();
        }) {
            Err(error) if self.ended().is_none() => Poll::Ready(Err(error)),
            // What is over cannot be closed twice, and nobody has to know.
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_read_vectored(&self, cx: &Context<'_>, parts: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        let mut total = 0;
        for part in parts.iter_mut().filter(|part| !part.is_empty()) {
            let wanted = part.len();
            match self.poll_read(cx, part) {
                Poll::Ready(Ok(count)) => {
                    total += count;
                    if count < wanted {
                        break;
                    }
                }
                // What was read before must not be lost; the error, if it is one, is met again.
                _ if total > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(total))
    }
}

/// `futures-io`'s traits for a type that derefs to a handle.
macro_rules! reader {
    ($type:ty, |$this:ident| $handle:expr) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                into: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $handle.poll_read(cx, into)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                parts: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $handle.poll_read_vectored(cx, parts)
            }
        }
    };
}

macro_rules! writer {
    ($type:ty, |$this:ident| $handle:expr) => {
        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $handle.poll_write(cx, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                parts: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $handle.poll_write_vectored(cx, parts)
            }

            /// Nothing is held back: what was written goes out at the end of the turn.
            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Finishes sending; does not wait for the peer.
            fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = self.get_mut();
                $handle.poll_close()
            }
        }
    };
}

reader!(TcpStream, |this| this.0);
writer!(TcpStream, |this| this.0);
reader!(&TcpStream, |this| this.0);
writer!(&TcpStream, |this| this.0);
reader!(ReadHalf, |this| this.0);
writer!(WriteHalf, |this| this.handle()?);
