//! Arbitrary segments at arbitrary times: nothing panics, and the receive window holds.

use freeway_base::{Duration, Instant};
use freeway_wire::Ecn;
use freeway_wire::tcp::{Flags, Options, Repr, SeqNumber, Timestamps};
use proptest::prelude::*;

use crate::{
    Arrival, Config, Context, Held, IcmpError, NarrowFlight, State, SynReceived, SynVerdict, Tcb, TimeWait,
};

/// A segment near the window, mostly, so that it gets somewhere.
#[derive(Clone, Copy, Debug)]
struct Shot {
    flags: u8,
    seq: i32,
    ack: i32,
    len: u32,
    window: u16,
    stamps: Option<(u32, u32)>,
    mss: Option<u16>,
    scale: Option<u8>,
    /// SACK blocks, counted from SND.UNA.
    sack: [(i32, i32); 2],
    blocks: usize,
    /// What else happens: time, writing, reading, closing, an error of the path.
    also: u8,
    amount: u32,
}

fn near() -> impl Strategy<Value = i32> {
    prop_oneof![Just(0), Just(1), Just(-1), -3_000i32..3_000, -100_000i32..100_000, any::<i32>()]
}

prop_compose! {
    fn shots()(
        flags in prop_oneof![Just(0x10u8), Just(0x18), Just(0x11), any::<u8>()],
        seq in near(),
        ack in near(),
        len in prop_oneof![Just(0u32), 0u32..3_000, 0u32..70_000, any::<u32>()],
        window in prop_oneof![Just(0u16), Just(65_535), any::<u16>()],
        stamps in proptest::option::of((any::<u32>(), any::<u32>())),
        mss in proptest::option::of(any::<u16>()),
        scale in proptest::option::of(any::<u8>()),
        sack in [(near(), near()), (near(), near())],
        blocks in 0usize..3,
        also in 0u8..12,
        amount in prop_oneof![0u32..100, 0u32..100_000, any::<u32>()],
    ) -> Shot {
        Shot { flags, seq, ack, len, window, stamps, mss, scale, sack, blocks, also, amount }
    }
}

impl Shot {
    fn repr(&self, rcv_nxt: SeqNumber, snd_nxt: SeqNumber) -> Repr {
        Repr {
            src_port: 1,
            dst_port: 2,
            seq: rcv_nxt + self.seq as u32,
            ack: snd_nxt + self.ack as u32,
            flags: Flags::from_bits_retain(self.flags),
            window: self.window,
            urgent: 7,
            options: Options {
                mss: self.mss,
                window_scale: self.scale,
                sack_permitted: self.blocks != 1,
                sack: self
                    .sack
                    .iter()
                    .take(self.blocks)
                    .map(|&(from, to)| (snd_nxt + from as u32, snd_nxt + to as u32))
                    .collect(),
                timestamps: self.stamps.map(|(value, echo)| Timestamps { value, echo }),
                ..Options::default()
            },
        }
    }
}

