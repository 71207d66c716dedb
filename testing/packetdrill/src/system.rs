//! The system calls: one lock, calls that wait, and who lets time pass.
//!
//! The thread that opened the object is the one that runs the script. It alone lets time pass, by `usleep` and by
//! asking for packets; calls of other threads wait until what they want has happened. A call of the script's own
//! thread that would wait lets time pass itself, for nobody else will.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use freeway::{Duration, Instant};

use crate::abi::Confined;
use crate::errno::{Errno, Result, fail};
use crate::poll::Polled;
use crate::quiet;
use crate::socket::{Key, Kind};
use crate::stream::Received;
use crate::world::{Object, World};

/// How long the script's thread may do something else (run a command, wait for this very call) before a call that
/// waits goes on by itself. Real time.
const DRIVER_PATIENCE: std::time::Duration = std::time::Duration::from_millis(250);
/// The same once it was away that long.
const DRIVER_GONE: std::time::Duration = std::time::Duration::from_millis(1);
/// Waiting for a packet for longer than this is waiting for ever. Virtual time: the longest keepalive, and more.
const PACKET_PATIENCE: Duration = Duration::from_secs(86_400);

/// What the lock guards.
struct Inner {
    world: Confined,
    /// Until when calls wait that have a limit.
    limits: Vec<Instant>,
    /// Calls that wait.
    waiting: usize,
    /// How often the script's thread was here.
    visits: u64,
}

/// The host of one script.
pub(crate) struct System {
    inner: Mutex<Inner>,
    changed: Condvar,
    driver: ThreadId,
}

/// Which of a socket's time limits a call has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Receive,
    Send,
}

/// How long a call waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Patience {
    None,
    Until(Option<Duration>),
}

impl System {
    pub(crate) fn new(world: Confined) -> Self {
        Self {
            inner: Mutex::new(Inner { world, limits: Vec::new(), waiting: 0, visits: 0 }),
            changed: Condvar::new(),
            driver: thread::current().id(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_driver(&self) -> bool {
        thread::current().id() == self.driver
    }

    /// Runs a call that does not wait.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut World) -> T) -> T {
        let mut inner = self.lock();
        inner.visits += u64::from(self.is_driver());
        let world = &mut inner.world.0;
        world.run();
        let result = call(world);
        world.run();
        drop(inner);
        self.changed.notify_all();
        result
    }

    /// Runs a call until it does not answer `EAGAIN` any more, or patience ends.
    fn wait<T>(&self, patience: Patience, mut call: impl FnMut(&mut World) -> Result<T>) -> Result<T> {
        let mut inner = self.lock();
        inner.visits += u64::from(self.is_driver());
        inner.world.0.run();
        let until = match patience {
            Patience::Until(Some(limit)) => Some(inner.world.0.host.now() + limit),
            _ => None,
        };
        let mut real_patience = DRIVER_PATIENCE;
        loop {
            let result = call(&mut inner.world.0);
            inner.world.0.run();
            self.changed.notify_all();
            let over = until.is_some_and(|until| inner.world.0.host.now() >= until);
            if patience == Patience::None || over || !matches!(result, Err(Errno::AGAIN)) {
                return result;
            }
            inner.limits.extend(until);
            inner.waiting += 1;
            let alone = self.is_driver();
            let (back, moved) =
                if alone { (inner, false) } else { self.wait_for_change(inner, real_patience) };
            inner = back;
            let stuck = !moved && !advance(&mut inner, Instant::FAR_FUTURE);
            // A driver that does not come back once will not come between the next steps either.
            real_patience = if moved { DRIVER_PATIENCE } else { DRIVER_GONE };
            inner.waiting -= 1;
            if let Some(place) = inner.limits.iter().position(|&limit| Some(limit) == until) {
                inner.limits.swap_remove(place);
            }
            if stuck && alone {
                return fail(libc::EDEADLK);
            }
        }
    }

    /// Waits until something happens; false when nothing will unless this thread lets time pass.
    fn wait_for_change<'a>(
        &'a self,
        inner: MutexGuard<'a, Inner>,
        patience: std::time::Duration,
    ) -> (MutexGuard<'a, Inner>, bool) {
        let visits = inner.visits;
        let waited = self.changed.wait_timeout(inner, patience);
        let (inner, result) = waited.unwrap_or_else(PoisonError::into_inner);
        let moved = !result.timed_out() || inner.visits != visits;
        (inner, moved)
    }

    /// Lets the calls of other threads that are on their way arrive, and those that can go on do so.
    fn settle<'a>(&'a self, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        drop(inner);
        self.changed.notify_all();
        quiet::wait();
        self.lock()
    }

    // ---- time and packets ----

