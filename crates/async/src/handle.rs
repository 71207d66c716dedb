//! A counted handle on a stream: what both halves of it, and listeners, do with the connection below.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use freeway::{CloseReason, Conn, ConnId, Stack};

use crate::current::with_stack;
use crate::executor::{Later, Shared};
use crate::streams::{Interest, Place};

/// The error of an operation outside of the executor that the thing belongs to.
pub(crate) fn not_here() -> io::Error {
    io::Error::other("a Freeway stream or socket works only within the tasks of its own core")
}

/// A connection's end, as an error of whoever wanted something of it.
pub(crate) fn over(reason: CloseReason) -> io::Error {
    let kind = match reason {
        CloseReason::Finished => io::ErrorKind::BrokenPipe,
        CloseReason::Reset => io::ErrorKind::ConnectionReset,
        CloseReason::Refused => io::ErrorKind::ConnectionRefused,
        CloseReason::TimedOut => io::ErrorKind::TimedOut,
        CloseReason::Aborted => io::ErrorKind::ConnectionAborted,
    };
    kind.into()
}

/// One of the handles on a stream.
pub(crate) struct Handle {
    pub(crate) shared: Rc<Shared>,
    pub(crate) place: Place,
}

impl Handle {
    /// One more handle on the same stream.
    pub(crate) fn share(&self) -> Self {
        if let Some(record) = self.shared.streams.borrow_mut().get_mut(self.place) {
            record.handles += 1;
        }
        Self { shared: Rc::clone(&self.shared), place: self.place }
    }

    /// Handles on this stream.
    fn count(&self) -> u8 {
        self.shared.streams.borrow().get(self.place).map_or(0, |record| record.handles)
    }

    pub(crate) fn id(&self) -> Option<ConnId> {
        self.shared.streams.borrow().get(self.place).and_then(|record| record.id)
    }

    pub(crate) fn ended(&self) -> Option<CloseReason> {
        self.shared.streams.borrow().get(self.place).and_then(|record| record.ended)
    }

    /// Runs `f` on the connection.
    ///
    /// # Errors
    ///
    /// The connection is over, or this is not its core.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Conn<'_, Place>) -> R) -> io::Result<R> {
        let id = self.id();
        let done = with_stack(&self.shared, |stack| {
            let mut conn = stack.conn(id?)?;
            Some(f(&mut conn))
        });
        match done {
            None => Err(not_here()),
            Some(None) => Err(over(self.ended().unwrap_or(CloseReason::Aborted))),
            Some(Some(result)) => Ok(result),
        }
    }

    /// Tries `f` on the connection, and has the task woken for `interest` if it is too early.
    ///
    /// # Errors
    ///
    /// Those of [`with`](Self::with).
    pub(crate) fn poll<R>(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        f: impl FnOnce(&mut Conn<'_, Place>) -> Poll<R>,
    ) -> Poll<io::Result<R>> {
        match self.with(f) {
            Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
            Ok(Poll::Pending) => {
                self.wait(cx, interest);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Has the task woken for `interest`.
    pub(crate) fn wait(&self, cx: &Context<'_>, interest: Interest) {
        if let Some(record) = self.shared.streams.borrow_mut().get_mut(self.place) {
            record.wait(interest, cx.waker());
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.count() > 1 {
            if let Some(record) = self.shared.streams.borrow_mut().get_mut(self.place) {
                record.handles -= 1;
            }
            return;
        }
        let place = self.place;
        if with_stack(&self.shared, |stack| self.shared.release(stack, place)).is_none() {
            self.shared.put_off(Later::Stream(place));
        }
    }
}

impl Shared {
    /// Finishes sending on a stream.
    pub(crate) fn finish(&self, stack: &mut Stack<Place>, place: Place) {
        let id = self.streams.borrow().get(place).and_then(|record| record.id);
        if let Some(mut conn) = id.and_then(|id| stack.conn(id)) {
            if std::thread::panicking() { conn.abort() } else { conn.shutdown() }
        }
    }

    /// Lets go of a stream that nobody holds any more, and closes its connection.
    pub(crate) fn release(&self, stack: &mut Stack<Place>, place: Place) {
        let record = self.streams.borrow_mut().remove(place);
        let Some(mut conn) = record.and_then(|record| record.id).and_then(|id| stack.conn(id)) else {
            return;
        };
        *conn.state() = Place::NONE;
        if std::thread::panicking() {
            // What was written may be half of something: the peer must not take it for the whole.
            conn.abort();
        } else {
            conn.close();
        }
    }
}
