//! Deadlines: one timer a connection, armed for its soonest, or one for TCP and one for the application.
//!
//! TCP's changes with almost every segment, mostly to a later time or to none, which costs the wheel a write to
//! the timer's own line, asked for with the connection's. An application's that is far ahead would draw a shared one
//! there after each request, and the next request back.

use freeway_base::Instant;
use freeway_tcp::{Context, Held, SynTimeout};

use super::record::{Connection, Flags, Tick};
use super::{NONE, TcpHost};
use crate::net::Net;

/// How many timers ahead a connection's record is asked for: one whose time has come was idle, so its record is in
/// no cache. A power of two.
const AHEAD: usize = 8;

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// The end of a connection's turn: queues that nothing is held in any more are given back, and its timer is set.
    #[inline]
    pub(crate) fn settle(&mut self, now: Instant, index: u32) {
        if let Some(connection) = self.connections.slot_mut(index) {
            self.store.close_if_empty(&mut connection.socket.queues);
        }
        self.rearm(now, index);
    }

    /// Tells the wheel of a connection's soonest deadline.
    #[inline]
    pub(crate) fn rearm(&mut self, now: Instant, index: u32) {
        let Some(connection) = self.connections.slot_mut(index) else { return };
        let Connection { tcb, socket, .. } = connection;
        if socket.flags.contains(Flags::DETACHED) {
            return;
        }
        let is_shared = self.application_timers.is_none();
        let timer = (is_shared && socket.timer != Tick::NEVER).then(|| socket.timer.instant(now));
        match tcb.next_deadline(now).into_iter().chain(timer).min() {
            Some(deadline) => self.wheel.arm(index, deadline),
            None => {
                self.wheel.cancel(index);
            }
        }
    }

    /// Tells the wheel when the application is to hear of its timer.
    #[inline]
    pub(crate) fn rearm_application(&mut self, now: Instant, index: u32) {
        let Some(first) = self.application_timers else { return self.rearm(now, index) };
        let Some(connection) = self.connections.slot(index) else { return };
        let socket = &connection.socket;
        if socket.timer == Tick::NEVER || socket.flags.contains(Flags::DETACHED) {
            self.wheel.cancel(first + index);
        } else {
            self.wheel.arm(first + index, socket.timer.instant(now));
        }
    }

    /// Runs at most `limit` timers that are due; returns how many there were.
    pub(crate) fn expire(&mut self, now: Instant, net: &mut Net, limit: usize) -> usize {
        let mut done = 0;
        let mut coming = [NONE; AHEAD];
        while done < limit
            && let Some(id) = self.wheel.pop_due(now)
        {
            self.prefetch(self.owner(id));
            let due = core::mem::replace(&mut coming[done % AHEAD], id);
            done += 1;
            self.timer(now, net, due);
        }
        for due in coming {
            self.timer(now, net, due);
        }
        while done < limit && self.time_wait.next_deadline().is_some_and(|until| until <= now) {
            done += 1;
            self.remove_time_wait(net, self.time_wait.oldest());
        }
        done
    }

    /// Runs the timer `id`, unless it is [`NONE`].
    fn timer(&mut self, now: Instant, net: &mut Net, id: u32) {
        match id.checked_sub(self.connections.capacity()) {
            None => self.connection_timer(now, net, id),
            Some(_) if id == NONE => {}
            Some(_) if self.owner(id) != id => {
                self.connection_timer(now, net, self.owner(id));
                self.rearm_application(now, self.owner(id));
            }
            Some(index) => self.half_open_due(now, net, index),
        }
    }

    /// The connection whose application's timer has the number `id`; the number itself if it is another timer's.
    fn owner(&self, id: u32) -> u32 {
        self.application_timers.and_then(|first| id.checked_sub(first)).unwrap_or(id)
    }

    fn connection_timer(&mut self, now: Instant, net: &mut Net, index: u32) {
        let Some(connection) = self.connections.slot_mut(index) else { return };
        if connection.socket.flags.contains(Flags::DETACHED) {
            return;
        }
        let timer_due = connection.socket.timer.is_due(now);
        if timer_due {
            connection.socket.timer = Tick::NEVER;
        }
        if connection.tcb.next_deadline(now).is_some_and(|deadline| deadline <= now) {
            let closed = connection.socket.flags.contains(Flags::READ_CLOSED);
            let held = Held { closed, ..self.store.held(connection.socket.queues) };
            let Some(profile) = self.listeners.profiles.get(usize::from(connection.socket.profile)) else {
                return;
            };
            let flight = self.store.flight_of(connection.socket.queues);
            let events = connection.tcb.on_deadline(
                &Context { now, config: &profile.tcp },
                &held,
                self.store.flights.slot_mut(flight),
            );
            if self.store.flights.slot(flight).is_some_and(|flight| !connection.tcb.needs_flight(flight)) {
                self.store.end_flight(&mut connection.socket.queues);
            }
            self.apply(now, net, index, events);
            if self.is_in_the_way(index) {
                self.counters.shed_shut_out += 1;
                self.abort(now, net, index);
                return;
            }
            self.mark_dirty(index);
        }
        if timer_due {
            if self.lingers(index) {
                // The application has closed: the timer is the bound of what it still delivers.
                self.counters.lingered_out += 1;
                self.abort(now, net, index);
                return;
            }
            self.raise(index, Flags::TIMER);
        }
        self.rearm(now, index);
    }

    /// Whether a connection waits behind a shut window while others starve: its persist timer has just expired once more.
    fn is_in_the_way(&self, index: u32) -> bool {
        let expiries = self.limits.shut_out_expiries;
        self.starved.len() > 0
            && expiries < u8::MAX
            && !self.store.has_room_to_send()
            && self.connections.slot(index).is_some_and(|connection| {
                connection.tcb.is_shut_out(expiries) && self.store.tx_bytes(connection.socket.queues) > 0
            })
    }

    /// Whether the application has closed the connection and bounds what it still delivers: the timer is that bound.
    fn lingers(&self, index: u32) -> bool {
        self.connections.slot(index).is_some_and(|connection| {
            let profile = self.listeners.profiles.get(usize::from(connection.socket.profile));
            connection.socket.flags.contains(Flags::READ_CLOSED)
                && profile.is_some_and(|profile| profile.tcp.linger.is_some())
        })
    }

    fn half_open_due(&mut self, now: Instant, net: &mut Net, index: u32) {
        let Some(entry) = self.half_open.entries.get_mut(index) else { return };
        let Some(profile) = self.listeners.profiles.get(usize::from(entry.profile)) else { return };
        match entry.syn.on_deadline(&Context { now, config: &profile.tcp }) {
            SynTimeout::Retransmit => {
                if let Some(deadline) = entry.syn.next_deadline(now) {
                    self.wheel.arm(self.connections.capacity() + index, deadline);
                }
                self.counters.retransmitted += 1;
                self.send_syn_ack(now, net, index, None);
            }
            SynTimeout::GiveUp => self.remove_half_open(net, index),
        }
    }

    /// When the next deadline comes; it may turn out that nothing was due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.wheel.next_deadline(), self.time_wait.next_deadline()].into_iter().flatten().min()
    }
}
