//! Waiting: for a time, for a future no longer than that, and again and again.
//!
//! Time is the core's: read once a turn, and moved by hand in a simulation. A wait ends with the first turn at or after
//! its deadline, which on an idle core is the kernel's timer's precision, some 50 µs.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use freeway::{Duration, Instant};
use thiserror::Error;

use crate::current::current;
use crate::timers::TimerKey;

/// The time of the turn at hand; [`Instant::ZERO`] outside of an executor.
pub fn now() -> Instant {
    current().map_or(Instant::ZERO, |shared| shared.now())
}

/// Waits for `span`.
pub fn sleep(span: Duration) -> Sleep {
    sleep_until(now() + span)
}

/// Waits until `deadline`.
pub const fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, timer: None }
}

/// A wait. Dropping it gives its timer back.
///
/// It belongs to the executor whose task polls it first. While all timers are in use
/// ([`ExecutorConfig::max_timers`](crate::ExecutorConfig::max_timers)) its task is polled every turn instead, which is
/// counted.
#[derive(Debug)]
#[must_use = "a wait has to be awaited"]
pub struct Sleep {
    deadline: Instant,
    /// The timer, and the number of its executor.
    timer: Option<(u64, TimerKey)>,
}

impl Sleep {
    /// When it ends.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether its time has come.
    pub fn is_elapsed(&self) -> bool {
        now() >= self.deadline
    }

    /// Has it end at another time.
    pub fn reset(&mut self, deadline: Instant) {
        self.give_back();
        self.deadline = deadline;
    }

    fn give_back(&mut self) {
        if let Some((executor, key)) = self.timer.take()
            && let Some(shared) = current()
            && shared.number() == executor
        {
            drop(shared.timers().cancel(key));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Without an executor no time passes, and nobody could wake the caller.
        let Some(shared) = current() else { return Poll::Pending };
        if shared.now() >= self.deadline {
            self.give_back();
            return Poll::Ready(());
        }
        let number = shared.number();
        let kept = match self.timer {
            Some((executor, key)) if executor == number => shared.timers().change_waker(key, cx.waker()),
            _ => false,
        };
        if !kept {
            let timer = shared.timers().set(self.deadline, cx.waker());
            self.timer = timer.map(|key| (number, key));
            if timer.is_none() {
                shared.count(|counters| counters.timers_full += 1);
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// The time was up first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the time was up")]
pub struct Elapsed;

impl From<Elapsed> for std::io::Error {
    fn from(_: Elapsed) -> Self {
        std::io::ErrorKind::TimedOut.into()
    }
}

/// Awaits `future`, but no longer than `limit`; then it is dropped.
///
/// # Errors
///
/// The time was up.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut limit = sleep(limit);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => Pin::new(&mut limit).poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

/// Ticks each `period` from now on, the first time after one period. A period of zero ticks once a turn.
pub fn interval(period: Duration) -> Interval {
    Interval { period, sleep: sleep(period) }
}

/// A regular wait. Ticks that were missed are left out: the next one keeps to the period.
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    sleep: Sleep,
}

impl Interval {
    /// Waits for the next tick, and says when it was due. Cancelling the wait loses no tick.
    pub async fn tick(&mut self) -> Instant {
        if self.period == Duration::ZERO {
            crate::yield_now().await;
            return now();
        }
        (&mut self.sleep).await;
        let due = self.sleep.deadline();
        let missed = now().since(due).as_nanos() / self.period.as_nanos().max(1);
        let next = due + Duration::from_nanos(self.period.as_nanos().saturating_mul(missed + 1));
        self.sleep.reset(next);
        due
    }
}
