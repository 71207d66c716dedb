//! One core's executor: the application that runs tasks.
//!
//! It is a [`freeway::Application`] like any other. Events find the record of their connection and wake the task that
//! waits there; at the end of the batch, in [`turn`](Application::turn), the tasks that were woken are polled with the
//! stack at hand, so that what arrived in a turn is answered in it.

use std::cell::{Cell, RefCell, RefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use freeway::{Application, Conn, CounterVisit, Datagram, Ended, Instant, Mailboxes, Stack};

use crate::current::enter;
use crate::listeners::Listeners;
use crate::ready::Ready;
use crate::shutdown::ShutdownHandle;
use crate::sockets::Sockets;
use crate::streams::{Place, Streams};
use crate::task::{Completion, JoinError, SpawnError, message_of, spawn_on};
use crate::tasks::{LocalFuture, Over, TaskKey, Tasks};
use crate::timers::Timers;

/// How much one core's executor holds, all of it laid out at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExecutorConfig {
    /// Tasks at once; past it [`spawn`](crate::spawn()) fails. Default 65,536, about 130 bytes each, and what their futures
    /// take, which is allocated when they are spawned.
    pub max_tasks: u32,
    /// Streams at once, open or waiting to be accepted; past it a connection that comes in is reset, and connecting fails.
    /// Default 65,536, about 100 bytes each.
    pub max_streams: u32,
    /// Sleeps at once, and waits for the word to end; past it a sleeping task is polled every turn. Default 65,536, about 60
    /// bytes each.
    pub max_timers: u32,
    /// TCP listeners at once. Default 64.
    pub max_listeners: u16,
    /// UDP sockets at once. Default 64.
    pub max_sockets: u16,
    /// Datagrams that wait in one socket, each in a packet buffer; past it the newest goes. Default 256.
    pub socket_queue: u32,
    /// Polls in one turn; what is left over is polled in the next, so that tasks that wake each other delay frames by no more
    /// than this. Default 4,096.
    pub polls_per_turn: u32,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            max_tasks: 65_536,
            max_streams: 65_536,
            max_timers: 65_536,
            max_listeners: 64,
            max_sockets: 64,
            socket_queue: 256,
            polls_per_turn: 4_096,
        }
    }
}

freeway_base::counters! {
    /// What an executor counts, under `async` among the core's counters.
    pub struct ExecutorCounters {
        /// Tasks spawned.
        spawned,
        /// Tasks that ended by themselves.
        finished,
        /// Tasks that panicked.
        panicked,
        /// Tasks that were cancelled.
        cancelled,
        /// Polls of tasks.
        polls,
        /// Turns that left tasks to the next one.
        polls_left_over,
        /// Tasks not spawned: all places taken.
        refused_tasks_full,
        /// Connections reset or not opened: all places for streams taken.
        refused_streams_full,
        /// Sleeps that found no timer, and are polled every turn.
        timers_full,
        /// Datagrams dropped: their socket's queue was full.
        dropped_queue_full,
    }
}

/// What an executor, its tasks, and all they hold share.
pub(crate) struct Shared {
    number: u64,
    config: ExecutorConfig,
    now: Cell<Instant>,
    ready: Ready,
    tasks: RefCell<Tasks>,
    timers: RefCell<Timers>,
    pub(crate) streams: RefCell<Streams>,
    pub(crate) listeners: RefCell<Listeners>,
    pub(crate) sockets: RefCell<Sockets>,
    /// What was dropped outside of a turn, and is seen to in the next.
    later: RefCell<Vec<Later>>,
    counters: RefCell<ExecutorCounters>,
}

/// Something let go of where the stack was not at hand.
pub(crate) enum Later {
    /// A stream's last handle.
    Stream(Place),
    /// A stream's writing half.
    Writer(Place),
    /// A listener.
    Listener(u16),
    /// A UDP socket.
    Socket(u16),
}

