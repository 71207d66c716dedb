//! What hyper asks of a runtime: its `rt` traits, on a core's executor.
//!
//! ```text
//!   hyper::rt      here
//!   Read, Write    HyperIo       bytes are copied once, from the frame into hyper's buffer
//!   Timer          HyperTimer    the core's time, so that a simulation moves it
//!   Executor       HyperExecutor tasks of this core
//! ```

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time;

use freeway::{Duration, Instant};
use hyper::rt::{Executor, Read, ReadBufCursor, Timer, Write};

use crate::tcp::TcpStream;
use crate::time::{Sleep, now, sleep, sleep_until};

/// A stream as hyper reads and writes it.
pub struct HyperIo(pub TcpStream);

impl Read for HyperIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = self.0.0.poll_peek(cx, |bytes| {
            let count = bytes.len().min(into.remaining());
            into.put_slice(bytes.get(..count).unwrap_or_default());
            count
        });
        read.map(|read| read.map(drop))
    }
}

impl Write for HyperIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.0.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.0.poll_close()
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.0.poll_write_vectored(cx, parts)
    }
}

/// Spawns hyper's own tasks on the current executor. One that finds no place is dropped, and counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct HyperExecutor;

impl<F> Executor<F> for HyperExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        if let Ok(handle) = crate::spawn(future) {
            handle.detach();
        }
    }
}

/// hyper's time: the core's, counted from the moment that this was made.
#[derive(Clone, Copy, Debug)]
pub struct HyperTimer {
    epoch: time::Instant,
    at: Instant,
}

impl HyperTimer {
    /// A timer for the current executor; made within one of its tasks.
    #[expect(clippy::new_without_default, reason = "it begins when it is made, where it is made")]
    pub fn new() -> Self {
        Self { epoch: time::Instant::now(), at: now() }
    }

    fn instant(&self, deadline: time::Instant) -> Instant {
        self.at + span(deadline.saturating_duration_since(self.epoch))
    }
}

fn span(span: time::Duration) -> Duration {
    Duration::from_nanos(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

impl hyper::rt::Sleep for Sleep {}

impl Timer for HyperTimer {
    fn sleep(&self, duration: time::Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(sleep(span(duration)))
    }

    fn sleep_until(&self, deadline: time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(sleep_until(self.instant(deadline)))
    }

    fn now(&self) -> time::Instant {
        self.epoch + now().since(self.at).to_std()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, new_deadline: time::Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(sleep) => sleep.get_mut().reset(self.instant(new_deadline)),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}
