//! epoll: levels, edges, one-shots.
//!
//! An edge is a waking: something arrived, room came back, the state changed. Each socket counts its wakings by kind;
//! an edge-triggered entry is reported when one of those it asks for was counted since its last report, and the
//! condition still holds.

use std::collections::BTreeMap;

use crate::errno::{Errno, Result, fail};
use crate::poll::{ALWAYS, Conditions};
use crate::socket::{Key, Wakes};
use crate::world::{Object, World};

const EDGE: u32 = libc::EPOLLET as u32;
const ONE_SHOT: u32 = libc::EPOLLONESHOT as u32;

/// A descriptor that is watched.
#[derive(Clone, Copy, Debug)]
struct Entry {
    object: Object,
    events: u32,
    data: u64,
    /// The wakings at the last report; none before the first, and after a change.
    reported: Option<Wakes>,
    /// The order in which entries take turns.
    turn: u64,
}

/// A set of descriptors.
#[derive(Debug, Default)]
pub(crate) struct Epoll {
    entries: BTreeMap<i32, Entry>,
    turns: u64,
}

impl Epoll {
    /// A closed descriptor is watched no more.
    pub(crate) fn forget(&mut self, fd: i32) {
        self.entries.remove(&fd);
    }
}

/// What `epoll_wait` reports of one descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    pub(crate) events: u32,
    pub(crate) data: u64,
}

impl World {
    /// `epoll_create(2)`.
    pub(crate) fn open_epoll(&mut self, size: i32) -> Result<i32> {
        if size <= 0 {
            return Err(Errno::INVALID);
        }
        let key = self.new_key();
        self.epolls.insert(key, Epoll::default());
        self.open_fd(Object::Epoll(key))
    }

    fn epoll_key(&self, fd: i32) -> Result<Key> {
        match self.object(fd)? {
            Object::Epoll(key) => Ok(key),
            _ => Err(Errno::INVALID),
        }
    }

    /// `epoll_ctl(2)`.
    pub(crate) fn control_epoll(&mut self, epfd: i32, op: i32, fd: i32, event: Option<Report>) -> Result<()> {
        let object = self.object(fd)?;
        let key = self.epoll_key(epfd)?;
        if object == Object::Epoll(key) {
            return Err(Errno::INVALID);
        }
        let epoll = self.epolls.get_mut(&key).ok_or(Errno(libc::EBADF))?;
        let known = epoll.entries.contains_key(&fd);
        match (op, event) {
            (libc::EPOLL_CTL_DEL, _) => epoll.entries.remove(&fd).map(|_| ()).ok_or(Errno(libc::ENOENT)),
            (libc::EPOLL_CTL_ADD, Some(_)) if known => fail(libc::EEXIST),
            (libc::EPOLL_CTL_MOD, Some(_)) if !known => fail(libc::ENOENT),
            (libc::EPOLL_CTL_ADD | libc::EPOLL_CTL_MOD, Some(Report { events, data })) => {
                epoll.turns += 1;
                let turn = epoll.turns;
                epoll.entries.insert(fd, Entry { object, events, data, reported: None, turn });
                // A level that does not hold yet is waited for like an edge.
                self.watch_room(object, events);
                Ok(())
            }
            (libc::EPOLL_CTL_ADD | libc::EPOLL_CTL_MOD, None) => fail(libc::EFAULT),
            _ => Err(Errno::INVALID),
        }
    }

    /// Has acknowledgments wake those who wait for room, if there is none now.
    fn watch_room(&mut self, object: Object, events: u32) {
        let Object::Socket(key) = object else { return };
        let ready = self.conditions(object).unwrap_or(0);
        if events & libc::EPOLLOUT as u32 != 0 && ready & libc::POLLOUT == 0 {
            self.want_room(key);
        }
    }

    /// `epoll_wait(2)`: at most `limit` reports.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when there is none.
    pub(crate) fn wait_epoll(&mut self, epfd: i32, limit: i32) -> Result<Vec<Report>> {
        let key = self.epoll_key(epfd)?;
        let limit = usize::try_from(limit).ok().filter(|&limit| limit > 0).ok_or(Errno::INVALID)?;
        let mut reports = Vec::new();
        for (fd, entry) in self.in_turn(key) {
            if reports.len() == limit {
                break;
            }
            let Some(ready) = self.due(&entry) else { continue };
            reports.push(Report { events: ready, data: entry.data });
            let wakes = self.wakes(entry.object);
            let Some(epoll) = self.epolls.get_mut(&key) else { break };
            epoll.turns += 1;
            let turn = epoll.turns;
            if let Some(entry) = epoll.entries.get_mut(&fd) {
                entry.reported = Some(wakes);
                entry.turn = turn;
                if entry.events & ONE_SHOT != 0 {
                    // Disarmed until it is modified.
                    entry.events &= EDGE | ONE_SHOT;
                }
            }
        }
        if reports.is_empty() { Err(Errno::AGAIN) } else { Ok(reports) }
    }

    pub(crate) fn epoll_is_ready(&mut self, key: Key) -> bool {
        self.in_turn(key).into_iter().any(|(_, entry)| self.due(&entry).is_some())
    }

    fn in_turn(&self, key: Key) -> Vec<(i32, Entry)> {
        let mut entries: Vec<_> = self
            .epolls
            .get(&key)
            .map(|epoll| epoll.entries.iter().map(|(&fd, &entry)| (fd, entry)).collect())
            .unwrap_or_default();
        entries.sort_by_key(|(_, entry)| entry.turn);
        entries
    }

    /// What is to be reported of an entry now, if anything is.
    fn due(&mut self, entry: &Entry) -> Option<u32> {
        let asked = (entry.events & 0xffff) as Conditions;
        if asked == 0 && entry.events & ONE_SHOT != 0 {
            return None;
        }
        self.watch_room(entry.object, entry.events);
        let ready = self.conditions(entry.object).ok()? & (asked | ALWAYS);
        if ready == 0 {
            return None;
        }
        let woken = match entry.reported {
            Some(before) if entry.events & EDGE != 0 => {
                let now = self.wakes(entry.object);
                let reads = asked & (libc::POLLIN | libc::POLLRDNORM) != 0;
                let writes = asked & (libc::POLLOUT | libc::POLLWRNORM) != 0;
                now.state != before.state
                    || reads && now.input != before.input
                    || writes && now.output != before.output
            }
            _ => true,
        };
        woken.then_some(ready as u16 as u32)
    }

    fn wakes(&self, object: Object) -> Wakes {
        match object {
            Object::Socket(key) => self.sockets.get(&key).map(|socket| socket.wakes).unwrap_or_default(),
            Object::Epoll(_) | Object::Pipe(..) => Wakes::default(),
        }
    }
}
