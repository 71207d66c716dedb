//! Spawning, and what is known of a task from outside: its result, its panic, its cancellation.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use thiserror::Error;

use crate::current::current;
use crate::executor::Shared;
use crate::tasks::TaskKey;

/// Why a task was not spawned. Its future was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SpawnError {
    /// All places for tasks are taken ([`ExecutorConfig::max_tasks`](crate::ExecutorConfig::max_tasks)).
    #[error("all tasks are in use: raise max_tasks, or wait for some to end")]
    Full,
    /// The caller is no task of an executor.
    #[error("there is no executor here: spawn from within a task of one")]
    NoExecutor,
}

/// How a task ended without a result.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum JoinError {
    /// It panicked, with this message. The task is gone, its streams are reset; the core and the other tasks go on.
    #[error("the task panicked: {0}")]
    Panicked(String),
    /// [`JoinHandle::cancel`] ended it, or the executor went away.
    #[error("the task was cancelled")]
    Cancelled,
}

/// Whoever is to hear of a task's end.
pub(crate) trait Completion {
    /// The task ended without a result.
    fn fail(&self, error: JoinError);
}

struct Join<T> {
    finished: bool,
    result: Option<Result<T, JoinError>>,
    waker: Option<Waker>,
}

/// What a task and its handle share.
struct JoinCell<T>(RefCell<Join<T>>);

impl<T> JoinCell<T> {
    fn finish(&self, result: Result<T, JoinError>) {
        let waker = {
            let mut join = self.0.borrow_mut();
            join.finished = true;
            join.result = Some(result);
            join.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Completion for JoinCell<T> {
    fn fail(&self, error: JoinError) {
        self.finish(Err(error));
    }
}

/// Starts a task on the current executor, next to the one that calls. It is polled first when the calling poll has ended.
///
/// Costs two allocations: the future, and its place for the result.
///
/// # Errors
///
/// All places are taken, or the caller is no task of an executor.
pub fn spawn<F>(future: F) -> Result<JoinHandle<F::Output>, SpawnError>
where
    F: Future + 'static,
{
    let shared = current().ok_or(SpawnError::NoExecutor)?;
    spawn_on(&shared, future)
}

pub(crate) fn spawn_on<F>(shared: &Rc<Shared>, future: F) -> Result<JoinHandle<F::Output>, SpawnError>
where
    F: Future + 'static,
{
    let cell = Rc::new(JoinCell(RefCell::new(Join { finished: false, result: None, waker: None })));
    let result = Rc::clone(&cell);
    let task = async move { result.finish(Ok(future.await)) };
    let completion: Rc<dyn Completion> = Rc::<JoinCell<F::Output>>::clone(&cell);
    let key = shared.insert(|| Box::pin(task), completion)?;
    Ok(JoinHandle { shared: Rc::clone(shared), key, cell })
}

/// Awaits a task's end, once: polled after that, it waits for ever. Dropping it lets the task run on.
#[must_use = "a handle that is dropped tells nothing of the task's end"]
pub struct JoinHandle<T> {
    shared: Rc<Shared>,
    key: TaskKey,
    cell: Rc<JoinCell<T>>,
}

impl<T> JoinHandle<T> {
    /// Ends the task: its future is dropped at once, or, where a task ends itself, when its poll returns.
    pub fn cancel(&self) {
        self.shared.cancel(self.key);
    }

    /// Whether the task is over.
    pub fn is_finished(&self) -> bool {
        self.cell.0.borrow().finished
    }

    /// Lets the task run on, unobserved.
    pub fn detach(self) {}
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut join = self.cell.0.borrow_mut();
        match join.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                join.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("task", &self.key.index).finish_non_exhaustive()
    }
}

/// Lets the other tasks that are ready go first.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a panic said.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}
