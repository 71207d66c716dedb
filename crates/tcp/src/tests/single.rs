//! One connection against hand-made segments.

use std::vec::Vec;

use freeway_base::{Duration, Instant};
use freeway_wire::Ecn;
use freeway_wire::tcp::{Flags, Options, Repr, SeqNumber, Timestamps};

use crate::congestion::Algorithm;
use crate::{Arrival, Config, Context, EcnMode, Events, Held, NarrowFlight, Outcome, Outgoing, State, Tcb};

/// Our initial sequence number, and the peer's.
pub(super) const ISS: SeqNumber = SeqNumber(1_000);
pub(super) const IRS: SeqNumber = SeqNumber(5_000);

/// A hand-made segment of the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) repr: Repr,
    pub(super) len: u32,
    pub(super) ecn: Ecn,
}

/// A segment with the given control bits, `seq` and `ack` counted from the initial numbers.
pub(super) fn made(flags: Flags, seq: u32, ack: u32) -> Made {
    let repr = Repr {
        src_port: 1,
        dst_port: 2,
        seq: IRS + seq,
        ack: ISS + ack,
        flags,
        window: 65_535,
        urgent: 0,
        options: Options::default(),
    };
    Made { repr, len: 0, ecn: Ecn::NotEct }
}

/// A bare acknowledgment.
pub(super) fn ack(seq: u32, ack: u32) -> Made {
    made(Flags::ACK, seq, ack)
}

/// Payload.
pub(super) fn data(seq: u32, len: u32, ack: u32) -> Made {
    Made { len, ..made(Flags::ACK | Flags::PSH, seq, ack) }
}

impl Made {
    pub(super) fn window(mut self, window: u16) -> Self {
        self.repr.window = window;
        self
    }

    pub(super) fn stamps(mut self, value: u32, echo: u32) -> Self {
        self.repr.options.timestamps = Some(Timestamps { value, echo });
        self
    }

    pub(super) fn mss(mut self, mss: u16) -> Self {
        self.repr.options.mss = Some(mss);
        self
    }

    pub(super) fn scale(mut self, shift: u8) -> Self {
        self.repr.options.window_scale = Some(shift);
        self
    }

    pub(super) fn arrival(&self) -> Arrival<'_> {
        Arrival { repr: &self.repr, payload_len: self.len, ecn: self.ecn }
    }
}

/// One connection and what its caller holds for it.
pub(super) struct One {
    pub(super) tcb: Tcb,
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) held: Held,
    pub(super) events: Events,
    /// The side record, while it is wanted.
    pub(super) flight: Option<NarrowFlight>,
    /// Whether there is one to be had.
    pub(super) has_flights: bool,
}

/// No options, no quick acknowledgments, half of the window after a loss: the plain protocol.
pub(super) fn plain() -> Config {
    Config {
        mss: 1_000,
        timestamps: false,
        window_scale: false,
        quick_acks: 0,
        congestion: Algorithm::NewReno,
        receive_window_max: 0,
        ecn: EcnMode::Passive,
        ..Config::default()
    }
}

impl One {
    /// In SYN-SENT, its SYN sent.
    pub(super) fn syn_sent(config: Config) -> Self {
        let now = Instant::from_secs(100);
        let tcb = Tcb::connect(&Context { now, config: &config }, ISS, 0);
        let mut one = Self::of(tcb, config, now, Held::default());
        assert_eq!(one.sent().len(), 1, "the SYN");
        one
    }

    /// Any connection, with all that its caller has.
    pub(super) fn of(tcb: Tcb, config: Config, now: Instant, held: Held) -> Self {
        Self { tcb, config, now, held, events: Events::empty(), flight: None, has_flights: true }
    }

    /// Established by an active open over a path of 10 ms; the peer's MSS is 1000.
    pub(super) fn established(config: Config) -> Self {
        let mut one = Self::syn_sent(config);
        one.now += Duration::from_millis(10);
        let mut syn_ack = made(Flags::SYN | Flags::ACK, 0, 1).mss(1_000);
        if config.timestamps {
            syn_ack = syn_ack.stamps(700, crate::clock::millis(one.now) - 10);
        }
        one.take(syn_ack);
        assert_eq!(one.tcb.state(), State::Established);
        assert_eq!(one.sent().len(), 1, "the handshake's last acknowledgment");
        one
    }

