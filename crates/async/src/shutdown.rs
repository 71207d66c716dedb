//! Ending in order: asking the application to end, hearing of it, waiting for what is under way.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use freeway::{Duration, Instant};

use crate::current::{current, with_stack};
use crate::ready::Remote;
use crate::time::{now, sleep, sleep_until};

/// How often [`quiesce`] looks whether the connections are over.
const LOOK: Duration = Duration::from_millis(10);

/// Asks the tasks of one executor to end; from any thread, such as a signal handler's.
#[derive(Clone)]
pub struct ShutdownHandle {
    pub(crate) remote: Arc<Remote>,
}

impl ShutdownHandle {
    /// Wakes every [`shutdown`] of the executor, those to come included. Nothing is ended by force.
    pub fn shut_down(&self) {
        self.remote.shut_down();
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownHandle")
            .field("asked", &self.remote.is_shutting_down())
            .finish_non_exhaustive()
    }
}

/// Waits until the application is asked to end ([`ShutdownHandle`]). Any number of tasks may; each takes a timer.
pub async fn shutdown() {
    // A timer that no time ends: the executor takes it out when the word comes.
    let mut word = sleep_until(Instant::FAR_FUTURE);
    poll_fn(|cx| {
        if current().is_some_and(|shared| shared.is_shutting_down()) {
            return Poll::Ready(());
        }
        Pin::new(&mut word).poll(cx)
    })
    .await;
}

/// Waits until all other tasks have ended and all connections of the core are closed, at most for `limit`. Returns whether
/// it came to that. One task may do so at a time, the last to end.
pub async fn quiesce(limit: Duration) -> bool {
    let deadline = now() + limit;
    loop {
        let Some(shared) = current() else { return false };
        let open = with_stack(&shared, |stack| stack.occupancy().connections.0);
        if shared.task_count() <= 1 && open == Some(0) {
            return true;
        }
        if now() >= deadline {
            return false;
        }
        sleep(LOOK).await;
    }
}
