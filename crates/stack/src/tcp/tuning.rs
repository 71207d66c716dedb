//! Receive buffers that grow with what is read (dynamic right-sizing).
//!
//! A peer sends at most a window in a round trip. If the application takes, in one round trip, about all that the window let
//! through, then the window may be what holds the peer back, and is doubled (and more, as long as each round trip brings
//! more than the last: so it keeps up with slow start). Nothing of this is kept in a connection's record: what is being
//! measured lies in a small table by the connection's place, where a connection that receives much displaces one that
//! has stopped.
//!
//! A receiver of data has no round trips of its own to measure. It takes the time from a timestamp it sent to its echo
//! in a full segment, or the time in which a whole window comes in, or else the handshake's round trip.

use alloc::boxed::Box;
use alloc::vec;

use freeway_base::{Duration, Instant};
use freeway_tcp::{Context, Pressure, Tcb};
use freeway_wire::tcp::SeqNumber;

use super::NONE;

/// What is measured of one connection.
#[derive(Clone, Copy, Debug)]
struct Measure {
    /// The connection's place and serial number.
    owner: (u32, u32),
    /// When the round trip began, in microseconds.
    since_us: u32,
    /// Bytes taken by the application since.
    taken: u32,
    /// The most that it took in a round trip before.
    taken_before: u32,
    /// The round trip in microseconds, or 0.
    rtt_us: u32,
    /// When the window's edge was at `edge`, in microseconds: when the stream comes there, a window has come in.
    edge_us: u32,
    edge: SeqNumber,
    /// The last timestamp whose echo was measured.
    echo: u32,
}

impl Measure {
    const VACANT: Self = Self {
        owner: (NONE, 0),
        since_us: 0,
        taken: 0,
        taken_before: 0,
        rtt_us: 0,
        edge_us: 0,
        edge: SeqNumber(0),
        echo: 0,
    };
}

/// The table of what is measured.
pub(crate) struct Tuning {
    measures: Box<[Measure]>,
}

/// A connection that took nothing for so long has stopped.
const STOPPED_US: u32 = 1_000_000;
/// Segments shorter than this are requests, and no stream that fills a window (unless the peer sends no longer ones).
const WORTH_COUNTING: u16 = 1_024;

const fn micros(now: Instant) -> u32 {
    now.as_micros() as u32
}

impl Tuning {
    /// Room for measuring about so many connections at a time.
    pub(crate) fn new(connections: u16) -> Self {
        let places = usize::from(connections).next_power_of_two();
        Self { measures: vec![Measure::VACANT; places].into_boxed_slice() }
    }

    fn place(&mut self, index: u32) -> Option<&mut Measure> {
        let mask = self.measures.len() - 1;
        self.measures.get_mut(index as usize & mask)
    }

    /// Whether so many bytes at once say something of a stream.
    #[inline]
    pub(crate) fn counts(tcb: &Tcb, bytes: u32) -> bool {
        bytes >= u32::from(WORTH_COUNTING.min(tcb.peer_segment()))
    }

    /// Payload has arrived in order, in a segment that echoes the timestamp `echo`, sent `echo_age` ago.
    #[inline]
    pub(crate) fn arrived(
        &mut self,
        now: Instant,
        owner: (u32, u32),
        tcb: &Tcb,
        echo: Option<(u32, Duration)>,
    ) {
        let Some(measure) = self.place(owner.0).filter(|measure| measure.owner == owner) else { return };
        if let Some((echo, age)) = echo {
            if echo != measure.echo {
                measure.echo = echo;
                measure.sample(age.as_micros().min(u64::from(u32::MAX)) as u32, false);
            }
        } else if tcb.rcv_nxt().is_at_or_after(measure.edge) {
            let us = micros(now).wrapping_sub(measure.edge_us);
            if measure.edge_us != 0 {
                measure.sample(us, true);
            }
            measure.edge_us = micros(now).max(1);
            measure.edge = tcb.rcv_nxt() + tcb.receive_window();
        }
    }

