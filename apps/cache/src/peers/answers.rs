//! What other cores answer, on its way to who asked.

use arrayvec::ArrayVec;
use freeway::{Conn, ConnId, Instant, Post, Stack};
use freeway_memcache::text::Watch;
use freeway_memcache::text::reply::END;

use super::letter::{AnswerFlags, LIST_HEAD};
use super::parts::Is;
use super::{AnswerHead, AskHead, Kind, LETTER_MAX, Peers, Sums};
use crate::connection::{CacheServer, CacheState};
use crate::tasks::{Asker, NONE, What};

/// Letters read before the connections that they are for go on.
const BATCH: usize = 32;

/// How far what a connection is owed could be written.
pub(crate) enum Owed {
    /// All of it.
    Nothing,
    /// Another core's answer comes first.
    Awaited,
    /// TCP takes no more now.
    NoRoom,
    /// A ring is full.
    RingFull,
}

impl CacheServer {
    /// Reads what other cores have written: answers first, then questions, all of them. Returns how many letters that were.
    pub fn mail<S: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<S>,
        now: Instant,
        state: impl Fn(&mut S) -> &mut CacheState,
    ) -> usize {
        let Some(others) = self.engine.peers.as_ref().map(|peers| peers.others()) else { return 0 };
        self.tick(now);
        let mut count = 0;
        for core in others {
            while self.read_answers(stack, core, &mut count, &state) {}
        }
        count += self.engine.serve();
        self.update_if_watched();
        self.send_letters();
        count
    }

    /// Whether [`CacheServer::mail`] has something to do.
    pub fn has_mail(&mut self) -> bool {
        self.engine.peers.as_mut().is_some_and(|peers| peers.has_mail())
            || !self.stalled.is_empty()
            || self.engine.parts.to_abort().is_some()
    }

    /// Lets the other cores see what was written to them.
    pub(crate) fn send_letters(&mut self) {
        self.engine.tell_cores();
        if let Some(peers) = &mut self.engine.peers {
            peers.send();
        }
    }

    /// Reads some answers of `core`; false when there are none.
    fn read_answers<S: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<S>,
        core: u32,
        count: &mut usize,
        state: &impl Fn(&mut S) -> &mut CacheState,
    ) -> bool {
        let Some(mut peers) = self.engine.peers.take() else { return false };
        let mut again = ArrayVec::<ConnId, BATCH>::new();
        let mut any = false;
        let Peers { asks, answers, answers_read, .. } = &mut *peers;
        if let Some(at) = answers_read.get_mut(core as usize)
            && let Some(letters) = answers.read(core)
        {
            any = true;
            let mut letters = letters.from(*at);
            for letter in letters.take(BATCH) {
                if let Some(Asker::Conn(id)) = self.asker_of(letter) {
                    stack.prefetch(id);
                }
            }
            let mut over = true;
            for letter in letters.by_ref() {
                *count += 1;
                if let Some(id) = self.deliver(stack, asks, letter, state)
                    && again.last() != Some(&id)
                {
                    again.push(id);
                }
                if again.is_full() {
                    over = false;
                    break;
                }
            }
            *at = letters.position();
            if over {
                *at = 0;
                answers.release(core);
            }
        }
        self.engine.peers = Some(peers);
        for id in again {
            if let Some(mut conn) = stack.conn(id) {
                self.pump(&mut conn, state);
            }
        }
        any
    }

    fn asker_of(&mut self, letter: &[u8]) -> Option<Asker> {
        let (head, _) = AnswerHead::parse(letter)?;
        let task = self.engine.parts.get(head.ticket)?.task;
        self.engine.tasks.get(task)?.asker
    }

    /// Gives an answer to who asked; returns the connection if it is to go on.
    fn deliver<S: Copy + Default + 'static>(
        &mut self,
        stack: &mut Stack<S>,
        asks: &mut Post,
        letter: &[u8],
        state: &impl Fn(&mut S) -> &mut CacheState,
    ) -> Option<ConnId> {
        let (head, mut bytes) = AnswerHead::parse(letter)?;
        if head.flags.contains(AnswerFlags::LINE) {
            self.show(stack, Watch::from_bits_truncate(head.number as u16), bytes);
            return None;
        }
        let part = self.engine.parts.get(head.ticket)?;
        part.awaited = part.awaited.saturating_sub(1);
        let (number, is, whole) = (part.task, part.is, part.awaited == 0);
        let more = head.flags.contains(AnswerFlags::MORE);
        if is.contains(Is::COUNTS) {
            if number != NONE {
                self.engine.gather.sums.add(&Sums::parse(bytes));
                self.engine.gather.is_whole = whole;
            }
            bytes = b"";
        } else if is.contains(Is::LIST) {
            let (at, lines) = bytes.split_first_chunk::<{ LIST_HEAD }>()?;
            let is_shown = self.list_on(number, at, more, lines);
            bytes = if is_shown { lines } else { b"" };
        } else {
            part.is.set(Is::MORE, more);
            if !more && !is.contains(Is::MORE) {
                // What was not long has its end with it.
                part.is.remove(Is::END);
            }
        }
        if number == NONE {
            if whole {
                self.engine.parts.orphan(head.ticket);
            }
            return None;
        }
        let task = self.engine.tasks.get(number)?;
        let (asker, first, waits) = (task.asker?, task.queue.first == head.ticket, task.waits);
        let Asker::Conn(id) = asker else {
            self.datagram_part(stack, asks, number, head.ticket, bytes);
            return None;
        };
        if !first || !self.engine.parts.held(head.ticket).is_empty() {
            let held = self.engine.parts.hold(head.ticket, bytes);
            debug_assert!(held, "whatever stands behind has a buffer");
            return waits.then_some(id);
        }
        let mut conn = stack.conn(id)?;
        let mut own = *state(conn.state());
        self.write_bytes(&mut conn, &mut own, bytes);
        *state(conn.state()) = own;
        whole.then_some(id)
    }

    /// A list of items goes on there, or with the next core. Whether what came of it is for the connection.
    fn list_on(&mut self, task: u16, at: &[u8; LIST_HEAD], more: bool, lines: &[u8]) -> bool {
        let dump = self.engine.tasks.get(task).and_then(|task| task.dump.as_mut());
        let Some(dump) = dump else { return true };
        let &[s0, s1, s2, s3, o0, o1, o2, o3, l0, l1, l2, l3] = at;
        (dump.segment, dump.offset) =
            (u32::from_ne_bytes([s0, s1, s2, s3]), u32::from_ne_bytes([o0, o1, o2, o3]));
        dump.left = u32::from_ne_bytes([l0, l1, l2, l3]);
        if !more {
            dump.next_core();
        }
        if dump.what == What::Sizes {
            self.engine.server.sizes.add_all(lines);
            return false;
        }
        true
    }

    /// Writes what a connection is owed, as far as it has come and TCP takes it.
    pub(crate) fn send_owed<S: Copy + Default + 'static>(
        &mut self,
        conn: &mut Conn<'_, S>,
        state: &CacheState,
    ) -> Owed {
        loop {
            let Some(task) = self.engine.tasks.get(state.task) else { return Owed::Nothing };
            let number = task.queue.first;
            let held = self.engine.parts.held(number);
            if !held.is_empty() {
                let (len, written) = (held.len(), conn.write(held));
                self.engine.server.counters.bytes_written += written as u64;
                self.engine.parts.drop_held(number, written);
                if written < len {
                    return Owed::NoRoom;
                }
            }
            let Some(part) = self.engine.parts.get(number) else { return Owed::Nothing };
            if part.awaited > 0 || part.is.contains(Is::SENDING) {
                return Owed::Awaited;
            }
            if part.is.contains(Is::MORE) {
                let room = conn.send_room();
                if room == 0 {
                    conn.want_room();
                    return Owed::NoRoom;
                }
                let core = u32::from(part.core);
                let head =
                    AskHead { number: room.min(LETTER_MAX) as u32, ..AskHead::new(Kind::Pull, number) };
                let asked =
                    self.engine.peers.as_mut().is_some_and(|peers| peers.asks.put(core, &[&head.bytes()]));
                if asked {
                    part.awaited = 1;
                }
                return if asked { Owed::Awaited } else { Owed::RingFull };
            }
            if part.is.contains(Is::END) {
                if conn.send_room() < END.len() && conn.unacknowledged_bytes() > 0 {
                    conn.want_room();
                    return Owed::NoRoom;
                }
                let mut own = *state;
                self.write_bytes(conn, &mut own, END);
            }
            if let Some(task) = self.engine.tasks.get(state.task) {
                self.engine.parts.pop(&mut task.queue);
                task.waits &= !task.queue.is_empty();
            }
            self.engine.parts.release(number);
        }
    }

    /// What a connection was owed is not wanted any more.
    pub(crate) fn drop_owed(&mut self, number: u16) {
        let Some(task) = self.engine.tasks.get(number) else { return };
        task.upload = None;
        let mut queue = core::mem::take(&mut task.queue);
        while let Some(part) = self.engine.parts.pop(&mut queue) {
            self.engine.parts.orphan(part);
        }
        self.engine.gather.end(number);
    }
}
