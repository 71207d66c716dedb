//! The executor and the stack that the running task belongs to.
//!
//! A task runs inside a turn of its core, and only then can the stack be borrowed. What it awaits reaches the stack
//! through this thread's place for it, which [`enter`] fills for the time of a turn and nothing else does: outside of a
//! turn, on another core, or on another thread there is no stack, and whoever asks is told so.
//!
//! The stack is lent for single operations that call nobody back, so it is never borrowed twice.

use std::cell::RefCell;
use std::rc::Rc;

use freeway::Stack;

use crate::executor::Shared;
use crate::streams::Place;

scoped_tls_hkt::scoped_thread_local!(static mut STACK: Stack<Place>);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Shared>>> = const { RefCell::new(None) };
}

/// Puts the executor back that was current before.
struct Leave(Option<Rc<Shared>>);

impl Drop for Leave {
    fn drop(&mut self) {
        drop(CURRENT.replace(self.0.take()));
    }
}

/// Runs `f` with this executor and this stack as the current ones.
pub(crate) fn enter<R>(shared: &Rc<Shared>, stack: &mut Stack<Place>, f: impl FnOnce() -> R) -> R {
    let _leave = Leave(CURRENT.replace(Some(Rc::clone(shared))));
    STACK.set(stack, f)
}

/// The executor of the running task.
pub(crate) fn current() -> Option<Rc<Shared>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Runs `f` on the stack of `shared`; `None` if that is not whose turn it is.
pub(crate) fn with_stack<R>(shared: &Rc<Shared>, f: impl FnOnce(&mut Stack<Place>) -> R) -> Option<R> {
    let is_current = |current: &RefCell<Option<Rc<Shared>>>| {
        current.borrow().as_ref().is_some_and(|it| Rc::ptr_eq(it, shared))
    };
    if !CURRENT.try_with(is_current).unwrap_or(false) || !STACK.is_set() {
        return None;
    }
    Some(STACK.with(f))
}
