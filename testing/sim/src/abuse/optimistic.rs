//! A peer that acknowledges what it has not received, so that the host sends faster than the path bears (Savage and
//! others, 1999; RFC 5681, section 6): of what was never sent, in pieces, and ahead of arrival.

use std::net::SocketAddr;

use freeway_base::Duration;
use freeway_tcp::{Config, Info};
use freeway_wire::tcp::{Flags, Options};

use super::puppets::Puppets;
use crate::lab::{Lab, SERVER, SOURCE};

const MSS: u32 = 1_000;
const WINDOW: u16 = 65_000;

fn opened() -> (Lab, Puppets, SocketAddr) {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let puppets = Puppets::take_over(&mut lab, false);
    let own = puppets.open(
        &mut lab,
        1,
        SOURCE,
        WINDOW,
        Options { mss: Some(MSS as u16), sack_permitted: true, ..Options::NONE },
    );
    lab.wait(Duration::from_millis(20));
    (lab, puppets, own)
}

/// Asks for another thousand bytes.
fn ask(lab: &mut Lab, puppets: &Puppets, own: SocketAddr) {
    lab.hit(&puppets.get(own).segment(Flags::ACK | Flags::PSH, 0, b"page"));
    puppets.change(own, |puppet| puppet.next += 4);
}

/// What the server knows of the puppet's connection, which was there first.
fn info(lab: &Lab) -> Info {
    let (_, info) = lab.hosts[SERVER].stack.connections().next().expect("the connection lives");
    info
}

/// What is left when the puppet is gone: nothing.
fn assert_gone(lab: &mut Lab, puppets: &Puppets, own: SocketAddr) {
    lab.hit(&puppets.get(own).segment(Flags::RST, 0, &[]));
    lab.wait(Duration::from_secs(130));
    let left = lab.hosts[SERVER].stack.occupancy();
    assert_eq!((left.connections.0, left.items.0, left.buffers.0), (0, 0, 0));
}

#[test]
fn acknowledgments_of_what_was_never_sent_open_no_window() {
    let (mut lab, puppets, own) = opened();
    ask(&mut lab, &puppets, own);
    let before = info(&lab).cwnd;
    let told = lab.hosts[SERVER].stack.counters().tcp;
    for ahead in 0..1_000u32 {
        let mut liar = puppets.get(own);
        liar.expects = liar.expects.wrapping_add(MSS + 1 + ahead * 7);
        lab.hit(&liar.segment(Flags::ACK, 0, &[]));
    }
    let tcp = lab.hosts[SERVER].stack.counters().tcp;
    assert_eq!(tcp.dropped_unacceptable - told.dropped_unacceptable, 1_000);
    // One of them is told off; that is all the traffic it brings.
    assert!(tcp.limited_challenges - told.limited_challenges >= 998, "{tcp:?}");
    let after = info(&lab);
    assert_eq!((after.cwnd, after.in_flight), (before, MSS));
    lab.assert_served(500_000, false, Duration::from_secs(20));
    assert_gone(&mut lab, &puppets, own);
}

#[test]
fn an_acknowledgment_in_pieces_opens_the_window_by_its_bytes_only() {
    let (mut lab, puppets, own) = opened();
    let first = puppets.get(own).expects;
    for _ in 0..8 {
        // Nothing is acknowledged yet.
        puppets.change(own, |puppet| puppet.expects = first);
        ask(&mut lab, &puppets, own);
    }
    let before = info(&lab);
    assert_eq!(before.in_flight, 8 * MSS);
    for piece in 1..=8 * MSS {
        let mut splitter = puppets.get(own);
        splitter.expects = first.wrapping_add(piece);
        lab.hit(&splitter.segment(Flags::ACK, 0, &[]));
    }
    let after = info(&lab);
    assert_eq!(after.in_flight, 0);
    // Eight thousand acknowledgments of eight thousand bytes (RFC 3465).
    assert!(after.cwnd - before.cwnd <= 8 * MSS, "{} {}", before.cwnd, after.cwnd);
    assert_gone(&mut lab, &puppets, own);
}

#[test]
fn acknowledgments_ahead_of_arrival_gain_no_more_than_the_window_offered() {
    let (mut lab, puppets, own) = opened();
    let (mut most_out, mut most_items) = (0, 0);
    for round in 0..400 {
        ask(&mut lab, &puppets, own);
        let before = info(&lab);
        most_out = most_out.max(before.in_flight);
        most_items = most_items.max(lab.hosts[SERVER].stack.occupancy().items.0);
        // Everything that was sent is acknowledged with the next request, though none of it can have arrived.
        if round == 200 {
            lab.assert_served(500_000, true, Duration::from_secs(20));
        }
    }
    assert!(most_out <= u32::from(WINDOW), "{most_out}");
    assert!(most_items < 256, "{most_items}");
    assert_gone(&mut lab, &puppets, own);
}