    /// The application has taken so many bytes. Grows the buffer where that is due; returns whether it has grown.
    #[inline]
    pub(crate) fn taken(
        &mut self,
        cx: &Context<'_>,
        owner: (u32, u32),
        tcb: &mut Tcb,
        bytes: u32,
        pressure: Pressure,
    ) -> bool {
        if !Self::counts(tcb, bytes) {
            return false;
        }
        let now_us = micros(cx.now);
        let Some(measure) = self.place(owner.0) else { return false };
        if measure.owner != owner {
            let stopped = measure.owner.0 == NONE || now_us.wrapping_sub(measure.since_us) > STOPPED_US;
            if stopped {
                *measure = Measure { owner, since_us: now_us, taken: bytes, ..Measure::VACANT };
            }
            return false;
        }
        measure.taken = measure.taken.saturating_add(bytes);
        let rtt_us = measure.round_trip(tcb);
        let elapsed_us = now_us.wrapping_sub(measure.since_us);
        if rtt_us == 0 || elapsed_us < rtt_us {
            return false;
        }
        let taken = core::mem::replace(&mut measure.taken, 0);
        measure.since_us = now_us;
        // Longer than some round trips: there was a pause, and the count says nothing of one of them.
        if elapsed_us > rtt_us.saturating_mul(4).saturating_add(10_000) {
            return false;
        }
        let before = measure.taken_before;
        measure.taken_before = before.max(taken);
        if taken <= before && pressure != Pressure::High {
            return false;
        }
        tcb.widen_buffer(cx, wanted(taken, before, u32::from(tcb.peer_segment())), pressure)
    }

    /// The round trip as the receiver measured it.
    pub(crate) fn rtt(&self, owner: (u32, u32)) -> Option<Duration> {
        let mask = self.measures.len() - 1;
        let measure = self.measures.get(owner.0 as usize & mask)?;
        let known = measure.owner == owner && measure.rtt_us > 0;
        known.then(|| Duration::from_micros(u64::from(measure.rtt_us)))
    }
}

impl Measure {
    /// A round trip: the time in which a window comes in is never too short, so the least counts; an echo's varies.
    fn sample(&mut self, us: u32, by_window: bool) {
        let us = us.max(1);
        self.rtt_us = match (self.rtt_us, by_window) {
            (0, _) => us,
            (old, true) => old.min(us),
            (old, false) => old - (old >> 3) + (us >> 3).max(1),
        };
    }

    /// The least of what is known: too short a time makes the buffer grow too little, for the moment.
    fn round_trip(&self, tcb: &Tcb) -> u32 {
        let own = tcb.round_trip().map_or(0, |rtt| rtt.as_micros().min(u64::from(u32::MAX)) as u32);
        match (own, self.rtt_us) {
            (0, other) | (other, 0) => other,
            (a, b) => a.min(b),
        }
    }
}

/// The buffer for an application that took `taken` bytes in a round trip, and `before` in earlier ones: twice as much, and
/// some segments more for what is under way; and where the stream is growing, twice as much again as it grew: a stream that
/// doubles gets room for the round trip that this one's window meets, and for the one behind it.
fn wanted(taken: u32, before: u32, segment: u32) -> u32 {
    let twice = u64::from(taken) * 2 + 16 * u64::from(segment);
    let grown = u64::from(taken.saturating_sub(before));
    let more = if before > 0 { twice.min(grown * 4) } else { 0 };
    u32::try_from(twice + more).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_grows_is_given_more_than_twice_what_it_took() {
        assert_eq!(wanted(100_000, 0, 1_000), 216_000);
        assert_eq!(wanted(100_000, 100_000, 1_000), 216_000);
        assert_eq!(wanted(200_000, 100_000, 1_000), 816_000);
        assert_eq!(wanted(u32::MAX, 1, 65_535), u32::MAX);
    }

    #[test]
    fn samples_by_window_are_upper_bounds_and_echoes_are_smoothed() {
        let mut measure = Measure::VACANT;
        for us in [5_000, 9_000, 3_000, 20_000] {
            measure.sample(us, true);
        }
        assert_eq!(measure.rtt_us, 3_000);
        let mut measure = Measure::VACANT;
        measure.sample(8_000, false);
        measure.sample(16_000, false);
        assert_eq!(measure.rtt_us, 9_000);
    }
}