    /// The clock, which moves by being looked at.
    pub(crate) fn now(&self) -> Instant {
        let mut inner = self.lock();
        let now = inner.world.0.host.tick();
        inner.world.0.run();
        drop(inner);
        self.changed.notify_all();
        now
    }

    pub(crate) fn usleep(&self, span: Duration) {
        let mut inner = self.lock();
        inner.visits += 1;
        let end = inner.world.0.host.now() + span;
        loop {
            inner = self.settle(inner);
            if !advance(&mut inner, end) {
                inner.world.0.host.set_time(end);
                inner.world.0.run();
                break;
            }
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// The next packet that the stack sends, and when it did; none when it will never send one.
    pub(crate) fn receive_packet(&self) -> Option<(Instant, Vec<u8>)> {
        let mut inner = self.lock();
        inner.visits += 1;
        let end = inner.world.0.host.now() + PACKET_PATIENCE;
        inner.world.0.run();
        loop {
            if !inner.world.0.has_sent() {
                inner = self.settle(inner);
            }
            if let Some(sent) = inner.world.0.take_sent() {
                return Some(sent);
            }
            if !advance(&mut inner, end) {
                return None;
            }
        }
    }

    // ---- calls that may wait ----

    fn patience(&self, fd: i32, flags: i32, direction: Direction) -> Result<Patience> {
        self.call(|world| match world.object(fd)? {
            Object::Socket(_) if flags & libc::MSG_DONTWAIT != 0 => Ok(Patience::None),
            Object::Socket(key) => {
                let socket = world.socket(key)?;
                let limit = match direction {
                    Direction::Receive => socket.settings.receive_timeout,
                    Direction::Send => socket.settings.send_timeout,
                };
                Ok(if socket.nonblocking { Patience::None } else { Patience::Until(limit) })
            }
            Object::Epoll(_) | Object::Pipe(..) => Ok(Patience::Until(None)),
        })
    }

    pub(crate) fn accept(&self, fd: i32) -> Result<(i32, Vec<u8>)> {
        let patience = self.patience(fd, 0, Direction::Receive)?;
        self.wait(patience, |world| world.accept(fd))
    }

    pub(crate) fn connect(&self, fd: i32, name: &[u8]) -> Result<()> {
        let patience = self.patience(fd, 0, Direction::Send)?;
        let started = self.call(|world| world.connect(fd, name));
        if patience == Patience::None || started != fail(libc::EINPROGRESS) {
            return started;
        }
        let opened = self.wait(patience, |world| world.open_result(fd));
        // A limit that is reached leaves the open under way.
        if opened == Err(Errno::AGAIN) { fail(libc::EINPROGRESS) } else { opened }
    }

    /// All receiving calls on sockets, pipes included.
    pub(crate) fn receive(&self, fd: i32, len: usize, flags: i32) -> Result<Received> {
        // Nobody waits for the error queue.
        let flags = if flags & libc::MSG_ERRQUEUE != 0 { flags | libc::MSG_DONTWAIT } else { flags };
        let patience = self.patience(fd, flags, Direction::Receive)?;
        let received = self.wait(patience, |world| world.receive(fd, len, flags));
        // Waiting for all of it ends, with what there is, where patience does.
        if received == Err(Errno::AGAIN) && flags & libc::MSG_WAITALL != 0 {
            return self.call(|world| world.receive(fd, len, flags & !libc::MSG_WAITALL));
        }
        received
    }

    /// All sending calls. A stream's take everything, as long as patience lasts.
    pub(crate) fn send(&self, fd: i32, bytes: &[u8], to: Option<&[u8]>, flags: i32) -> Result<usize> {
        let patience = self.patience(fd, flags, Direction::Send)?;
        let mut flags = flags;
        let mut sent = 0;
        let mut slept = false;
        if flags & libc::MSG_FASTOPEN != 0 {
            // What is in the SYN is sent; one who waits waits for the connection to be open with the rest.
            match self.call(|world| world.send(fd, bytes, to, flags)) {
                Ok(count) => sent = count,
                Err(Errno(libc::EINPROGRESS)) => {}
                Err(error) => return Err(error),
            }
            flags &= !libc::MSG_FASTOPEN;
            if patience == Patience::None {
                self.note_write(fd, flags, sent);
                return if sent > 0 { Ok(sent) } else { fail(libc::EINPROGRESS) };
            }
        }
        let done = self.wait(patience, |world| {
            if slept
                && let Object::Socket(key) = world.object(fd)?
                && world.sleeps_for_room(key)
            {
                return Err(Errno::AGAIN);
            }
            slept = true;
            loop {
                sent += world.send(fd, &bytes[sent..], to, flags)?;
                if sent == bytes.len() {
                    return Ok(());
                }
            }
        });
        self.note_write(fd, flags, sent);
        match done {
            Err(_) if sent > 0 => Ok(sent),
            Err(error) => Err(error),
            Ok(()) => Ok(sent),
        }
    }

    fn note_write(&self, fd: i32, flags: i32, sent: usize) {
        if sent > 0 {
            self.call(|world| {
                if let Ok(Object::Socket(key)) = world.object(fd) {
                    world.note_write(key, flags);
                }
            });
        }
    }

    pub(crate) fn splice(&self, from: i32, to: i32, len: usize, flags: u32) -> Result<usize> {
        let wants = |fd, direction| match self.call(|world| world.object(fd))? {
            Object::Socket(_) => self.patience(fd, 0, direction).map(Some),
            _ => Ok(None),
        };
        let socket = wants(from, Direction::Receive)?.or(wants(to, Direction::Send)?);
        let patient = flags & libc::SPLICE_F_NONBLOCK == 0;
        let patience = if patient { socket.unwrap_or(Patience::Until(None)) } else { Patience::None };
        let more = flags & libc::SPLICE_F_MORE != 0;
        self.wait(patience, |world| world.splice(from, to, len, more))
    }

    pub(crate) fn close(&self, fd: i32) -> Result<()> {
        let Some(lingering) = self.call(|world| world.close(fd))? else { return Ok(()) };
        let limit = Patience::Until(Some(lingering.limit));
        let waits = |world: &mut World| {
            if world.still_lingers(lingering.conn) { Err(Errno::AGAIN) } else { Ok(()) }
        };
        match self.wait(limit, waits) {
            Err(Errno::AGAIN) | Ok(()) => Ok(()),
            error => error,
        }
    }

    /// `poll(2)`; a negative time-out waits for ever.
    pub(crate) fn poll(&self, polled: &mut [Polled], timeout_ms: i32) -> Result<usize> {
        let ready = self.wait(patience_of(timeout_ms), |world| match world.poll(polled) {
            0 => Err(Errno::AGAIN),
            ready => Ok(ready),
        });
        if ready == Err(Errno::AGAIN) { Ok(0) } else { ready }
    }

    pub(crate) fn wait_epoll(
        &self,
        epfd: i32,
        limit: i32,
        timeout_ms: i32,
    ) -> Result<Vec<crate::epoll::Report>> {
        let reports = self.wait(patience_of(timeout_ms), |world| world.wait_epoll(epfd, limit));
        if reports == Err(Errno::AGAIN) { Ok(Vec::new()) } else { reports }
    }
}

const fn patience_of(timeout_ms: i32) -> Patience {
    match timeout_ms {
        0 => Patience::None,
        ..0 => Patience::Until(None),
        _ => Patience::Until(Some(Duration::from_millis(timeout_ms as u64))),
    }
}

/// Moves the clock to what happens next and lets it happen; false when nothing does before `end`, and the clock
/// stays.
fn advance(inner: &mut Inner, end: Instant) -> bool {
    let now = inner.world.0.host.now();
    let limits = inner.limits.iter().copied().filter(|&limit| limit > now);
    let next = inner.world.0.next_deadline().into_iter().chain(limits).min();
    let Some(next) = next.filter(|&next| next <= end && next < Instant::FAR_FUTURE) else { return false };
    inner.world.0.host.set_time(next);
    inner.world.0.run();
    true
}

impl World {
    fn receive(&mut self, fd: i32, len: usize, flags: i32) -> Result<Received> {
        match self.object(fd)? {
            Object::Socket(key) => match self.socket(key)?.kind {
                Kind::Stream => self.receive_stream(key, len, flags),
                Kind::Datagram => self.receive_datagram(key, len, flags),
            },
            Object::Pipe(key, end) => {
                let bytes = self.read_pipe(key, end, len)?;
                Ok(Received { len: bytes.len(), bytes, ..Received::default() })
            }
            Object::Epoll(_) => Err(Errno::INVALID),
        }
    }

    fn send(&mut self, fd: i32, bytes: &[u8], to: Option<&[u8]>, flags: i32) -> Result<usize> {
        match self.object(fd)? {
            Object::Socket(key) => self.send_socket(key, bytes, to, flags),
            Object::Pipe(key, end) => self.write_pipe(key, end, bytes),
            Object::Epoll(_) => Err(Errno::INVALID),
        }
    }

    fn send_socket(&mut self, key: Key, bytes: &[u8], to: Option<&[u8]>, flags: i32) -> Result<usize> {
        match self.socket(key)?.kind {
            Kind::Stream => self.send_stream(key, bytes, to, flags),
            Kind::Datagram => self.send_datagram(key, bytes, to),
        }
    }
}
