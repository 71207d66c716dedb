//! Segments after gaps that are never filled, and segments that contradict each other.

use freeway_base::{Duration, Rng, Seed};
use freeway_tcp::Config;
use freeway_wire::tcp::{Flags, Options};

use super::puppets::Puppets;
use crate::lab::{DISCARD, Lab, SERVER};

const OPTIONS: Options = Options { mss: Some(1_460), ..Options::NONE };

#[test]
fn gaps_that_are_never_filled_leave_room_for_streams_in_order() {
    let mut lab = Lab::new(Config::default(), |number, config| {
        if number == SERVER {
            config.max_connections = 1_024;
            config.max_syn_received = 1_024;
        }
    });
    let puppets = Puppets::take_over(&mut lab, false);
    let all: Vec<_> =
        (0..400).map(|number| puppets.open(&mut lab, number, DISCARD, 65_000, OPTIONS)).collect();
    lab.wait(Duration::from_millis(100));
    assert_eq!(lab.hosts[SERVER].stack.occupancy().connections.0, 400);
    let mut peak = 0;
    for segment in 0..60u32 {
        for &own in &all {
            lab.hit(&puppets.get(own).segment(Flags::ACK, 1 + segment * 1_000, &[6; 500]));
        }
        lab.wait(Duration::from_millis(1));
        peak = peak.max(lab.hosts[SERVER].stack.occupancy().items.0);
        if segment == 30 {
            lab.assert_served(500_000, true, Duration::from_secs(20));
        }
    }
    // What fills no gap takes two of the three eighths that received data may.
    assert!(peak <= 2 * 4_096 / 8 + 64, "{peak}");
    let tcp = lab.hosts[SERVER].stack.counters().tcp;
    assert!(tcp.dropped_out_of_order_full > 20_000 && tcp.out_of_order > 900, "{tcp:?}");
    lab.assert_served(500_000, false, Duration::from_secs(20));
    for own in all {
        lab.hit(&puppets.get(own).segment(Flags::RST, 0, &[]));
    }
    lab.wait(Duration::from_secs(130));
    let left = lab.hosts[SERVER].stack.occupancy();
    assert_eq!((left.connections.0, left.items.0, left.buffers.0), (0, 0, 0));
}

/// The stream that the puppet means to send.
const fn byte_at(place: u32) -> u8 {
    (place.wrapping_mul(0x9e37_79b9) >> 23) as u8
}

#[test]
fn overlaps_and_contradictions_hold_little_and_what_was_taken_stays() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let puppets = Puppets::take_over(&mut lab, false);
    let own = puppets.open(&mut lab, 1, DISCARD, 65_000, OPTIONS);
    lab.wait(Duration::from_millis(20));
    let mut rng = Rng::new(Seed(11));
    let (mut taken, mut digest, mut peak) = (0u32, 0u64, 0);
    while taken < 200_000 {
        // A heap of overlapping lies beyond the next byte, and the truth from the next byte on.
        for _ in 0..20 {
            let (ahead, len) = (3_000 + rng.below(30_000), 1 + rng.below(1_400));
            lab.hit(&puppets.get(own).segment(Flags::ACK, ahead, &vec![0xee; len as usize]));
        }
        peak = peak.max(lab.hosts[SERVER].stack.occupancy().items.0);
        // Before it, once more, other bytes in the place of those that were taken.
        let back = taken.min(500);
        let repeated = vec![0xdd; back as usize + 200];
        let truth: Vec<u8> = (taken..taken + 1_400).map(byte_at).collect();
        lab.hit(&puppets.get(own).segment(Flags::ACK, 0, &truth));
        lab.hit(&puppets.get(own).segment(Flags::ACK, 0u32.wrapping_sub(back), &repeated[..back as usize]));
        let before = lab.hosts[SERVER].desk.discarded;
        for (place, byte) in (u64::from(taken)..).zip(&truth) {
            digest = digest.rotate_left(5).wrapping_add(u64::from(*byte) ^ (place + 1));
        }
        taken += 1_400;
        puppets.change(own, |puppet| puppet.next += 1_400);
        if before > u64::from(taken) {
            break;
        }
        lab.wait(Duration::from_millis(1));
        if lab.hosts[SERVER].desk.discarded > u64::from(taken) {
            // The lies have become contiguous: a stream of them, from where the truth ended.
            break;
        }
        assert_eq!(
            (lab.hosts[SERVER].desk.discarded, lab.hosts[SERVER].desk.digest),
            (u64::from(taken), digest)
        );
    }
    assert!(taken >= 1_400 && peak <= 256 + 8, "{taken} {peak}");
    lab.assert_served(100_000, false, Duration::from_secs(10));
    lab.hit(&puppets.get(own).segment(Flags::RST, 0, &[]));
}