impl Shared {
    fn new(config: ExecutorConfig, mailboxes: &Mailboxes) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            config,
            now: Cell::new(Instant::ZERO),
            ready: Ready::new(config.max_tasks, Arc::clone(mailboxes.bell())),
            tasks: RefCell::new(Tasks::new(config.max_tasks)),
            timers: RefCell::new(Timers::new(config.max_timers)),
            streams: RefCell::new(Streams::new(config.max_streams)),
            listeners: RefCell::new(Listeners::new(config.max_listeners)),
            sockets: RefCell::new(Sockets::new(config.max_sockets, config.socket_queue)),
            // It grows when needed, which is outside of any turn and so outside of the data path.
            later: RefCell::default(),
            counters: RefCell::default(),
        }
    }

    /// This executor's number, which no other one of the process has.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    pub(crate) fn timers(&self) -> RefMut<'_, Timers> {
        self.timers.borrow_mut()
    }

    pub(crate) fn task_count(&self) -> usize {
        self.tasks.borrow().len()
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.ready.remote().is_shutting_down()
    }

    pub(crate) fn count(&self, note: impl FnOnce(&mut ExecutorCounters)) {
        note(&mut self.counters.borrow_mut());
    }

    /// Gives a task a place and a first poll.
    pub(crate) fn insert(
        &self,
        future: impl FnOnce() -> LocalFuture,
        completion: Rc<dyn Completion>,
    ) -> Result<TaskKey, SpawnError> {
        if self.tasks.borrow().is_full() {
            self.count(|counters| counters.refused_tasks_full += 1);
            return Err(SpawnError::Full);
        }
        let key = self.tasks.borrow_mut().insert(future(), completion);
        self.count(|counters| counters.spawned += 1);
        if let Some(waker) = self.ready.waker(key.index) {
            waker.wake_by_ref();
        }
        Ok(key)
    }

    pub(crate) fn cancel(&self, key: TaskKey) {
        let over = self.tasks.borrow_mut().cancel(key);
        self.end_cancelled(over);
    }

    fn end_cancelled(&self, over: Option<Over>) {
        if let Some(over) = over {
            self.count(|counters| counters.cancelled += 1);
            over.fail(JoinError::Cancelled);
        }
    }

    /// Polls the tasks that were woken, those that they wake included, within the turn's bound.
    fn run(&self) {
        for _ in 0..self.config.polls_per_turn {
            let Some(index) = self.ready.pop() else { return };
            // None: a waker that outlived its task.
            if let Some(future) = self.begin(index) {
                self.poll(index, future);
            }
        }
        if !self.ready.is_empty() {
            self.count(|counters| counters.polls_left_over += 1);
        }
    }

    fn begin(&self, index: usize) -> Option<LocalFuture> {
        self.tasks.borrow_mut().begin(index)
    }

    fn poll(&self, index: usize, mut future: LocalFuture) {
        let Some(waker) = self.ready.waker(index) else { return };
        self.count(|counters| counters.polls += 1);
        // What a panic leaves half done is the task's own, and goes with it.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let polled = future.as_mut().poll(&mut Context::from_waker(waker));
            (polled, future)
        }));
        match polled {
            Ok((Poll::Pending, future)) => {
                let over = self.tasks.borrow_mut().put_back(index, future);
                self.end_cancelled(over);
            }
            Ok((Poll::Ready(()), future)) => {
                let over = self.tasks.borrow_mut().remove(index);
                self.count(|counters| counters.finished += 1);
                drop((over, future));
            }
            Err(panic) => {
                let over = self.tasks.borrow_mut().remove(index);
                self.count(|counters| counters.panicked += 1);
                if let Some(over) = over {
                    over.fail(JoinError::Panicked(message_of(panic.as_ref())));
                }
            }
        }
    }

    /// Puts something off until the stack is at hand.
    pub(crate) fn put_off(&self, what: Later) {
        self.later.borrow_mut().push(what);
    }

    fn see_to_later(&self, stack: &mut Stack<Place>) {
        let later = std::mem::take(&mut *self.later.borrow_mut());
        for what in later {
            match what {
                Later::Stream(place) => self.release(stack, place),
                Later::Writer(place) => self.finish(stack, place),
                Later::Listener(service) => self.unlisten(stack, service),
                Later::Socket(service) => self.unbind(stack, service),
            }
        }
    }

    /// Wakes whom the time, or the word to end, has come for.
    fn wake_due(&self) {
        let now = self.now.get();
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            let Some(waker) = due else { break };
            waker.wake();
        }
    }

    fn wake_for_shutdown(&self) {
        let mut from = 0;
        loop {
            let waiting = self.timers.borrow_mut().pop_timeless(&mut from);
            let Some(waker) = waiting else { break };
            waker.wake();
        }
    }
}

/// Wakes whom a place for a waker holds, if anybody.
pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// What spawns the first task.
type Main = Box<dyn FnOnce(&Rc<Shared>)>;

