//! The tasks of one executor: a bounded slab of futures.
//!
//! A future is out of its place while it is polled, so that what it does (spawn, cancel, wake) finds the slab free. Futures
//! that are over are handed to the caller, to be dropped while nothing is borrowed: dropping runs code of strangers.

use std::pin::Pin;
use std::rc::Rc;

use slab::Slab;

use crate::task::{Completion, JoinError};

/// A task's future, whatever it is.
pub(crate) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The name of a task; a stale one names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskKey {
    pub(crate) index: usize,
    serial: u64,
}

struct Task {
    serial: u64,
    /// Absent while it is polled.
    future: Option<LocalFuture>,
    completion: Rc<dyn Completion>,
    /// It was cancelled while it was polled.
    cancelled: bool,
}

/// A task that is over, to be dropped outside of all borrows.
pub(crate) struct Over {
    pub(crate) future: Option<LocalFuture>,
    pub(crate) completion: Rc<dyn Completion>,
}

impl Over {
    /// Tells whoever waits for it how it failed, then drops it.
    pub(crate) fn fail(self, error: JoinError) {
        drop(self.future);
        self.completion.fail(error);
    }
}

/// All tasks.
pub(crate) struct Tasks {
    tasks: Slab<Task>,
    most: usize,
    next_serial: u64,
}

impl Tasks {
    /// Room for so many.
    pub(crate) fn new(most: u32) -> Self {
        Self { tasks: Slab::with_capacity(most as usize), most: most as usize, next_serial: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.tasks.len() == self.most
    }

    /// Puts a task into a free place, of which there is one.
    pub(crate) fn insert(&mut self, future: LocalFuture, completion: Rc<dyn Completion>) -> TaskKey {
        let serial = self.next_serial;
        self.next_serial += 1;
        let index = self.tasks.insert(Task { serial, future: Some(future), completion, cancelled: false });
        TaskKey { index, serial }
    }

    /// Takes a future out to be polled.
    pub(crate) fn begin(&mut self, index: usize) -> Option<LocalFuture> {
        self.tasks.get_mut(index)?.future.take()
    }

    /// Puts a future back that has more to do; it is over if it was cancelled meanwhile.
    pub(crate) fn put_back(&mut self, index: usize, future: LocalFuture) -> Option<Over> {
        let task = self.tasks.get_mut(index)?;
        task.future = Some(future);
        if task.cancelled { self.remove(index) } else { None }
    }

    /// Takes a task out of its place.
    pub(crate) fn remove(&mut self, index: usize) -> Option<Over> {
        let Task { future, completion, .. } = self.tasks.try_remove(index)?;
        Some(Over { future, completion })
    }

    /// Takes a task out, or has it taken out when the poll at hand ends; `None` then, and when it is over.
    pub(crate) fn cancel(&mut self, key: TaskKey) -> Option<Over> {
        let task = self.tasks.get_mut(key.index).filter(|task| task.serial == key.serial)?;
        if task.future.is_none() {
            task.cancelled = true;
            return None;
        }
        self.remove(key.index)
    }

    /// Takes any task out: for the end of the executor.
    pub(crate) fn pop(&mut self) -> Option<Over> {
        let index = self.tasks.iter().next().map(|(index, _)| index)?;
        self.remove(index)
    }
}