    /// A segment arrives; the caller does its part.
    pub(super) fn take(&mut self, segment: Made) -> Outcome {
        let cx = Context { now: self.now, config: &self.config };
        let outcome = self.tcb.take_segment(&cx, &segment.arrival(), &self.held, self.flight.as_deref_mut());
        self.let_go_of_flight();
        self.held.queued -= outcome.acked;
        if let Some(accept) = outcome.accept {
            self.held.unread += accept.len;
            self.held.out_of_order |= !accept.in_order;
        }
        self.events |= outcome.events;
        outcome
    }

    /// Everything that is to be sent now.
    pub(super) fn sent(&mut self) -> Vec<Outgoing> {
        let mut sent = Vec::new();
        let cx = Context { now: self.now, config: &self.config };
        while self.tcb.wants_transmit(&self.held, self.flight.as_deref()) {
            if self.has_flights && self.flight.is_none() && self.tcb.wants_flight(&self.held) {
                self.flight = Some(NarrowFlight::begin(&cx, &self.tcb));
            }
            let Some(outgoing) = self.tcb.poll_transmit(&cx, &self.held, self.flight.as_deref_mut()) else {
                break;
            };
            assert!(sent.len() < 1_000, "it never stops");
            sent.push(outgoing);
        }
        sent
    }

    /// A path probe of so many bytes, if this is the time for it.
    pub(super) fn probe(&mut self, len: u16) -> Option<Outgoing> {
        let cx = Context { now: self.now, config: &self.config };
        if self.has_flights && self.flight.is_none() && self.tcb.wants_flight(&self.held) {
            self.flight = Some(NarrowFlight::begin(&cx, &self.tcb));
        }
        let (outgoing, probe) = self.tcb.poll_probe(&cx, &self.held, self.flight.as_deref_mut(), len)?;
        self.held.probe = probe;
        Some(outgoing)
    }

    fn let_go_of_flight(&mut self) {
        if self.flight.as_deref().is_some_and(|flight| !self.tcb.needs_flight(flight)) {
            self.flight = None;
        }
    }

    /// Exactly one segment is to be sent now.
    pub(super) fn sent_one(&mut self) -> Outgoing {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent[0]
    }

    /// Lengths of what is to be sent now.
    pub(super) fn lens(&mut self) -> Vec<u32> {
        self.sent().iter().map(|outgoing| outgoing.len).collect()
    }

    /// The application writes.
    pub(super) fn write(&mut self, len: u32) -> &mut Self {
        self.held.queued += len;
        self
    }

    /// The application reads everything.
    pub(super) fn read_all(&mut self) {
        self.held.unread = 0;
        self.tcb.on_read(&Context { now: self.now, config: &self.config }, &self.held);
    }

    /// Time passes, and with it deadlines, one after another; nothing is sent meanwhile.
    pub(super) fn wait(&mut self, span: Duration) -> Events {
        let end = self.now + span;
        let mut events = Events::empty();
        while let Some(deadline) = self.tcb.next_deadline(self.now).filter(|&deadline| deadline <= end) {
            self.now = self.now.max(deadline);
            events |= self.tcb.on_deadline(
                &Context { now: self.now, config: &self.config },
                &self.held,
                self.flight.as_deref_mut(),
            );
            self.let_go_of_flight();
            if self.tcb.wants_transmit(&self.held, self.flight.as_deref()) {
                break;
            }
        }
        if !self.tcb.wants_transmit(&self.held, self.flight.as_deref()) {
            self.now = end;
        }
        self.events |= events;
        events
    }

    /// How long until the next deadline.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.tcb.next_deadline(self.now).map(|deadline| deadline - self.now)
    }

    /// Runs the next deadline, whenever it is.
    pub(super) fn next(&mut self) -> Events {
        let wait = self.due_in().unwrap();
        self.wait(wait)
    }
}

/// Close enough to a deadline that is kept in ticks of a millisecond.
#[track_caller]
pub(super) fn about(found: Option<Duration>, wanted: Duration) {
    let found = found.unwrap();
    assert!(found + Duration::from_millis(1) >= wanted, "{found} instead of {wanted}");
    assert!(found <= wanted + Duration::from_millis(3), "{found} instead of {wanted}");
}