/// Runs tasks on a core. See the [crate](crate)'s first page.
pub struct Executor {
    shared: Rc<Shared>,
    main: Option<Main>,
    told_of_shutdown: bool,
}

impl Executor {
    /// An executor for the core of `mailboxes`, whose first task is what `main` returns. Made on the thread that will run the
    /// core.
    pub fn new<F, M>(mailboxes: &Mailboxes, config: ExecutorConfig, main: M) -> Self
    where
        M: FnOnce() -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let main = Box::new(move |shared: &Rc<Shared>| {
            // Without any place for a task there is nothing to run, and the counter says so.
            let _ = spawn_on(shared, main());
        });
        Self { shared: Rc::new(Shared::new(config, mailboxes)), main: Some(main), told_of_shutdown: false }
    }

    /// What asks the tasks to end.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle { remote: Arc::clone(self.shared.ready.remote()) }
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.shared.task_count()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> ExecutorCounters {
        *self.shared.counters.borrow()
    }
}

impl Application for Executor {
    type Conn = Place;

    fn start(&mut self, stack: &mut Stack<Place>, now: Instant) {
        self.shared.now.set(now);
        if let Some(main) = self.main.take() {
            enter(&self.shared, stack, || main(&self.shared));
        }
    }

    fn turn(&mut self, stack: &mut Stack<Place>, now: Instant) {
        let shared = &self.shared;
        shared.now.set(now);
        shared.ready.begin();
        if !shared.later.borrow().is_empty() {
            shared.see_to_later(stack);
        }
        enter(shared, stack, || {
            if shared.is_shutting_down() && !self.told_of_shutdown {
                self.told_of_shutdown = true;
                shared.wake_for_shutdown();
            }
            shared.wake_due();
            shared.run();
        });
    }

    fn next_deadline(&self) -> Option<Instant> {
        let told = self.told_of_shutdown || !self.shared.is_shutting_down();
        if !self.shared.ready.is_empty() || !told || !self.shared.later.borrow().is_empty() {
            return Some(Instant::ZERO);
        }
        self.shared.timers.borrow().next().filter(|&deadline| deadline != Instant::FAR_FUTURE)
    }

    fn accepted(&mut self, conn: Conn<'_, Place>) {
        self.shared.accepted(conn);
    }

    fn connected(&mut self, mut conn: Conn<'_, Place>) {
        let place = *conn.state();
        let waker = self.shared.streams.borrow_mut().opened(place);
        wake(waker);
    }

    fn readable(&mut self, mut conn: Conn<'_, Place>) {
        let place = *conn.state();
        let waker = self.shared.streams.borrow_mut().readable(place);
        wake(waker);
    }

    fn writable(&mut self, mut conn: Conn<'_, Place>) {
        let place = *conn.state();
        let waker = self.shared.streams.borrow_mut().writable(place);
        wake(waker);
    }

    fn closed(&mut self, _stack: &mut Stack<Place>, ended: Ended<Place>) {
        let wakers = self.shared.streams.borrow_mut().ended(ended.state, ended.reason);
        wakers.into_iter().for_each(wake);
    }

    fn datagram(&mut self, _stack: &mut Stack<Place>, datagram: Datagram) {
        let taken = self.shared.sockets.borrow_mut().arrived(datagram);
        match taken {
            Ok(waker) => wake(waker),
            Err(datagram) => {
                self.shared.count(|counters| counters.dropped_queue_full += 1);
                drop(datagram);
            }
        }
    }

    fn counters(&self, visit: &mut CounterVisit<'_>) {
        visit("async", &mut self.shared.counters.borrow().iter());
        let Shared { tasks, streams, timers, config, .. } = &*self.shared;
        let levels = [
            ("tasks", tasks.borrow().len() as u64),
            ("tasks_max", config.max_tasks.into()),
            ("streams", streams.borrow().len() as u64),
            ("streams_max", config.max_streams.into()),
            ("timers", timers.borrow().len() as u64),
            ("timers_max", config.max_timers.into()),
        ];
        visit("async_tables", &mut levels.into_iter());
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Tasks hold streams, and streams the executor: somebody has to let go first.
        loop {
            let over = self.shared.tasks.borrow_mut().pop();
            let Some(over) = over else { break };
            over.fail(JoinError::Cancelled);
        }
    }
}
