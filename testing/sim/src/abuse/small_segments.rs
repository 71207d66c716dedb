//! A peer that asks for the shortest segments there are and acknowledges every second of them (CVE-2019-11477, 11478, 11479).

use freeway_base::Duration;
use freeway_tcp::Config;
use freeway_wire::tcp::{Flags, Options, SackBlocks, SeqNumber};

use super::puppets::Puppets;
use crate::lab::{Lab, SERVER, SOURCE};

#[test]
fn tiny_segments_and_scattered_acknowledgments_cost_a_bounded_amount() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let puppets = Puppets::take_over(&mut lab, false);
    let options = Options { mss: Some(1), sack_permitted: true, ..Options::NONE };
    let own = puppets.open(&mut lab, 1, SOURCE, 65_000, options);
    lab.wait(Duration::from_millis(20));
    for request in 0..200u32 {
        lab.hit(&puppets.get(own).segment(Flags::ACK | Flags::PSH, 0, b"page"));
        puppets.change(own, |puppet| puppet.next += 4);
        // Blocks over every second segment of 88 bytes.
        let base = puppets.get(own).expects;
        let mut sack = SackBlocks::NONE;
        for block in 0..4 {
            let start = base.wrapping_add(88 + (request % 50 * 4 + block) * 176);
            sack.push(SeqNumber(start), SeqNumber(start.wrapping_add(88)));
        }
        let blocks = Options { sack, ..Options::NONE };
        lab.hit(&puppets.get(own).segment_with(Flags::ACK, blocks));
        lab.wait(Duration::from_millis(1));
    }
    let longest = puppets.get(own).longest;
    assert!((76..=88).contains(&longest), "no shorter than the least that is obeyed: {longest}");
    let occupancy = lab.hosts[SERVER].stack.occupancy();
    assert!(occupancy.items.0 < 1_024 && occupancy.buffers.0 < 2_048, "{occupancy:?}");
    lab.assert_served(500_000, false, Duration::from_secs(20));
    lab.hit(&puppets.get(own).segment(Flags::RST, 0, &[]));
    lab.wait(Duration::from_secs(130));
    let left = lab.hosts[SERVER].stack.occupancy();
    assert_eq!((left.connections.0, left.items.0, left.buffers.0), (0, 0, 0));
}
