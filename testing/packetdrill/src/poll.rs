//! What a descriptor is ready for, in Linux's words.

use crate::errno::Result;
use crate::pipe::End;
use crate::socket::{Key, Kind, State};
use crate::world::{Object, World};

/// Conditions as `poll(2)` names them; `epoll(7)` has the same numbers.
pub(crate) type Conditions = i16;

const READABLE: Conditions = libc::POLLIN | libc::POLLRDNORM;
const WRITABLE: Conditions = libc::POLLOUT | libc::POLLWRNORM;
/// Told whether or not they were asked for.
pub(crate) const ALWAYS: Conditions = libc::POLLERR | libc::POLLHUP;

/// One entry of `poll(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Polled {
    pub(crate) fd: i32,
    pub(crate) events: Conditions,
    pub(crate) revents: Conditions,
}

impl World {
    /// Fills in what each is ready for; returns how many are.
    pub(crate) fn poll(&mut self, polled: &mut [Polled]) -> usize {
        for entry in polled.iter_mut() {
            entry.revents = match self.object(entry.fd) {
                _ if entry.fd < 0 => 0,
                Err(_) => libc::POLLNVAL,
                Ok(object) => {
                    let ready = self.conditions(object).unwrap_or(libc::POLLNVAL);
                    let seen = ready & (entry.events | ALWAYS);
                    // Who waits for room is woken when there is some.
                    if entry.events & WRITABLE != 0
                        && ready & WRITABLE == 0
                        && let Object::Socket(key) = object
                    {
                        self.want_room(key);
                    }
                    seen
                }
            };
        }
        polled.iter().filter(|entry| entry.revents != 0).count()
    }

    /// Everything that an object is ready for.
    pub(crate) fn conditions(&mut self, object: Object) -> Result<Conditions> {
        match object {
            Object::Socket(key) => self.socket_conditions(key),
            Object::Epoll(key) => Ok(if self.epoll_is_ready(key) { READABLE } else { 0 }),
            Object::Pipe(key, end) => {
                let (when_ready, when_alone) = match end {
                    End::Read => (READABLE, libc::POLLHUP),
                    End::Write => (WRITABLE, libc::POLLERR),
                };
                let (ready, alone) = self.pipe_state(key, end);
                let ready = if ready { when_ready } else { 0 };
                Ok(if alone { ready | when_alone } else { ready })
            }
        }
    }

    fn socket_conditions(&mut self, key: Key) -> Result<Conditions> {
        let socket = self.socket(key)?;
        let kind = socket.kind;
        let fails = socket.error.is_some() || socket.reports.has_some();
        let mut ready = if fails { libc::POLLERR } else { 0 };
        if kind == Kind::Datagram {
            let input = !socket.datagrams.is_empty() || socket.shut_read;
            return Ok(ready | WRITABLE | if input { READABLE } else { 0 });
        }
        let gone = matches!(socket.state, State::Idle | State::Ended);
        let read_over = socket.peer_finished || socket.shut_read || matches!(socket.state, State::Ended);
        let write_over = socket.shut_write || matches!(socket.state, State::Ended);
        let low = socket.settings.receive_low as usize;
        let has_input = socket.unread.len() >= low.max(1);
        match &socket.state {
            State::Listening { queue, .. } => {
                return Ok(if queue.is_empty() { 0 } else { READABLE });
            }
            State::Connecting(_) => return Ok(ready),
            State::Idle | State::Open(_) | State::Ended | State::Bound(_) => {}
        }
        if gone || read_over && write_over {
            ready |= libc::POLLHUP;
        }
        if read_over {
            ready |= READABLE | libc::POLLRDHUP;
        }
        if has_input {
            ready |= READABLE;
        }
        if write_over || gone || self.is_writable(key) {
            ready |= WRITABLE;
        }
        Ok(ready)
    }
}
