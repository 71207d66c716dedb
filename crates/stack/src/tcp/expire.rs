//! Deadlines: one armed timer a connection, moved lazily.
//!
//! A connection's soonest deadline changes with almost every segment, mostly to a later one. The wheel is told
//! only of earlier ones: when it looks at a connection too soon, nothing is due, and it is armed anew.

use freeway_base::Instant;
use freeway_tcp::{Context, Held, SynTimeout};

use super::record::{Flags, Tick};
use super::{NONE, TcpHost};
use crate::net::Net;

/// How many timers ahead a connection's record is asked for: one whose time has come was idle, so its record is in
/// no cache. A power of two.
const AHEAD: usize = 8;

impl<S: Copy + Default + 'static> TcpHost<S> {
    /// Arms the wheel for a connection, if its soonest deadline comes before what is armed.
    #[inline]
    pub(crate) fn rearm(&mut self, now: Instant, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.socket.flags.contains(Flags::DETACHED) {
            return;
        }
        let socket = &mut connection.socket;
        let mut soonest = match connection.tcb.next_deadline(now) {
            Some(deadline) => Tick::at_or_after(deadline),
            None => Tick::NEVER,
        };
        if socket.timer.is_before(soonest) {
            soonest = socket.timer;
        }
        if soonest.is_before(socket.armed) {
            socket.armed = soonest;
            self.wheel.arm(index, soonest.instant(now));
        }
    }

    /// Runs at most `limit` timers that are due; returns how many there were.
    pub(crate) fn expire(&mut self, now: Instant, net: &mut Net, limit: usize) -> usize {
        let mut done = 0;
        let mut coming = [NONE; AHEAD];
        while done < limit
            && let Some(id) = self.wheel.pop_due(now)
        {
            self.connections.prefetch(id, Self::CONNECTION_LINES);
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
            Some(index) => self.half_open_due(now, net, index),
        }
    }

    fn connection_timer(&mut self, now: Instant, net: &mut Net, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.socket.flags.contains(Flags::DETACHED) {
            return;
        }
        connection.socket.armed = Tick::NEVER;
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
                self.store.flights.get_mut(flight),
            );
            self.apply(now, net, index, events);
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

    /// Whether the application has closed the connection and bounds what it still delivers: the timer is that bound.
    fn lingers(&self, index: u32) -> bool {
        self.connections.get(index).is_some_and(|connection| {
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
                self.send_syn_ack(now, net, index);
            }
            SynTimeout::GiveUp => self.remove_half_open(net, index),
        }
    }

    /// When the next deadline comes; it may turn out that nothing was due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.wheel.next_deadline(), self.time_wait.next_deadline()].into_iter().flatten().min()
    }
}