/// Plays the caller carelessly: counts that a real caller would never have are part of the storm.
fn fire(
    tcb: &mut Tcb,
    config: &Config,
    now: &mut Instant,
    held: &mut Held,
    flight: &mut Option<NarrowFlight>,
    shot: &Shot,
) -> Result<(), TestCaseError> {
    let cx = Context { now: *now, config };
    let repr = shot.repr(tcb.rcv_nxt(), tcb.snd_nxt());
    let was_open = !matches!(tcb.state(), State::SynSent | State::Closed);
    let (before, edge) = (tcb.rcv_nxt(), tcb.rcv_nxt() + tcb.receive_window());
    let una = tcb.snd_una();
    let outcome = tcb.take_segment(
        &cx,
        &Arrival { repr: &repr, payload_len: shot.len, ecn: Ecn::NotEct },
        held,
        flight.as_deref_mut(),
    );
    if flight.as_deref().is_some_and(|flight| !tcb.needs_flight(flight)) {
        *flight = None;
    }
    if was_open {
        prop_assert!(tcb.rcv_nxt().is_at_or_after(before), "rcv_nxt moved back");
        prop_assert!(tcb.rcv_nxt().is_at_or_before(edge), "rcv_nxt left the window");
        prop_assert!(tcb.snd_una().is_at_or_after(una) && tcb.snd_una().is_at_or_before(tcb.snd_nxt()));
    }
    if let Some(accept) = outcome.accept {
        prop_assert!(accept.offset.checked_add(accept.len).is_some_and(|end| end <= shot.len));
        held.unread = held.unread.saturating_add(accept.len);
    }
    held.queued = held.queued.saturating_sub(outcome.acked);
    match shot.also {
        0 => held.queued = held.queued.saturating_add(shot.amount),
        1 => held.unread = 0,
        2 => held.unread = shot.amount,
        3 => *now += Duration::from_micros(u64::from(shot.amount)),
        4 => *now += Duration::from_millis(u64::from(shot.amount)),
        5 => tcb.close(),
        6 => held.out_of_order = !held.out_of_order,
        7 => {
            tcb.on_gap_filled(&cx, shot.amount, shot.len.is_multiple_of(3));
        }
        8 => {
            tcb.on_icmp(&cx, IcmpError::PacketTooBig { mss: shot.window }, tcb.snd_una());
        }
        9 => {
            tcb.on_read(&cx, held);
        }
        10 => {
            tcb.report_duplicate(&cx, held, (repr.seq, repr.seq + shot.amount));
        }
        _ => {}
    }
    let cx = Context { now: *now, config };
    if tcb.next_deadline(*now).is_some_and(|deadline| deadline <= *now) {
        tcb.on_deadline(&cx, held, flight.as_deref_mut());
    }
    for _ in 0..50 {
        if flight.is_none() && tcb.wants_flight(held) {
            *flight = Some(NarrowFlight::begin(&cx, tcb));
        }
        match tcb.poll_transmit(&cx, held, flight.as_deref_mut()) {
            Some(outgoing) => prop_assert!(outgoing.len <= u32::from(tcb.mss())),
            None => break,
        }
    }
    let _ = (tcb.info(), tcb.is_idle(), tcb.can_send());
    Ok(())
}

fn storm_configs() -> impl Strategy<Value = Config> {
    (any::<u16>(), any::<u32>(), any::<[bool; 3]>(), any::<u8>()).prop_map(
        |(mss, receive_window, flags, small)| Config {
            mss,
            receive_window,
            timestamps: flags[0],
            window_scale: flags[1],
            nagle: flags[2],
            initial_window: small,
            default_mss: mss / 2,
            keepalive: flags[2].then(crate::Keepalive::default),
            ..Config::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_active_open_survives(config in storm_configs(), iss: u32, shots in proptest::collection::vec(shots(), 1..60)) {
        let mut now = Instant::from_secs(100);
        let mut held = Held::default();
        let mut flight = None;
        let mut tcb = Tcb::connect(&Context { now, config: &config }, SeqNumber(iss), iss);
        tcb.poll_transmit(&Context { now, config: &config }, &held, None);
        for shot in &shots {
            fire(&mut tcb, &config, &mut now, &mut held, &mut flight, shot)?;
        }
    }

    #[test]
    fn a_passive_open_survives(config in storm_configs(), iss: u32, shots in proptest::collection::vec(shots(), 2..60)) {
        let mut now = Instant::from_secs(100);
        let mut held = Held::default();
        let mut flight = None;
        let cx = Context { now, config: &config };
        let syn = shots[0].repr(SeqNumber(iss ^ 77), SeqNumber(0));
        let mut record =
            SynReceived::from_syn(&cx, &Arrival { repr: &syn, payload_len: 0, ecn: Ecn::NotEct }, SeqNumber(iss), 5);
        let mut open = None;
        for shot in &shots[1..] {
            match &mut open {
                None => {
                    let cx = Context { now, config: &config };
                    let repr = shot.repr(syn.seq + 1, SeqNumber(iss) + 1);
                    let arrival = Arrival { repr: &repr, payload_len: shot.len, ecn: Ecn::NotEct };
                    if let SynVerdict::Establish(tcb) = record.on_segment(&cx, &arrival) {
                        prop_assert_eq!(tcb.state(), State::Established);
                        open = Some(tcb);
                    }
                }
                Some(tcb) => fire(tcb, &config, &mut now, &mut held, &mut flight, shot)?,
            }
        }
    }

    #[test]
    fn a_time_wait_record_survives(config in storm_configs(), shots in proptest::collection::vec(shots(), 1..30)) {
        let cx = Context { now: Instant::from_secs(5), config: &config };
        let tcb = Tcb::connect(&cx, SeqNumber(3), 5);
        let mut record = TimeWait::from_tcb(&cx, &tcb);
        for shot in &shots {
            let repr = shot.repr(SeqNumber(0), SeqNumber(3));
            record.on_segment(&cx, &Arrival { repr: &repr, payload_len: shot.len, ecn: Ecn::NotEct });
        }
    }
}
